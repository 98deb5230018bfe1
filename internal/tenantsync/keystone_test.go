package tenantsync

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/internal/tenantsync/tenantsynctest"
)

var settings = tenancy.Settings{
	Mapping: tenancy.Mapping{Exclude: []string{"service@Default"}},
	PodCIDR: netip.MustParsePrefix("10.244.0.0/16"),
}

// example is the cloud of tenancy's example. The reader is an auditor in it, and there is a group without a role.
func example(t testing.TB) *tenantsynctest.OpenStack {
	t.Helper()
	text, err := os.ReadFile("../tenancy/testdata/example.yaml")
	require.NoError(t, err)
	var w tenancy.World
	require.NoError(t, yaml.UnmarshalStrict(text, &w))
	w.Groups[0].Users = append(w.Groups[0].Users, tenantsynctest.Reader)
	w.Groups = append(w.Groups,
		tenancy.UserGroup{ID: "9a11", Name: "choir", DomainID: "default", Users: []string{w.Users[0].ID}})
	return tenantsynctest.Start(t, w)
}

func cloudOf(o *tenantsynctest.OpenStack) Cloud {
	return Cloud{
		AuthURL: o.AuthURL, CA: o.CA, Region: tenantsynctest.Region, Interface: tenantsynctest.Interface,
		Username: tenantsynctest.Username, UserDomain: "Default", Password: tenantsynctest.Password,
	}
}

// read is what Compare reads.
func read(t *testing.T, cloud Cloud) (tenancy.World, error) {
	t.Helper()
	r, err := cloud.login(t.Context())
	if err != nil {
		return tenancy.World{}, err
	}
	w, err := r.world(t.Context())
	if err != nil {
		return w, err
	}
	return w, r.addQuotas(t.Context(), w, settings)
}

// TestWorld compares what is read with testdata/world.yaml.
func TestWorld(t *testing.T) {
	o := example(t)
	w, err := read(t, cloudOf(o))
	require.NoError(t, err)
	got, err := yaml.Marshal(w)
	require.NoError(t, err)
	const file = "testdata/world.yaml"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got),
		"intended? UPDATE_GOLDEN=1 go test ./internal/tenantsync, and read the diff")
	assert.Equal(t, 1, o.Logins(), "the password is slow to check")

	t.Run("on pages", func(t *testing.T) {
		o.Paginate(1)
		paged, err := read(t, cloudOf(o))
		require.NoError(t, err)
		assert.Equal(t, w, paged)
	})
	t.Run("by AuthURL with its version", func(t *testing.T) {
		cloud := cloudOf(o)
		cloud.AuthURL += "/v3"
		versioned, err := read(t, cloud)
		require.NoError(t, err)
		assert.Equal(t, w, versioned)
	})
}

// A user of LDAP, of whom Keystone does not say that they are enabled, is.
func TestUserOfLDAP(t *testing.T) {
	o := example(t)
	const domain, erin = "5ba0c0dbd4f84e8ab6a5ca1ba8e1e06c", "0e410000000000000000000000000002"
	o.Answer("/identity/v3/users?domain_id="+domain, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"users": [{"id": %q, "name": "erin", "domain_id": %q}], "links": {"next": null}}`, erin,
			domain)
	})
	w, err := read(t, cloudOf(o))
	require.NoError(t, err)
	assert.Contains(t, w.Users, tenancy.User{ID: erin, Name: "erin", DomainID: domain, Enabled: true})
}

// What cannot be read to the end is no world.
func TestNoIncompleteWorld(t *testing.T) {
	const v3, auditors = "/identity/v3/", "a0d17000000000000000000000000000"
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	down := tenantsynctest.Refuse(http.StatusInternalServerError,
		"Unable to establish a connection to LDAP Server (ldap://ldap).")
	no := tenantsynctest.Refuse(http.StatusForbidden, "no")
	const addReader = "tenant-sync may not read it: openstack role add --user tenant-sync --user-domain Default " +
		"--domain default --inherited reader"
	for path, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		v3 + "domains?":                {down, "Keystone's list of domains: "},
		v3 + "projects?":               {down, "Keystone's list of projects: "},
		v3 + "roles?":                  {down, "Keystone's list of roles: "},
		v3 + "role_inferences?":        {down, "Keystone's list of role_inferences: "},
		v3 + "role_assignments?":       {text(`{"links": {}}`), "Keystone's list of role_assignments: role_assignments: "},
		v3 + "users?domain_id=default": {down, "Unable to establish a connection to LDAP Server"},
		v3 + "groups?domain_id=default": {
			text(`{"groups": [], "truncated": true}`), "cut off after 0: list_limit in keystone.conf",
		},
		v3 + "roles?domain_id=default": {
			text(`{"roles": [], "links": {"next": "http://here/?domain_id=default"}}`), "comes after itself",
		},
		v3 + "groups/" + auditors + "/users?":           {down, "Keystone's list of groups/" + auditors + "/users: "},
		"/compute/v2.1/os-quota-sets/" + shop:           {down, `quota of project "shop@Default": `},
		"/volume/v3/" + shop + "/os-quota-sets/" + shop: {no, addReader},
	} {
		t.Run(path, func(t *testing.T) {
			o := example(t)
			o.Answer(path, test.answer)
			_, err := read(t, cloudOf(o))
			require.ErrorContains(t, err, test.want)
		})
	}
	t.Run("a list that is cut off", func(t *testing.T) {
		o := example(t)
		o.Limit(3)
		_, err := read(t, cloudOf(o))
		require.ErrorContains(t, err, "cut off after 3: list_limit in keystone.conf must be higher, or not be set")
	})
	t.Run("no role in the projects", func(t *testing.T) {
		o := example(t)
		o.Change(func(w *tenancy.World) { w.Assignments = w.Assignments[:len(w.Assignments)-len(w.Domains)] })
		_, err := read(t, cloudOf(o))
		require.ErrorContains(t, err, "openstack role add --user tenant-sync --user-domain Default --domain ")
	})
	t.Run("no role on the system", func(t *testing.T) {
		o := example(t)
		o.SystemRole(false)
		_, err := read(t, cloudOf(o))
		require.ErrorContains(t, err, "openstack role add --user tenant-sync --user-domain Default --system all reader")
	})
	t.Run("another password", func(t *testing.T) {
		cloud := cloudOf(example(t))
		cloud.Password = "guess"
		_, err := read(t, cloud)
		require.ErrorContains(t, err, "/identity as tenant-sync of domain Default: ")
		assert.NotContains(t, err.Error(), "guess")
	})
}

// A project counts as deleted where Keystone says so, and nobody else.
func TestIsDeleted(t *testing.T) {
	o := example(t)
	r, err := cloudOf(o).login(t.Context())
	require.NoError(t, err)
	deleted, err := r.isDeleted(t.Context(), "90e90e")
	require.NoError(t, err)
	assert.True(t, deleted)
	deleted, err = r.isDeleted(t.Context(), shop)
	require.NoError(t, err)
	assert.False(t, deleted)

	for name, answer := range map[string]http.HandlerFunc{
		"a proxy's":      http.NotFound,
		"of another one": tenantsynctest.Refuse(http.StatusNotFound, "Could not find project: other."),
		"not found out":  tenantsynctest.Refuse(http.StatusServiceUnavailable, "Could not find project: 90e90e."),
	} {
		t.Run(name, func(t *testing.T) {
			o.Answer("/identity/v3/projects/90e90e", answer)
			deleted, err := r.isDeleted(t.Context(), "90e90e")
			require.Error(t, err)
			assert.False(t, deleted)
		})
	}
}
