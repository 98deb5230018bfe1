package tenantsync

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kubernetes-openstack/internal/field"
	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/tests/apiserver"
)

const (
	shop, staging = "3f2a9c1d5e6b4a7f8c9d0e1f2a3b4c5d", "81c5e0f2a4d94b07b4a5f5f7a1c2d3e4"
	alice, bob    = "0a11ce00000000000000000000000000", "0b0b0000000000000000000000000000"
)

// TestSync syncs the tenants of an OpenStack to a real API server, and repeats this after changes in OpenStack.
func TestSync(t *testing.T) {
	api := apiserver.Start(t)
	kube, err := clientcmd.RESTConfigFromKubeConfig([]byte(api.Kubeconfig))
	require.NoError(t, err)
	o := example(t)
	s := settings
	// sync returns the lines of a sync. It also checks that the next sync changes nothing.
	sync := func() string {
		t.Helper()
		var lines []string
		_, err := Sync(t.Context(), kube, cloudOf(o), s, func(line string) error {
			lines = append(lines, line)
			return nil
		})
		require.NoError(t, err)
		before, dryRuns := versions(t, kube), atomic.Int32{}
		next, err := Compare(t.Context(), intercept(kube, func(r *http.Request) error {
			if r.Method == http.MethodPatch {
				dryRuns.Add(1)
			}
			return nil
		}), cloudOf(o), s)
		require.NoError(t, err)
		assert.LessOrEqual(t, dryRuns.Load(), int32(2), "dry runs, only for objects that the API server changes")
		assert.Empty(t, next.Lines(), "the next sync")
		require.NoError(t, next.Apply(t.Context()))
		assert.Equal(t, before, versions(t, kube), "versions of objects after the next sync")
		return strings.Join(lines, "\n")
	}
	namespace := func(project string) string {
		t.Helper()
		list, err := api.Client.CoreV1().Namespaces().List(t.Context(),
			metav1.ListOptions{LabelSelector: tenancy.ProjectLabel + "=" + project})
		require.NoError(t, err)
		require.Len(t, list.Items, 1)
		return list.Items[0].Name
	}
	binding := func(namespace, access string) []string {
		t.Helper()
		b, err := api.Client.RbacV1().RoleBindings(namespace).Get(t.Context(), "kubernetes-openstack:tenant-"+access,
			metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		require.NoError(t, err)
		var names []string
		for _, s := range b.Subjects {
			names = append(names, s.Name)
		}
		return names
	}

	t.Log("Compare changes nothing")
	before := versions(t, kube)
	plan, err := Compare(t.Context(), kube, cloudOf(o), s)
	require.NoError(t, err)
	assert.NotEmpty(t, plan.Lines())
	assert.Equal(t, before, versions(t, kube))

	t.Log("the first sync")
	lines := sync()
	assert.Equal(t, strings.Join(plan.Lines(), "\n"), lines)
	assert.Contains(t, lines, "+ clusterrole kubernetes-openstack:tenant-view\n")
	assert.Contains(t, lines, "+ namespace shop-default-3f2a9c1d (project shop@Default)\n")
	assert.Contains(t, lines, "+ networkpolicy shop-default-3f2a9c1d/tenant\n")
	assert.Contains(t, lines, "+ rolebinding shop-default-3f2a9c1d/kubernetes-openstack:tenant-edit")
	assert.Less(t, strings.Index(lines, "networkpolicy shop-staging"), strings.Index(lines, "rolebinding shop-default"),
		"access comes last")
	assert.NotContains(t, lines, "service-default")
	shopNamespace, stagingNamespace := namespace(shop), namespace(staging)
	assert.Equal(t, []string{tenancy.Group(shop, alice, "member")}, binding(shopNamespace, "edit"))

	t.Log("a role assignment is removed, and another one is added")
	o.Change(func(k *tenancy.KeystoneSnapshot) {
		for i, a := range k.Assignments {
			if a.UserID == alice && a.ProjectID == shop && !a.Inherited {
				k.Assignments[i].UserID = bob
			}
		}
	})
	lines = sync()
	was, is := tenancy.Group(shop, alice, "member"), tenancy.Group(shop, bob, "member")
	assert.Contains(t, lines, "~ rolebinding "+shopNamespace+"/kubernetes-openstack:tenant-edit -"+was+" +"+is)
	assert.Equal(t, []string{is}, binding(shopNamespace, "edit"))

	t.Log("the last access with a role is removed before access is added")
	o.Change(func(k *tenancy.KeystoneSnapshot) {
		for i, a := range k.Assignments {
			if a.UserID == bob && a.ProjectID == shop && !a.Inherited {
				k.Assignments[i].RoleID = k.Roles[2].ID // admin, which implies member
			}
		}
	})
	sync()
	o.Change(func(k *tenancy.KeystoneSnapshot) {
		for i, a := range k.Assignments {
			if a.UserID == bob && a.ProjectID == shop && !a.Inherited {
				k.Assignments[i] = tenancy.Assignment{RoleID: k.Roles[2].ID, UserID: alice,
					ProjectID: "b7d1f0e29c8a4f6db3a2c1d0e9f8a7b6"}
			}
		}
	})
	lines = sync()
	assert.Regexp(t, `^- rolebinding `+shopNamespace+`/kubernetes-openstack:tenant-admin -keystone:`+shop+`:`+bob+
		":admin\n- rolebinding "+
		shopNamespace+`/kubernetes-openstack:tenant-edit `, lines)
	assert.Nil(t, binding(shopNamespace, "edit"))

	t.Log("changes by tenants to our objects are reverted, and tenants' own objects stay")
	policies := api.Client.NetworkingV1().NetworkPolicies(shopNamespace)
	_, err = policies.Patch(t.Context(), "tenant", types.MergePatchType, []byte(`{"spec": {"ingress": [{}]}}`),
		metav1.PatchOptions{})
	require.NoError(t, err)
	labels := map[string]string{tenancy.ProjectLabel: shop}
	for _, own := range []metav1.ObjectMeta{{Name: "mine", Labels: labels}, {Name: "plain"}} {
		_, err = policies.Create(t.Context(), &networkingv1.NetworkPolicy{ObjectMeta: own}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	_, err = api.Client.RbacV1().RoleBindings(shopNamespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "operators", Labels: labels},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, api.Client.CoreV1().ResourceQuotas(shopNamespace).Delete(t.Context(), "tenant",
		metav1.DeleteOptions{}))
	assert.Equal(t, "+ resourcequota "+shopNamespace+"/tenant\n~ networkpolicy "+shopNamespace+"/tenant",
		sortLines(sync()))
	left, err := policies.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, left.Items, 3)
	_, err = api.Client.RbacV1().RoleBindings(shopNamespace).Get(t.Context(), "operators", metav1.GetOptions{})
	require.NoError(t, err)

	t.Log("an object with our label and field manager is deleted")
	imitated := fmt.Sprintf(`{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}},
		"metadata": {"name": "imitated", "labels": {%q: %q}}}`, tenancy.ProjectLabel, shop)
	_, err = policies.Patch(t.Context(), "imitated", types.ApplyPatchType, []byte(imitated),
		metav1.PatchOptions{FieldManager: fieldManager})
	require.NoError(t, err)
	assert.Equal(t, "- networkpolicy "+shopNamespace+"/imitated", sync())

	t.Log("the objects of a removed quota are deleted")
	o.Change(func(k *tenancy.KeystoneSnapshot) {
		k.Projects[0].Quota = tenancy.Quota{Cores: -1, RAM: -1, Gigabytes: -1, Volumes: -1, Snapshots: -1}
	})
	assert.Equal(t, "- limitrange "+shopNamespace+"/tenant\n- resourcequota "+shopNamespace+"/tenant", sync())

	t.Log("a disabled project is closed, and opens when it is enabled")
	require.NotEmpty(t, binding(stagingNamespace, "admin"))
	o.Change(func(k *tenancy.KeystoneSnapshot) { k.Projects[1].Enabled = false })
	lines = sync()
	assert.Contains(t, lines, "~ namespace "+stagingNamespace+" (project Shop Staging@Default, disabled)")
	assert.Nil(t, binding(stagingNamespace, "admin"))
	assert.Nil(t, binding(stagingNamespace, "view"))
	o.Change(func(k *tenancy.KeystoneSnapshot) { k.Projects[1].Enabled = true })
	sync()
	require.NotEmpty(t, binding(stagingNamespace, "admin"))

	t.Log("ABAC instead of RBAC, and back")
	s.Authorizer = tenancy.ABAC
	changes, err := Compare(t.Context(), kube, cloudOf(o), s)
	require.NoError(t, err)
	assert.Contains(t, string(changes.Policy), tenancy.Group(shop, bob, "reader"))
	sync()
	assert.Nil(t, binding(stagingNamespace, "admin"))
	s.Authorizer = tenancy.RBAC
	sync()
	require.NotEmpty(t, binding(stagingNamespace, "admin"))

	t.Log("after an error, the sync continues, but adds no access in the namespace of the error")
	broken := intercept(kube, func(r *http.Request) error {
		if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, shopNamespace+"/networkpolicies/tenant") {
			return assert.AnError
		}
		return nil
	})
	require.NoError(t, policies.Delete(t.Context(), "tenant", metav1.DeleteOptions{}))
	o.Change(func(k *tenancy.KeystoneSnapshot) {
		for _, project := range []string{shop, staging} {
			k.Assignments = append(k.Assignments, tenancy.Assignment{RoleID: k.Roles[1].ID, UserID: bob, ProjectID: project})
		}
	})
	_, err = Sync(t.Context(), broken, cloudOf(o), s, func(string) error { return nil })
	require.ErrorContains(t, err, "networkpolicy "+shopNamespace+"/tenant: ")
	require.ErrorContains(t, err, "rolebinding "+shopNamespace+"/kubernetes-openstack:tenant-edit: not applied")
	assert.Nil(t, binding(shopNamespace, "edit"))
	assert.Contains(t, binding(stagingNamespace, "edit"), tenancy.Group(staging, bob, "member"))
	sync()
	assert.Equal(t, []string{tenancy.Group(shop, bob, "member")}, binding(shopNamespace, "edit"))

	t.Log("if Keystone has a project that it does not list, nothing changes")
	const list = "/identity/v3/projects?"
	for _, s.OnProjectDelete = range []string{tenancy.CloseNamespace, tenancy.DeleteNamespace} {
		o.SetResponse(list, func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w,
				`{"projects": [{"id": %q, "name": "x", "domain_id": "default", "parent_id": "default", "enabled": true}]}`, staging)
		})
		_, err = Compare(t.Context(), kube, cloudOf(o), s)
		require.ErrorContains(t, err, "the project exists, but Keystone's list does not contain it")
		o.SetResponse(list, nil)
	}

	t.Log("the namespace of a deleted project is closed")
	s.OnProjectDelete = tenancy.CloseNamespace
	o.Change(func(k *tenancy.KeystoneSnapshot) {
		k.Projects = k.Projects[1:]
		k.Projects[0].ParentID = "default"
		k.Assignments = slices.DeleteFunc(k.Assignments, func(a tenancy.Assignment) bool { return a.ProjectID == shop })
	})
	lines = sync()
	assert.Contains(t, lines, "~ namespace "+shopNamespace+" (project shop@Default, deleted)")
	assert.Nil(t, binding(shopNamespace, "view"))

	t.Log("or deleted, after Keystone confirms that the project does not exist")
	s.OnProjectDelete = tenancy.DeleteNamespace
	o.SetResponse("/identity/v3/projects/"+shop, http.NotFound)
	_, err = Compare(t.Context(), kube, cloudOf(o), s)
	require.ErrorContains(t, err, "project "+shop+" of namespace "+shopNamespace+": ")
	o.SetResponse("/identity/v3/projects/"+shop, nil)
	assert.Equal(t, "- namespace "+shopNamespace+" (project shop@Default, deleted)", sync())
	require.Eventually(t, func() bool {
		_, err := api.Client.CoreV1().Namespaces().Get(t.Context(), shopNamespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, 20*time.Second, 100*time.Millisecond)
	assert.Empty(t, sync())
}

// TestLines checks that the name of a project cannot look like another change.
func TestLines(t *testing.T) {
	o := &object{Object: map[string]any{"kind": "Namespace", "metadata": map[string]any{"name": "a"}}}
	c := &Changes{
		warnings: []field.Error{{Path: "exclude[0]", Message: "Keystone has no project a@b"}},
		list: []change{{sign: "+", object: o,
			detail: projectDetail(tenancy.Tenant{Project: "ü\n- namespace b\x1b", Domain: "D"})}},
	}
	assert.Equal(t, []string{"exclude[0]: notice: Keystone has no project a@b",
		"+ namespace a (project ü\ufffd- namespace b\ufffd@D)"}, c.Lines())
}

// intercept returns a configuration with which each request first calls before. An error of before fails the request.
func intercept(kube *rest.Config, before func(*http.Request) error) *rest.Config {
	kube = rest.CopyConfig(kube)
	kube.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if err := before(r); err != nil {
				return nil, err
			}
			return next.RoundTrip(r)
		})
	})
	return kube
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// versions returns the resourceVersions of all objects that the sync has applied. For kinds whose status controllers
// write, it returns the time of the last apply instead.
func versions(t *testing.T, kube *rest.Config) map[string]string {
	t.Helper()
	a, err := newAPI(kube)
	require.NoError(t, err)
	policy := admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicy")
	out := map[string]string{}
	for _, kind := range append([]schema.GroupVersionKind{
		namespaceKind, policy, rbacv1.SchemeGroupVersion.WithKind("ClusterRole"),
		admissionv1.SchemeGroupVersion.WithKind("ValidatingAdmissionPolicyBinding"),
	}, kinds...) {
		list, err := a.list(t.Context(), kind, "")
		require.NoError(t, err)
		for _, o := range list {
			if appliedFields(&o) == nil {
				continue
			}
			out[idOf(&o).String()] = o.GetResourceVersion()
			if kind == policy || kind.Kind == "ResourceQuota" {
				out[idOf(&o).String()] = o.GetManagedFields()[0].Time.String()
			}
		}
	}
	return out
}

func sortLines(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
