//go:build e2e

package tests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/quotasets"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsecurity"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/dirs"
)

// devcloudUser logs in with a password, in the project to which the rack belongs.
const devcloudUser = "../hack/devcloud/clouds.yaml"

// TestCloudsRack creates a cluster on a devcloud with all variants. Flavors have no disk, server groups have one
// member, the network has no port security, and two operators log in with application credentials. The test shows that
// the cloud refuses a cluster without the keys of docs/clouds.md. `make e2e-clouds` runs it.
func TestCloudsRack(t *testing.T) {
	cloud := connect(t, devcloudUser)
	keystone := newKeystone(t, devcloudUser)
	keystone.restrict(t, cloud.project)
	first := keystone.person("first", "default", cloud.project)
	second := keystone.person("second", "default", cloud.project)
	keystone.put(first.role("member")...)
	keystone.put(second.role("member")...)
	ofFirst, ofSecond := first.clouds(t, "login"), second.clouds(t, "login")
	before := cloud.inventory(t)
	const existing = "applicationCredential: {id: %s, secret: %s}"
	controllers, backup := first.credential(t, "controllers"), first.credential(t, "backup")
	credentials := fmt.Sprintf("openstack: {"+existing+"}\netcd: {backup: {"+existing+"}}",
		controllers.ID, controllers.Secret, backup.ID, backup.Secret)
	config := func(patches ...string) func(string) string {
		edits := []func(string) string{patched(t, "clouds.yaml"), merged(t, credentials), merged(t, egress(t))}
		for _, patch := range patches {
			edits = append(edits, merged(t, patch))
		}
		return func(text string) string {
			for _, edit := range edits {
				text = edit(text)
			}
			return text
		}
	}
	e := newEngine(t, "clouds", cloudEnv, config())
	login := func(file string) { e.env = append(e.env, "OS_CLIENT_CONFIG_FILE="+file) }
	t.Cleanup(func() {
		if t.Failed() {
			e.keepLogs()
		}
		out, err := e.try("destroy", "--yes", "--skip-preview")
		assert.NoError(t, err, out)
		assert.Empty(t, cloud.createdSince(t, before))
	})
	refused := func(t *testing.T, patch string, want ...string) {
		e.configure(t, config("bootstrapTimeout: 1m", patch))
		out, err := e.try("up", "--yes", "--skip-preview", "--continue-on-error")
		require.Error(t, err)
		for _, text := range want {
			assert.Contains(t, out, text)
		}
		if t.Failed() {
			t.Log(out)
		}
	}

	login(ofFirst)
	step(t, "without network.portSecurity: false, Neutron refuses the ports", func(t *testing.T) {
		refused(t, "network: {portSecurity: true}\nssh: {keyPair: true}", "Port security must be enabled")
	})
	step(t, "without ssh.keyPair: false, Nova refuses the machines of another user", func(t *testing.T) {
		login(ofSecond)
		refused(t, "ssh: {keyPair: true}", "Invalid key_name provided")
		login(ofFirst)
	})
	step(t, "without the other keys, the cloud refuses machines, volumes and credentials", func(t *testing.T) {
		refused(t, `
serverGroupMembers: 0
openstack: {applicationCredential: null}
etcd: {zones: null}
controlPlane: {rootVolume: null}
proxy: null`,
			"cannot download https://github.com/etcd-io/", "zero disk", "too many servers in group",
			"the same availability_zone", "application_credentials", "403")
		e.must("destroy", "--yes", "--skip-preview")
		require.Empty(t, cloud.createdSince(t, before))
	})
	e.configure(t, config())
	var api *api
	step(t, "with all keys, the cluster is up", func(t *testing.T) {
		e.must("up", "--yes", "--skip-preview")
		api = e.api(t)
		waiting, err := api.notReady(3)
		require.NoError(t, err)
		require.Empty(t, waiting)
	})
	step(t, "another operator adds a machine", func(t *testing.T) {
		login(ofSecond)
		e.configure(t, config("pools: [{name: worker, count: 3, flavor: diskless, addresses: 10.0.0.64/26, "+
			"zones: [archive], rootVolume: {size: 8}}]"))
		e.must("up", "--yes", "--skip-preview")
		waiting, err := api.notReady(4)
		require.NoError(t, err)
		require.Empty(t, waiting)
	})
	step(t, "a Service is reachable, and a claim has a volume in the zone of its node", func(t *testing.T) {
		api.apply(t, "hello.yaml")
		api.await(t, "rollout", "status", "deployment/hello")
		out, err := e.ssh("router", "curl -sS --max-time 5 --retry 30 --retry-delay 1 --retry-all-errors "+
			"http://hello.default.svc.cluster.local").CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Contains(t, string(out), "hello-")
		api.apply(t, "archive.yaml")
		api.waitForPod(t, "archive", "")
		assert.Equal(t, "archive", cloud.volumeOf(t, api, "archive").AvailabilityZone)
	})
	step(t, "machines boot from volumes, and etcd's data is on its volume in the machine's zone", func(t *testing.T) {
		pages, err := volumes.List(cloud.clients["volume"], nil).AllPages(t.Context())
		require.NoError(t, err)
		all, err := volumes.ExtractVolumes(pages)
		require.NoError(t, err)
		boot := 0
		for _, volume := range all {
			assert.Equal(t, "archive", volume.AvailabilityZone, volume.Name)
			if volume.Bootable == "true" {
				boot++
			}
		}
		assert.Equal(t, 5, boot)
		assert.Equal(t, "/dev/vdb\n", e.on(t, "clouds-etcd-0", "findmnt --noheadings --output SOURCE /var/lib/etcd"))
	})
}

// egress is a patch with the only way to downloads: a proxy, whose certificates are those of a company's CA.
func egress(t *testing.T) string {
	t.Helper()
	ca, err := os.ReadFile(dirs.State("devcloud", "run", "company-ca.pem"))
	require.NoError(t, err)
	return fmt.Sprintf(`
artifacts: {mirror: null, registryMirrors: null, caCertificate: %q}
proxy:
  http: http://proxy.devcloud.test:3128
  https: http://proxy.devcloud.test:3128
  noProxy: [172.31.250.1] # the APIs of OpenStack
`, ca)
}

// restrict makes the project of the rack like those of other clouds.
func (k *keystone) restrict(t *testing.T, project string) {
	t.Helper()
	region := gophercloud.EndpointOpts{Region: "RegionOne"}
	compute, err := openstack.NewComputeV2(k.client.ProviderClient, region)
	require.NoError(t, err)
	none, one := 0, 1
	flavor, err := flavors.Create(t.Context(), compute,
		flavors.CreateOpts{Name: "diskless", VCPUs: 2, RAM: 4096, Disk: &none}).Extract()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, flavors.Delete(context.Background(), compute, flavor.ID).ExtractErr()) })
	require.NoError(t, quotasets.Update(t.Context(), compute, project,
		quotasets.UpdateOpts{ServerGroupMembers: &one}).Err)
	network, err := openstack.NewNetworkV2(k.client.ProviderClient, region)
	require.NoError(t, err)
	const rack = "0d5a0b9e-6c1e-4f4c-9d6f-0000000000fd"
	require.NoError(t, networks.Update(t.Context(), network, rack, portsecurity.NetworkUpdateOptsExt{
		UpdateOptsBuilder: networks.UpdateOpts{}, PortSecurityEnabled: new(bool)}).Err)
}

// credential creates an application credential of a person, with all roles in the project.
func (p *person) credential(t *testing.T, name string) *applicationcredentials.ApplicationCredential {
	t.Helper()
	provider, err := p.login(t)
	require.NoError(t, err)
	identity, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{Region: "RegionOne"})
	require.NoError(t, err)
	created, err := applicationcredentials.Create(t.Context(), identity, p.id,
		applicationcredentials.CreateOpts{Name: name}).Extract()
	require.NoError(t, err)
	return created
}

// clouds returns the path of a clouds.yaml with which a person logs in with an application credential.
func (p *person) clouds(t *testing.T, name string) string {
	t.Helper()
	credential := p.credential(t, name)
	file := filepath.Join(p.k.t.TempDir(), "clouds.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "clouds: {devcloud: {region_name: RegionOne, "+
		"auth_type: v3applicationcredential, auth: {auth_url: '%s', application_credential_id: %s, "+
		"application_credential_secret: %s}}}", p.k.client.IdentityEndpoint, credential.ID, credential.Secret), 0o600))
	return file
}

// TestCloudsTenantNetwork creates a cluster in its own network on a devcloud whose DHCP names no resolver (a variant).
func TestCloudsTenantNetwork(t *testing.T) {
	cloud := connect(t, devcloudUser)
	before := cloud.inventory(t)
	tenant, small := patched(t, "tenant.yaml"), merged(t, `
network: {dnsServers: [172.31.250.2]}
policy: {waivers: null}
etcd: {count: 1, zones: [archive]}
controlPlane: {count: 1}
pools: [{name: worker, count: 1, flavor: worker, addresses: 10.0.0.64/26}]
`+egress(t))
	e := newEngine(t, "resolver", cloudEnv, func(text string) string { return small(tenant(text)) })
	t.Cleanup(func() {
		if t.Failed() {
			e.keepLogs()
		}
		out, err := e.try("destroy", "--yes", "--skip-preview")
		assert.NoError(t, err, out)
		assert.Empty(t, cloud.createdSince(t, before))
	})
	step(t, "with network.dnsServers, machines find the proxy by its name", func(t *testing.T) {
		e.must("up", "--yes", "--skip-preview")
		waiting, err := e.api(t).notReady(2)
		require.NoError(t, err)
		require.Empty(t, waiting)
	})
	step(t, "without it, a machine has no resolver", func(t *testing.T) {
		const servers = "grep -c ^nameserver /etc/resolv.conf || true"
		require.Equal(t, "1\n", e.on(t, "resolver-worker-0", servers))
		pages, err := subnets.List(cloud.clients["network"], subnets.ListOpts{Name: "resolver"}).AllPages(t.Context())
		require.NoError(t, err)
		found, err := subnets.ExtractSubnets(pages)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.NoError(t, subnets.Update(t.Context(), cloud.clients["network"], found[0].ID,
			subnets.UpdateOpts{DNSNameservers: &[]string{}}).Err)
		boot := e.on(t, "resolver-worker-0", bootID)
		cloud.reboot(t, "resolver-worker-0")
		eventually(t, 3*time.Minute, func() error {
			out, err := e.ssh("resolver-worker-0", bootID).CombinedOutput()
			if err == nil && string(out) == boot {
				err = errors.New("it has not rebooted yet")
			}
			return err
		})
		e.on(t, "resolver-worker-0",
			"timeout 60 sh -c 'until systemctl --quiet is-active network-online.target; do sleep 1; done'")
		assert.Equal(t, "0\n", e.on(t, "resolver-worker-0", servers))
	})
}
