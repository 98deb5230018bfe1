//go:build e2e

package tests

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/domains"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/stretchr/testify/require"
)

// keystone is a client of devcloud's Keystone as its administrator. The objects that a test creates are
// deleted after the test.
type keystone struct {
	t      *testing.T
	client *gophercloud.ServiceClient
	roles  map[string]string // IDs by name
}

const personsPassword = "a person's"

func newKeystone(t *testing.T, clientConfigFile string) *keystone {
	t.Helper()
	auth, endpoint, tlsConfig, err := clouds.Parse(clouds.WithLocations(clientConfigFile),
		clouds.WithCloudName("devcloud-admin"))
	require.NoError(t, err)
	provider, err := config.NewProviderClient(t.Context(), auth, config.WithTLSConfig(tlsConfig))
	require.NoError(t, err)
	k := &keystone{t: t, roles: map[string]string{}}
	k.client, err = openstack.NewIdentityV3(provider, endpoint)
	require.NoError(t, err)
	pages, err := roles.List(k.client, nil).AllPages(t.Context())
	require.NoError(t, err)
	all, err := roles.ExtractRoles(pages)
	require.NoError(t, err)
	for _, role := range all {
		k.roles[role.Name] = role.ID
	}
	return k
}

// deleteAfter deletes an object of Keystone's API, by its path, after the test.
func (k *keystone) deleteAfter(path ...string) {
	k.t.Cleanup(func() { k.delete(path...) })
}

func (k *keystone) delete(path ...string) {
	_, err := k.client.Delete(context.Background(), k.client.ServiceURL(path...), nil)
	if !gophercloud.ResponseCodeIs(err, http.StatusNotFound) && err != nil {
		k.t.Error(err)
	}
}

// domain creates a domain and returns its ID. The user tenant-sync, as which clusters read Keystone, can read
// its projects.
func (k *keystone) domain(name string) string {
	k.t.Helper()
	created, err := domains.Create(k.t.Context(), k.client, domains.CreateOpts{Name: name}).Extract()
	require.NoError(k.t, err)
	k.deleteAfter("domains", created.ID)
	k.t.Cleanup(func() { // Keystone deletes only disabled domains
		disabled := false
		_, err := domains.Update(context.Background(), k.client, created.ID, domains.UpdateOpts{Enabled: &disabled}).Extract()
		require.NoError(k.t, err)
	})
	pages, err := users.List(k.client, users.ListOpts{Name: "tenant-sync", DomainID: "default"}).AllPages(k.t.Context())
	require.NoError(k.t, err)
	readers, err := users.ExtractUsers(pages)
	require.NoError(k.t, err)
	require.Len(k.t, readers, 1)
	k.put("OS-INHERIT", "domains", created.ID, "users", readers[0].ID, "roles", k.roles["reader"], "inherited_to_projects")
	return created.ID
}

func (k *keystone) put(path ...string) {
	k.t.Helper()
	_, err := k.client.Put(k.t.Context(), k.client.ServiceURL(path...), nil, nil,
		&gophercloud.RequestOpts{OkCodes: []int{http.StatusNoContent}})
	require.NoError(k.t, err)
}

func (k *keystone) project(name, domain string) string {
	k.t.Helper()
	created, err := projects.Create(k.t.Context(), k.client, projects.CreateOpts{Name: name, DomainID: domain}).Extract()
	require.NoError(k.t, err)
	k.deleteAfter("projects", created.ID)
	return created.ID
}

// ownProject creates a project for a suite, and returns the path of a clouds.yaml in which the cloud
// `devcloud` is this project. So a suite lists only its own resources. testdata/e2e.yaml excludes the project
// from tenancy.
func ownProject(t *testing.T, name string) (clouds string) {
	t.Helper()
	const shared = "../hack/devcloud/clouds.yaml"
	k := newKeystone(t, shared)
	user := k.person(name, "default", k.project(name, "default"))
	k.put(user.role("member")...)
	text, err := os.ReadFile(shared)
	require.NoError(t, err)
	own := strings.ReplaceAll(string(text), "kubernetes", name) // the user and the project
	own = strings.Replace(own, "password: devcloud", "password: "+personsPassword, 1)
	clouds = filepath.Join(t.TempDir(), "clouds.yaml")
	require.NoError(t, os.WriteFile(clouds, []byte(own), 0o600))
	connect(t, clouds).inventory(t) // the first list of security groups creates the default group
	return clouds
}

// person is a user, with a project for which the user gets tokens.
type person struct {
	k                         *keystone
	name, id, domain, project string
}

func (k *keystone) person(name, domain, project string) *person {
	k.t.Helper()
	created, err := users.Create(k.t.Context(), k.client,
		users.CreateOpts{Name: name, DomainID: domain, Password: personsPassword}).Extract()
	require.NoError(k.t, err)
	k.deleteAfter("users", created.ID)
	return &person{k, name, created.ID, domain, project}
}

// role returns the path of a person's role on the project, to grant or revoke it.
func (p *person) role(name string) []string {
	return []string{"projects", p.project, "users", p.id, "roles", p.k.roles[name]}
}

// inGroup adds a person to a new group, which has a role on the project.
func (p *person) inGroup(name, role string) {
	t := p.k.t
	t.Helper()
	created, err := groups.Create(t.Context(), p.k.client, groups.CreateOpts{Name: name, DomainID: p.domain}).Extract()
	require.NoError(t, err)
	p.k.deleteAfter("groups", created.ID)
	p.k.put("groups", created.ID, "users", p.id)
	p.k.put("projects", p.project, "groups", created.ID, "roles", p.k.roles[role])
}

// login authenticates as the person, for the project.
func (p *person) login(t *testing.T) (*gophercloud.ProviderClient, error) {
	t.Helper()
	return openstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: p.k.client.IdentityEndpoint, UserID: p.id, Password: personsPassword,
		Scope: &gophercloud.AuthScope{ProjectID: p.project},
	})
}

func (p *person) token(t *testing.T) string {
	t.Helper()
	provider, err := p.login(t)
	require.NoError(t, err)
	return provider.Token()
}

// applicationCredential creates an application credential that has only one role of the person's roles.
func (p *person) applicationCredential(t *testing.T, role string) *applicationcredentials.ApplicationCredential {
	t.Helper()
	provider, err := p.login(t)
	require.NoError(t, err)
	identity, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
	require.NoError(t, err)
	created, err := applicationcredentials.Create(t.Context(), identity, p.id, applicationcredentials.CreateOpts{
		Name: "e2e", Roles: []applicationcredentials.Role{{Name: role}},
	}).Extract()
	require.NoError(t, err)
	return created
}

// credentialToken logs in with an application credential and returns its token.
func credentialToken(t *testing.T, k *keystone, id, secret string) string {
	t.Helper()
	provider, err := openstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: k.client.IdentityEndpoint, ApplicationCredentialID: id, ApplicationCredentialSecret: secret,
	})
	require.NoError(t, err)
	return provider.Token()
}
