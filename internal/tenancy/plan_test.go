package tenancy

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/tests/golden"
)

// settings returns the default settings.
func settings() Settings { return Settings{PodCIDR: netip.MustParsePrefix("10.244.0.0/16")} }

// example returns the snapshot in testdata/example.yaml.
func example(t *testing.T) KeystoneSnapshot {
	t.Helper()
	text, err := os.ReadFile("testdata/example.yaml")
	require.NoError(t, err)
	var k KeystoneSnapshot
	require.NoError(t, yaml.UnmarshalStrict(text, &k))
	return k
}

func namespace(name, project string) corev1.Namespace {
	n := corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if project != "" {
		n.Labels = map[string]string{ProjectLabel: project}
	}
	return n
}

// manifest returns objects as YAML for kubectl.
func manifest(t *testing.T, objects []runtime.Object) string {
	t.Helper()
	var documents []string
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		require.NoError(t, err)
		documents = append(documents, strings.ReplaceAll(string(text), "status: {}\n", ""))
	}
	return strings.Join(documents, "---\n")
}

func isRBAC(o runtime.Object) bool {
	return o.GetObjectKind().GroupVersionKind().Group == rbacv1.GroupName
}

// TestGolden compares the objects of testdata/example.yaml with golden files. The namespace of the project old exists
// from before the project was disabled. Another namespace exists from before its project was deleted.
func TestGolden(t *testing.T) {
	deleted := namespace("gone-default-90e90e90", "90e90e90e90e90e90e90e90e90e90e90")
	deleted.Annotations = map[string]string{ProjectAnnotation: "gone", DomainAnnotation: "Default"}
	plan := func(a Authorizer) ([]runtime.Object, string) {
		s := settings()
		s.Exclude, s.Authorizer = []string{"service@Default"}, a
		plan, err := NewPlan(example(t), s, []corev1.Namespace{
			namespace("default", ""), namespace("old", "4e310000000000000000000000000012"), deleted,
		})
		require.NoError(t, err)
		assert.Empty(t, plan.Warnings)
		policy, err := plan.Policy()
		require.NoError(t, err)
		return plan.Objects(), string(policy)
	}
	objects, policy := plan(RBAC)
	assert.Empty(t, policy)
	golden.Check(t, "example.rbac.yaml",
		manifest(t, slices.DeleteFunc(slices.Clone(objects), func(o runtime.Object) bool { return !isRBAC(o) })))
	golden.Check(t, "example.tenants.yaml", manifest(t, slices.DeleteFunc(slices.Clone(objects), isRBAC)))

	byDefault, none := plan("")
	assert.Equal(t, objects, byDefault)
	assert.Empty(t, none)

	withoutAccess, policy := plan(ABAC)
	assert.NotEmpty(t, policy) // tests/testdata/policy.jsonl is an example
	assert.Equal(t, slices.DeleteFunc(objects, func(o runtime.Object) bool {
		_, binding := o.(*rbacv1.RoleBinding)
		return binding
	}), withoutAccess)
}

func TestClosed(t *testing.T) {
	const shop = "3f2a9c1d5e6b4a7f8c9d0e1f2a3b4c5d"
	closed := func(k KeystoneSnapshot, s Settings) Tenant {
		plan, err := NewPlan(k, s, []corev1.Namespace{namespace("shop", shop)})
		require.NoError(t, err)
		assert.Empty(t, plan.ToDelete)
		i := slices.IndexFunc(plan.Tenants, func(t Tenant) bool { return t.ProjectID == shop })
		require.GreaterOrEqual(t, i, 0)
		return plan.Tenants[i]
	}
	open := closed(example(t), settings())
	assert.Empty(t, open.Closed)
	assert.Len(t, open.Members, 3, "alice as member and reader, bob as reader")

	disabled := example(t)
	disabled.Projects[0].Enabled = false
	disabledDomain := example(t)
	disabledDomain.Domains[0].Enabled = false
	deleted := example(t)
	deleted.Projects = deleted.Projects[1:]
	deletes, byName, byID := settings(), settings(), settings()
	deletes.OnProjectDelete = DeleteNamespace
	byName.Exclude = []string{"shop@Default"}
	byID.Exclude = []string{shop}
	for name, test := range map[string]struct {
		snapshot KeystoneSnapshot
		settings Settings
		want     ClosedReason
	}{
		"project disabled":                  {disabled, settings(), Disabled},
		"project disabled, not yet deleted": {disabled, deletes, Disabled},
		"domain disabled":                   {disabledDomain, settings(), Disabled},
		"project deleted":                   {deleted, settings(), Deleted},
		"excluded by name":                  {example(t), byName, Excluded},
		"excluded by ID":                    {example(t), byID, Excluded},
	} {
		t.Run(name, func(t *testing.T) {
			tenant := closed(test.snapshot, test.settings)
			assert.Equal(t, "shop", tenant.Namespace, "the namespace keeps its name")
			assert.Equal(t, test.want, tenant.Closed)
			assert.Equal(t, string(test.want), tenant.namespace().Annotations[ClosedAnnotation])
			assert.Empty(t, tenant.Members)
			assert.Empty(t, tenant.roleBindings())
		})
	}
}

// TestToDelete checks that Objects returns no objects of namespaces to delete.
func TestToDelete(t *testing.T) {
	s := settings()
	s.OnProjectDelete = DeleteNamespace
	existing, toDelete := []corev1.Namespace{namespace("other", "")}, []Tenant{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		existing = append(existing, namespace(name, "of-"+name))
		toDelete = append(toDelete, Tenant{Namespace: name, ProjectID: "of-" + name, Closed: Deleted})
	}
	plan, err := NewPlan(example(t), s, existing)
	require.NoError(t, err)
	assert.Equal(t, toDelete, plan.ToDelete)
	without, err := NewPlan(example(t), s, nil)
	require.NoError(t, err)
	assert.Equal(t, without.Objects(), plan.Objects())
}

// TestNamespaceStays checks that a renamed project keeps its namespace, and that a new project with the old name gets
// another namespace.
func TestNamespaceStays(t *testing.T) {
	k := example(t)
	first, err := NewPlan(k, settings(), nil)
	require.NoError(t, err)
	var existing []corev1.Namespace
	for _, tenant := range first.Tenants {
		existing = append(existing, *tenant.namespace())
	}
	was := map[string]string{}
	for _, tenant := range first.Tenants {
		was[tenant.ProjectID] = tenant.Namespace
	}
	for i := range k.Projects {
		k.Projects[i].Name = "renamed"
	}
	k.Domains[0].Name = "also renamed"
	k.Projects = append(k.Projects,
		Project{ID: "3f2a9c1d000000000000000000000000", Name: "shop", DomainID: "default", Enabled: true})
	k.Domains[0].Name = "Default"
	second, err := NewPlan(k, settings(), existing)
	require.NoError(t, err)
	for _, tenant := range second.Tenants {
		if before, known := was[tenant.ProjectID]; known {
			assert.Equal(t, before, tenant.Namespace)
			assert.Equal(t, "renamed", tenant.namespace().Annotations[ProjectAnnotation])
		} else {
			assert.Equal(t, "shop-default-3f2a9c1d00000000", tenant.Namespace, "the name with 8 digits is taken")
		}
	}
	assert.Len(t, second.Tenants, len(first.Tenants)+1)
}

// TestErrors checks that NewPlan returns all errors together.
func TestErrors(t *testing.T) {
	k := KeystoneSnapshot{
		Projects: []Project{{ID: "a"}, {ID: "a"}, {ID: "not:a label"}, {Quota: Quota{Cores: -2, Gigabytes: -1}}},
		Users:    []User{{ID: "u"}, {}, {ID: "u:member"}},
		Roles:    []Role{{}},
	}
	s := Settings{
		Mapping: Mapping{
			Roles:   map[string]Access{"member": "write", "": View},
			Exclude: []string{"", "@Default", "shop@", "shop@Default", "shop@Default"},
		},
		Authorizer: "webhook", OnProjectDelete: "keep", PodCIDR: netip.MustParsePrefix("fd00::/48"),
	}
	_, err := NewPlan(k, s, []corev1.Namespace{
		namespace("two", "b"), namespace("one", "b"), namespace("kube-system", "c"), namespace("default", "d"),
		{ObjectMeta: metav1.ObjectMeta{Name: "x", Labels: map[string]string{ProjectLabel: ""}}},
	})
	const reserved = "must not be set: this namespace belongs to Kubernetes"
	assert.EqualError(t, err, `22 errors:
  domains: must not be empty: the reader may lack permission to list them in Keystone
  role_assignments: must not be empty: the reader may lack permission to list them in Keystone
  projects[1].id: "a" is also projects[0].id
  projects[3].id: must be set
  projects[2].id: must be a valid label value: up to 63 letters, digits, '-', '_' and '.', not "not:a label"
  projects[3].quota.cores: must be -1 (unlimited) or at least 0, not -2
  users[1].id: must be set
  users[2].id: must not contain ':', because ':' separates the parts of group names, not "u:member"
  roles[0].id: must be set
  roles[]: must be the name of a role
  roles[member]: must be view, edit or admin, not "write"
  exclude[0]: must be NAME@DOMAIN or the ID of a project, not ""
  exclude[1]: must be NAME@DOMAIN or the ID of a project, not "@Default"
  exclude[2]: must be NAME@DOMAIN or the ID of a project, not "shop@"
  exclude[4]: "shop@Default" is also exclude[3]
  authorizer: must be rbac or abac, not "webhook"
  onProjectDelete: must be close or delete, not "keep"
  podCIDR: must be set to the IPv4 CIDR of all pods, such as 10.244.0.0/16
  namespaces[default].labels[kubernetes-openstack/project]: `+reserved+`
  namespaces[kube-system].labels[kubernetes-openstack/project]: `+reserved+`
  namespaces[two].labels[kubernetes-openstack/project]: "b" is also the project of namespace one: label only one
  namespaces[x].labels[kubernetes-openstack/project]: must be the ID of a project`)
}

// TestEmptyLists checks that an empty list from Keystone is an error and does not close every namespace.
func TestEmptyLists(t *testing.T) {
	for list, empty := range map[string]func(*KeystoneSnapshot){
		"domains":          func(k *KeystoneSnapshot) { k.Domains = nil },
		"projects":         func(k *KeystoneSnapshot) { k.Projects = nil },
		"users":            func(k *KeystoneSnapshot) { k.Users = nil },
		"roles":            func(k *KeystoneSnapshot) { k.Roles = nil },
		"role_assignments": func(k *KeystoneSnapshot) { k.Assignments = nil },
	} {
		k := example(t)
		empty(&k)
		_, err := NewPlan(k, settings(), nil)
		assert.EqualError(t, err,
			"1 error:\n  "+list+": must not be empty: the reader may lack permission to list them in Keystone")
	}
	k := cloud()
	k.Groups, k.ImpliedRoles = nil, nil // these lists may be empty
	_, err := NewPlan(k, settings(), nil)
	assert.NoError(t, err)
}
