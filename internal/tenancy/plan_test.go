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
)

// settings are the defaults.
func settings() Settings { return Settings{PodCIDR: netip.MustParsePrefix("10.244.0.0/16")} }

// example is the cloud of testdata/example.yaml.
func example(t *testing.T) World {
	t.Helper()
	text, err := os.ReadFile("testdata/example.yaml")
	require.NoError(t, err)
	var w World
	require.NoError(t, yaml.UnmarshalStrict(text, &w))
	return w
}

func namespace(name, project string) corev1.Namespace {
	n := corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if project != "" {
		n.Labels = map[string]string{ProjectLabel: project}
	}
	return n
}

// golden compares got with testdata/NAME, or rewrites that where UPDATE_GOLDEN is set.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "intended? UPDATE_GOLDEN=1 go test ./internal/tenancy, and read the diff")
}

// manifest is objects as kubectl reads them.
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

// TestGolden compares what becomes of testdata/example.yaml, where the project old had a namespace before it was
// disabled, and another project before it was deleted.
func TestGolden(t *testing.T) {
	gone := namespace("gone-default-90e90e90", "90e90e90e90e90e90e90e90e90e90e90")
	gone.Annotations = map[string]string{ProjectAnnotation: "gone", DomainAnnotation: "Default"}
	plan := func(a Authorizer) ([]runtime.Object, string) {
		s := settings()
		s.Exclude, s.Authorizer = []string{"service@Default"}, a
		plan, err := NewPlan(example(t), s, []corev1.Namespace{
			namespace("default", ""), namespace("old", "4e310000000000000000000000000012"), gone,
		})
		require.NoError(t, err)
		assert.Empty(t, plan.Warnings)
		policy, err := plan.Policy()
		require.NoError(t, err)
		return plan.Objects(), string(policy)
	}
	objects, policy := plan(RBAC)
	assert.Empty(t, policy)
	golden(t, "example.rbac.yaml",
		manifest(t, slices.DeleteFunc(slices.Clone(objects), func(o runtime.Object) bool { return !isRBAC(o) })))
	golden(t, "example.tenants.yaml", manifest(t, slices.DeleteFunc(slices.Clone(objects), isRBAC)))

	byDefault, none := plan("")
	assert.Equal(t, objects, byDefault)
	assert.Empty(t, none)

	withoutAccess, policy := plan(ABAC)
	assert.NotEmpty(t, policy) // tests/testdata/policy.jsonl is one
	assert.Equal(t, slices.DeleteFunc(objects, func(o runtime.Object) bool {
		_, binding := o.(*rbacv1.RoleBinding)
		return binding
	}), withoutAccess)
}

func TestClosed(t *testing.T) {
	const shop = "3f2a9c1d5e6b4a7f8c9d0e1f2a3b4c5d"
	closed := func(w World, s Settings) Tenant {
		plan, err := NewPlan(w, s, []corev1.Namespace{namespace("shop", shop)})
		require.NoError(t, err)
		assert.Empty(t, plan.Gone)
		i := slices.IndexFunc(plan.Tenants, func(t Tenant) bool { return t.ProjectID == shop })
		require.GreaterOrEqual(t, i, 0)
		return plan.Tenants[i]
	}
	open := closed(example(t), settings())
	assert.Empty(t, open.Closed)
	assert.Len(t, open.Members, 3, "alice by member and reader, bob by reader")

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
		world    World
		settings Settings
		want     Closed
	}{
		"project disabled":                  {disabled, settings(), Disabled},
		"project disabled, not yet deleted": {disabled, deletes, Disabled},
		"domain disabled":                   {disabledDomain, settings(), Disabled},
		"project deleted":                   {deleted, settings(), Deleted},
		"excluded by name":                  {example(t), byName, Excluded},
		"excluded by its ID":                {example(t), byID, Excluded},
	} {
		t.Run(name, func(t *testing.T) {
			tenant := closed(test.world, test.settings)
			assert.Equal(t, "shop", tenant.Namespace, "it stays")
			assert.Equal(t, test.want, tenant.Closed)
			assert.Equal(t, string(test.want), tenant.namespace().Annotations[ClosedAnnotation])
			assert.Empty(t, tenant.Members)
			assert.Empty(t, tenant.roleBindings())
		})
	}
}

// What is to be deleted is told apart, and nothing is planned in it.
func TestGone(t *testing.T) {
	s := settings()
	s.OnProjectDelete = DeleteNamespace
	existing, gone := []corev1.Namespace{namespace("other", "")}, []Tenant{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		existing = append(existing, namespace(name, "of-"+name))
		gone = append(gone, Tenant{Namespace: name, ProjectID: "of-" + name, Closed: Deleted})
	}
	plan, err := NewPlan(example(t), s, existing)
	require.NoError(t, err)
	assert.Equal(t, gone, plan.Gone)
	without, err := NewPlan(example(t), s, nil)
	require.NoError(t, err)
	assert.Equal(t, without.Objects(), plan.Objects())
}

// A project of another name, or in other hands, keeps its namespace; one of the same name that comes later has another.
func TestNamespaceStays(t *testing.T) {
	w := example(t)
	first, err := NewPlan(w, settings(), nil)
	require.NoError(t, err)
	var existing []corev1.Namespace
	for _, tenant := range first.Tenants {
		existing = append(existing, *tenant.namespace())
	}
	was := map[string]string{}
	for _, tenant := range first.Tenants {
		was[tenant.ProjectID] = tenant.Namespace
	}
	for i := range w.Projects {
		w.Projects[i].Name = "renamed"
	}
	w.Domains[0].Name = "renamed too"
	w.Projects = append(w.Projects,
		Project{ID: "3f2a9c1d000000000000000000000000", Name: "shop", DomainID: "default", Enabled: true})
	w.Domains[0].Name = "Default"
	second, err := NewPlan(w, settings(), existing)
	require.NoError(t, err)
	for _, tenant := range second.Tenants {
		if before, known := was[tenant.ProjectID]; known {
			assert.Equal(t, before, tenant.Namespace)
			assert.Equal(t, "renamed", tenant.namespace().Annotations[ProjectAnnotation])
		} else {
			assert.Equal(t, "shop-default-3f2a9c1d00000000", tenant.Namespace, "eight digits were taken")
		}
	}
	assert.Len(t, second.Tenants, len(first.Tenants)+1)
}

// All that is wrong is told at once.
func TestErrors(t *testing.T) {
	w := World{
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
	_, err := NewPlan(w, s, []corev1.Namespace{
		namespace("two", "b"), namespace("one", "b"), namespace("kube-system", "c"), namespace("default", "d"),
		{ObjectMeta: metav1.ObjectMeta{Name: "x", Labels: map[string]string{ProjectLabel: ""}}},
	})
	const reserved = "cannot be set: no project may have a namespace of Kubernetes' own"
	assert.EqualError(t, err, `22 errors:
  domains: Keystone listed none, which it must have: whoever asked may not see them
  role_assignments: Keystone listed none, which it must have: whoever asked may not see them
  projects[1].id: "a" is projects[0].id too
  projects[3].id: must be set
  projects[2].id: must be a label's value: up to 63 letters, digits, '-', '_' and '.', not "not:a label"
  projects[3].quota.cores: must be -1, which is unlimited, or 0 and more, not -2
  users[1].id: must be set
  users[2].id: must have no ':' in it, which ends an ID in the names of groups, not "u:member"
  roles[0].id: must be set
  roles[]: must be the name of a role
  roles[member]: must be view, edit or admin, not "write"
  exclude[0]: must be NAME@DOMAIN or the ID of a project, not ""
  exclude[1]: must be NAME@DOMAIN or the ID of a project, not "@Default"
  exclude[2]: must be NAME@DOMAIN or the ID of a project, not "shop@"
  exclude[4]: "shop@Default" is exclude[3] too
  authorizer: must be rbac or abac, not "webhook"
  onProjectDelete: must be close or delete, not "keep"
  podCIDR: must be set to the IPv4 CIDR of all pods, such as 10.244.0.0/16
  namespaces[default].labels[kubernetes-openstack/project]: `+reserved+`
  namespaces[kube-system].labels[kubernetes-openstack/project]: `+reserved+`
  namespaces[two].labels[kubernetes-openstack/project]: "b" is one's too: a project has one namespace
  namespaces[x].labels[kubernetes-openstack/project]: must be the ID of a project`)
}

// Who would close everybody's namespace because they were told of nobody, does nothing.
func TestListedNone(t *testing.T) {
	for list, empty := range map[string]func(*World){
		"domains":          func(w *World) { w.Domains = nil },
		"projects":         func(w *World) { w.Projects = nil },
		"users":            func(w *World) { w.Users = nil },
		"roles":            func(w *World) { w.Roles = nil },
		"role_assignments": func(w *World) { w.Assignments = nil },
	} {
		w := example(t)
		empty(&w)
		_, err := NewPlan(w, settings(), nil)
		assert.EqualError(t, err,
			"1 error:\n  "+list+": Keystone listed none, which it must have: whoever asked may not see them")
	}
	w := cloud()
	w.Groups, w.ImpliedRoles = nil, nil // which a cloud may have none of
	_, err := NewPlan(w, settings(), nil)
	assert.NoError(t, err)
}
