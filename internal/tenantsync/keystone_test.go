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

// example starts an OpenStack with tenancy's example. The reader is also an auditor, and one more group has no role.
func example(t testing.TB) *tenantsynctest.OpenStack {
	t.Helper()
	text, err := os.ReadFile("../tenancy/testdata/example.yaml")
	require.NoError(t, err)
	var k tenancy.KeystoneSnapshot
	require.NoError(t, yaml.UnmarshalStrict(text, &k))
	k.Groups[0].Users = append(k.Groups[0].Users, tenantsynctest.Reader)
	k.Groups = append(k.Groups,
		tenancy.UserGroup{ID: "9a11", Name: "choir", DomainID: "default", Users: []string{k.Users[0].ID}})
	return tenantsynctest.Start(t, k)
}

func cloudOf(o *tenantsynctest.OpenStack) Cloud {
	return Cloud{
		AuthURL: o.AuthURL, CA: o.CA, Region: tenantsynctest.Region, Interface: tenantsynctest.Interface,
		Username: tenantsynctest.Username, UserDomain: "Default", Password: tenantsynctest.Password,
	}
}

// read returns the snapshot that Compare reads.
func read(t *testing.T, cloud Cloud) (tenancy.KeystoneSnapshot, error) {
	t.Helper()
	s, err := cloud.login(t.Context())
	if err != nil {
		return tenancy.KeystoneSnapshot{}, err
	}
	k, err := s.snapshot(t.Context())
	if err != nil {
		return k, err
	}
	return k, s.addQuotas(t.Context(), k, settings)
}

// TestSnapshot compares the snapshot with testdata/snapshot.yaml.
func TestSnapshot(t *testing.T) {
	o := example(t)
	k, err := read(t, cloudOf(o))
	require.NoError(t, err)
	got, err := yaml.Marshal(k)
	require.NoError(t, err)
	const file = "testdata/snapshot.yaml"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got),
		"intended? UPDATE_GOLDEN=1 go test ./internal/tenantsync, and read the diff")
	assert.Equal(t, 1, o.Logins(), "Keystone checks the password only once")

	t.Run("several pages", func(t *testing.T) {
		o.Paginate(1)
		paged, err := read(t, cloudOf(o))
		require.NoError(t, err)
		assert.Equal(t, k, paged)
	})
	t.Run("AuthURL with a version", func(t *testing.T) {
		cloud := cloudOf(o)
		cloud.AuthURL += "/v3"
		versioned, err := read(t, cloud)
		require.NoError(t, err)
		assert.Equal(t, k, versioned)
	})
}

// TestLDAPUser checks that a user without the property enabled is enabled.
func TestLDAPUser(t *testing.T) {
	o := example(t)
	const domain, erin = "5ba0c0dbd4f84e8ab6a5ca1ba8e1e06c", "0e410000000000000000000000000002"
	o.SetResponse("/identity/v3/users?domain_id="+domain, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"users": [{"id": %q, "name": "erin", "domain_id": %q}], "links": {"next": null}}`, erin,
			domain)
	})
	k, err := read(t, cloudOf(o))
	require.NoError(t, err)
	assert.Contains(t, k.Users, tenancy.User{ID: erin, Name: "erin", DomainID: domain, Enabled: true})
}

// TestIncompleteSnapshot checks that a list that cannot be read completely is an error.
func TestIncompleteSnapshot(t *testing.T) {
	const v3, auditors = "/identity/v3/", "a0d17000000000000000000000000000"
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	down := tenantsynctest.ErrorResponse(http.StatusInternalServerError,
		"Unable to establish a connection to LDAP Server (ldap://ldap).")
	forbidden := tenantsynctest.ErrorResponse(http.StatusForbidden, "no")
	const addReader = "tenant-sync has no permission to read it, run: openstack role add --user tenant-sync " +
		"--user-domain Default --domain default --inherited reader"
	for path, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		v3 + "domains?":                {down, "list domains in Keystone: "},
		v3 + "projects?":               {down, "list projects in Keystone: "},
		v3 + "roles?":                  {down, "list roles in Keystone: "},
		v3 + "role_inferences?":        {down, "list role_inferences in Keystone: "},
		v3 + "role_assignments?":       {text(`{"links": {}}`), "list role_assignments in Keystone: role_assignments: "},
		v3 + "users?domain_id=default": {down, "Unable to establish a connection to LDAP Server"},
		v3 + "groups?domain_id=default": {
			text(`{"groups": [], "truncated": true}`), "truncated after 0 items: raise or unset list_limit in keystone.conf",
		},
		v3 + "roles?domain_id=default": {
			text(`{"roles": [], "links": {"next": "http://here/?domain_id=default"}}`), "was already read",
		},
		v3 + "groups/" + auditors + "/users?":           {down, "list groups/" + auditors + "/users in Keystone: "},
		"/compute/v2.1/os-quota-sets/" + shop:           {down, `quota of project "shop@Default": `},
		"/volume/v3/" + shop + "/os-quota-sets/" + shop: {forbidden, addReader},
	} {
		t.Run(path, func(t *testing.T) {
			o := example(t)
			o.SetResponse(path, test.answer)
			_, err := read(t, cloudOf(o))
			require.ErrorContains(t, err, test.want)
		})
	}
	t.Run("a truncated list", func(t *testing.T) {
		o := example(t)
		o.Limit(3)
		_, err := read(t, cloudOf(o))
		require.ErrorContains(t, err, "truncated after 3 items: raise or unset list_limit in keystone.conf")
	})
	t.Run("no role on the projects", func(t *testing.T) {
		o := example(t)
		o.Change(func(k *tenancy.KeystoneSnapshot) {
			k.Assignments = k.Assignments[:len(k.Assignments)-len(k.Domains)]
		})
		_, err := read(t, cloudOf(o))
		require.ErrorContains(t, err, "openstack role add --user tenant-sync --user-domain Default --domain ")
	})
	t.Run("no role on the system", func(t *testing.T) {
		o := example(t)
		o.RemoveSystemRole()
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

// TestIsDeleted checks that only a response of Keystone itself means that a project is deleted.
func TestIsDeleted(t *testing.T) {
	o := example(t)
	s, err := cloudOf(o).login(t.Context())
	require.NoError(t, err)
	deleted, err := s.isDeleted(t.Context(), "90e90e")
	require.NoError(t, err)
	assert.True(t, deleted)
	deleted, err = s.isDeleted(t.Context(), shop)
	require.NoError(t, err)
	assert.False(t, deleted)

	for name, answer := range map[string]http.HandlerFunc{
		"404 of a proxy":  http.NotFound,
		"another project": tenantsynctest.ErrorResponse(http.StatusNotFound, "Could not find project: other."),
		"another status":  tenantsynctest.ErrorResponse(http.StatusServiceUnavailable, "Could not find project: 90e90e."),
	} {
		t.Run(name, func(t *testing.T) {
			o.SetResponse("/identity/v3/projects/90e90e", answer)
			deleted, err := s.isDeleted(t.Context(), "90e90e")
			require.Error(t, err)
			assert.False(t, deleted)
		})
	}
}
