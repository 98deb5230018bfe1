//go:build e2e

package tests

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/containers"
	"github.com/stretchr/testify/require"
)

// kinds maps the kinds of OpenStack resources that a cluster can have to their services. A key is the path in
// the API. The response has only one list.
var kinds = map[string]string{
	"servers":              "compute",
	"os-keypairs":          "compute",
	"os-server-groups":     "compute",
	"networks":             "network",
	"subnets":              "network",
	"routers":              "network",
	"ports":                "network",
	"floatingips":          "network",
	"security-groups":      "network",
	"security-group-rules": "network",
	"volumes":              "volume",
	"snapshots":            "volume",
}

// cloud is a client of the OpenStack project that does not use Pulumi.
type cloud struct {
	project, user string
	clients       map[string]*gophercloud.ServiceClient
}

func connect(t testing.TB, clientConfigFile string) cloud {
	t.Helper()
	ctx := context.Background()
	auth, endpoint, tlsConfig, err := clouds.Parse(clouds.WithLocations(clientConfigFile),
		clouds.WithCloudName("devcloud"))
	require.NoError(t, err)
	provider, err := config.NewProviderClient(ctx, auth, config.WithTLSConfig(tlsConfig))
	require.NoError(t, err)
	project, err := provider.GetAuthResult().(tokens.CreateResult).ExtractProject()
	require.NoError(t, err)
	user, err := provider.GetAuthResult().(tokens.CreateResult).ExtractUser()
	require.NoError(t, err)
	c := cloud{project.ID, user.ID, map[string]*gophercloud.ServiceClient{}}
	type connect func(*gophercloud.ProviderClient, gophercloud.EndpointOpts) (*gophercloud.ServiceClient, error)
	for name, connect := range map[string]connect{
		"compute": openstack.NewComputeV2, "identity": openstack.NewIdentityV3,
		"network": openstack.NewNetworkV2, "object-store": openstack.NewObjectStorageV1,
		"volume": openstack.NewBlockStorageV3,
	} {
		c.clients[name], err = connect(provider, endpoint)
		require.NoError(t, err)
	}
	return c
}

// inventory returns all resources of all kinds in the project, as "kind name id".
func (c cloud) inventory(t testing.TB) []string {
	t.Helper()
	var all []string
	for kind, service := range kinds {
		var answer map[string]any
		_, err := c.clients[service].Get(context.Background(), c.clients[service].ServiceURL(kind), &answer, nil)
		require.NoError(t, err, kind)
		for _, value := range answer {
			list, _ := value.([]any)
			for _, item := range list {
				object := item.(map[string]any)
				if pair, ok := object["keypair"].(map[string]any); ok {
					object = pair
				}
				// skips resources that other projects share, and the default resources that Neutron creates
				// in each project
				if owner, ok := object["project_id"]; ok && owner != c.project || object["name"] == "default" {
					continue
				}
				all = append(all, fmt.Sprintf("%s %v %v", kind, object["name"], object["id"]))
			}
		}
	}
	for _, credential := range c.credentials(t) {
		all = append(all, fmt.Sprintf("application credential %s %s", credential.Name, credential.ID))
	}
	ctx := context.Background()
	found, err := applicationcredentials.ListAccessRules(c.clients["identity"], c.user).AllPages(ctx)
	require.NoError(t, err)
	rules, err := applicationcredentials.ExtractAccessRules(found)
	require.NoError(t, err)
	for _, rule := range rules {
		all = append(all, fmt.Sprintf("access rule %s %s %s", rule.Method, rule.Path, rule.ID))
	}
	found, err = containers.List(c.clients["object-store"], nil).AllPages(ctx)
	require.NoError(t, err)
	names, err := containers.ExtractNames(found)
	require.NoError(t, err)
	for _, name := range names {
		all = append(all, "container "+name)
	}
	slices.Sort(all)
	return all
}

// named returns the ID of the only resource of a kind of Neutron with this name.
func (c cloud) named(t testing.TB, kind, name string) string {
	t.Helper()
	var answer map[string][]struct{ ID string }
	client := c.clients["network"]
	_, err := client.Get(t.Context(), client.ServiceURL(kind+"?name="+name), &answer, nil)
	require.NoError(t, err)
	for _, list := range answer {
		require.Len(t, list, 1, name)
		return list[0].ID
	}
	return ""
}

// createdSince returns the resources that are not in before.
func (c cloud) createdSince(t testing.TB, before []string) []string {
	t.Helper()
	return slices.DeleteFunc(c.inventory(t), func(thing string) bool { return slices.Contains(before, thing) })
}

// stop shuts machines down through Nova, without Pulumi.
func (c cloud) stop(t testing.TB, names ...string) {
	t.Helper()
	var ids []string
	for _, name := range names {
		id := c.server(t, name)
		require.NoError(t, servers.Stop(t.Context(), c.clients["compute"], id).ExtractErr())
		ids = append(ids, id)
	}
	for _, id := range ids {
		require.NoError(t, servers.WaitForStatus(t.Context(), c.clients["compute"], id, "SHUTOFF"))
	}
}

func (c cloud) start(t testing.TB, name string) {
	t.Helper()
	require.NoError(t, servers.Start(t.Context(), c.clients["compute"], c.server(t, name)).ExtractErr())
}

func (c cloud) reboot(t testing.TB, name string) {
	t.Helper()
	err := servers.Reboot(t.Context(), c.clients["compute"], c.server(t, name),
		servers.RebootOpts{Type: servers.SoftReboot}).ExtractErr()
	require.NoError(t, err)
}

// server returns the ID of the machine with this name.
func (c cloud) server(t testing.TB, name string) string {
	t.Helper()
	pages, err := servers.List(c.clients["compute"], servers.ListOpts{Name: "^" + name + "$"}).AllPages(t.Context())
	require.NoError(t, err)
	found, err := servers.ExtractServers(pages)
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0].ID
}
