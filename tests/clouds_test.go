package tests

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/internal/openstack"
)

const (
	instanceToken = "openstack:compute/instance:Instance"
	volumeToken   = "openstack:blockstorage/volume:Volume"
)

// prodWith runs the program for the production example with a merge patch.
func prodWith(t *testing.T, patch string) *recorder {
	t.Helper()
	r, err := run(t, "prod", edited(t, "../examples/Pulumi.prod.yaml", merged(t, patch)))
	require.NoError(t, err)
	return r
}

// withToken returns all resources of one type.
func withToken(r *recorder, token string) []pulumi.MockResourceArgs {
	var out []pulumi.MockResourceArgs
	for _, res := range r.resources {
		if res.TypeToken == token {
			out = append(out, res)
		}
	}
	return out
}

// TestRootVolume checks that the machines of one group boot from volumes that Nova deletes with them.
func TestRootVolume(t *testing.T) {
	t.Parallel()
	r := prodWith(t, `controlPlane: {rootVolume: {size: 40, type: ssd}}`)
	for _, res := range withToken(r, instanceToken) {
		devices, image := plain(res.Inputs["blockDevices"]), plain(res.Inputs["imageId"])
		if strings.HasPrefix(res.Name, "prod-control-plane-") {
			assert.Equal(t, "[{bootIndex: 0, deleteOnTermination: true, destinationType: volume, sourceType: image, "+
				"uuid: 6d1f4d10-5f0c-4a7b-9f5e-0a1b2c3d4e5f, volumeSize: 40, volumeType: ssd}]", devices)
			assert.False(t, res.Inputs.HasValue("imageId"), "the provider would show another image after a refresh")
		} else {
			assert.Equal(t, "<nil> 6d1f4d10-5f0c-4a7b-9f5e-0a1b2c3d4e5f", devices+" "+image)
		}
	}
}

// TestVolumeZones checks the zones of new etcd volumes. Nova can refuse to attach a volume of another zone. The engine
// ignores the zone of an existing volume, because its replacement would lose the data.
func TestVolumeZones(t *testing.T) {
	t.Parallel()
	for patch, want := range map[string][3]string{
		`{}`:                         {"az1", "az2", "az3"},
		`storage: {topology: false}`: {"<nil>", "<nil>", "<nil>"},
		`etcd: {zones: null}`:        {"<nil>", "<nil>", "<nil>"},
		`etcd: {volume: {zones: {az1: ceph-1, az2: ceph-2, az3: ceph-1}}}`: {"ceph-1", "ceph-2", "ceph-1"},
		`{storage: {topology: false}, etcd: {volume: {zones: {az1: ceph-1, az2: ceph-2, az3: ceph-1}}}}`: {
			"ceph-1", "ceph-2", "ceph-1"},
	} {
		r := prodWith(t, patch)
		for i, zone := range want {
			volume := r.named(volumeToken, fmt.Sprintf("prod-etcd-%d", i))
			assert.Equal(t, zone, plain(volume.Inputs["availabilityZone"]), patch)
			assert.Equal(t, []string{"availabilityZone"}, volume.RegisterRPC.GetIgnoreChanges(), patch)
		}
	}
}

// TestServerGroups checks clouds with a small quota of members of a server group, and clusters without server groups.
func TestServerGroups(t *testing.T) {
	t.Parallel()
	const token = "openstack:compute/serverGroup:ServerGroup"
	for patch, want := range map[string][2]string{
		`{}`:                      {"[{group: ServerGroup/prod-general}]", "[{group: ServerGroup/prod-general}]"},
		`{serverGroupMembers: 4}`: {"[{group: ServerGroup/prod-general}]", "[{group: ServerGroup/prod-general.1}]"},
		`serverGroupPolicy: none`: {"<nil>", "<nil>"},
	} {
		r := prodWith(t, patch)
		for i, name := range []string{"prod-general-0", "prod-general-5"} {
			assert.Equal(t, want[i], plain(r.named(instanceToken, name).Inputs["schedulerHints"]), patch)
		}
		for _, group := range withToken(r, token) {
			assert.NotEqual(t, "serverGroupPolicy: none", patch, group.Name)
			assert.Equal(t, "[anti-affinity]", plain(group.Inputs["policies"]))
		}
	}
}

// TestRegion checks that a preview fails before it declares a resource in another region than that of the controllers.
func TestRegion(t *testing.T) {
	t.Parallel()
	config := stackConfig(t, "../examples/Pulumi.prod.yaml")
	for region, refused := range map[string]bool{"east": false, "west": true} {
		r := &recorder{}
		environment := openstack.Environment{Provider: openstack.Region{Name: region, From: "OS_REGION_NAME"}}
		err := runIn(environment, r, "prod", config, &watcher{}, true)
		if refused {
			assert.ErrorContains(t, err, "kubernetes-openstack:cluster has 1 error:\n  region: must be the region of the login")
			assert.Empty(t, r.resources)
		} else {
			assert.NoError(t, err)
		}
	}
}

// TestPortSecurity checks ports in networks in which Neutron refuses security groups.
func TestPortSecurity(t *testing.T) {
	t.Parallel()
	r := prodWith(t, `network: {portSecurity: false}`)
	ports := withToken(r, "openstack:networking/port:Port")
	assert.Len(t, ports, 5+3+6+3+1)
	for _, port := range ports {
		assert.Equal(t, "false true", plain(port.Inputs["portSecurityEnabled"])+" "+plain(port.Inputs["noSecurityGroups"]))
		assert.False(t, port.Inputs.HasValue("securityGroupIds"), port.Name)
		assert.False(t, port.Inputs.HasValue("allowedAddressPairs"), port.Name)
	}
}

// TestExistingCredentials checks that the program creates no application credentials if the configuration has them.
// Keystone refuses to create one with an application credential.
func TestExistingCredentials(t *testing.T) {
	t.Parallel()
	r := prodWith(t, `
openstack:
  roles: null
  applicationCredential: {id: a0000000000000000000000000000001, secret: open sesame}
etcd:
  backup:
    roles: null
    applicationCredential: {id: a0000000000000000000000000000002, secret: shut sesame}
`)
	assert.Empty(t, withToken(r, "openstack:identity/applicationCredential:ApplicationCredential"))
	assert.NotContains(t, graph(r.resources), "sesame")
	config := r.named("kubernetes:core/v1:Secret", "kube-system/cloud-config").Inputs["data"].ObjectValue()["cloud.conf"]
	text, err := base64.StdEncoding.DecodeString(config.SecretValue().Element.StringValue())
	require.NoError(t, err)
	assert.Contains(t, string(text), "application-credential-id = \"a0000000000000000000000000000001\"\n"+
		"application-credential-secret = \"open sesame\"\n")
	var settings string
	for _, f := range writtenFiles(t, r.named(instanceToken, "prod-etcd-0")) {
		assert.NotContains(t, f.Content, "open sesame", f.Path)
		if f.Path == "/etc/etcd/backup.env" {
			settings = f.Content
		}
	}
	assert.Contains(t, settings, "OS_APPLICATION_CREDENTIAL_ID=a0000000000000000000000000000002\n"+
		"OS_APPLICATION_CREDENTIAL_SECRET=shut sesame\n")
}

// TestKeyInUserData checks that no resource belongs to one user: user-data has the public key, and there is no key
// pair.
func TestKeyInUserData(t *testing.T) {
	t.Parallel()
	const public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBZ6bR2m3n0Q0mUcYt1PqW0T0b7aF3o1m2Wq5c8Xk9vE operators"
	for patch, want := range map[string][]string{
		`{}`:                                     nil,
		`ssh: {keyPair: false}`:                  {public},
		`ssh: {keyPair: false, publicKey: null}`: {"ssh-ed25519 prod-ssh"},
	} {
		r := prodWith(t, patch)
		pairs := withToken(r, "openstack:compute/keypair:Keypair")
		assert.Equal(t, want == nil, len(pairs) == 1, patch)
		for _, instance := range withToken(r, instanceToken) {
			assert.Equal(t, want == nil, instance.Inputs.HasValue("keyPair"), patch)
			var config struct {
				Keys []string `json:"ssh_authorized_keys"`
			}
			require.NoError(t, yaml.Unmarshal(userData(t, instance), &config))
			assert.Equal(t, want, config.Keys, "%s: %s", patch, instance.Name)
		}
	}
}

// TestEtcdTiming checks the flags for slow disks. Without the keys, the unit is unchanged, so no machine is replaced.
func TestEtcdTiming(t *testing.T) {
	t.Parallel()
	for patch, want := range map[string]bool{
		`{}`: false,
		`etcd: {heartbeatInterval: 100ms, electionTimeout: 1s}`:     false,
		`etcd: {heartbeatInterval: 500ms, electionTimeout: 5000ms}`: true,
	} {
		for _, f := range writtenFiles(t, prodWith(t, patch).named(instanceToken, "prod-etcd-0")) {
			if f.Path == "/etc/systemd/system/etcd.service" {
				const flags = "  --data-dir=/var/lib/etcd/data \\\n  --election-timeout=5000 \\\n" +
					"  --feature-gates=InitialCorruptCheck=true \\\n  --heartbeat-interval=500 \\\n"
				assert.Equal(t, want, strings.Contains(f.Content, flags), patch)
				assert.Equal(t, want, strings.Contains(f.Content, "election"), patch)
			}
		}
	}
}

// TestNTPServers checks the files of all machines for the clients in CentOS and Debian.
func TestNTPServers(t *testing.T) {
	t.Parallel()
	r := prodWith(t, `ntpServers: [ntp.example.com, 192.0.2.123]`)
	for _, name := range []string{"prod-etcd-0", "prod-control-plane-0", "prod-general-0"} {
		files := map[string]string{}
		for _, f := range writtenFiles(t, r.named(instanceToken, name)) {
			files[f.Path] = f.Content
		}
		for _, path := range []string{"/etc/chrony.conf", "/etc/chrony/chrony.conf"} {
			const servers = "server ntp.example.com iburst\nserver 192.0.2.123 iburst\n"
			assert.True(t, strings.HasPrefix(files[path], servers), files[path])
		}
		assert.Equal(t, "[Time]\nNTP=ntp.example.com 192.0.2.123\nFallbackNTP=\n",
			files["/etc/systemd/timesyncd.conf.d/kubernetes.conf"])
		assert.Contains(t, files["/etc/systemd/system/ntp-servers.service"], "\n[Install]\n")
	}
	for _, f := range writtenFiles(t, prodWith(t, `{}`).named(instanceToken, "prod-etcd-0")) {
		assert.NotRegexp(t, "chrony|timesyncd|ntp", f.Path)
	}
}

// TestProxy checks that all programs that connect to other hosts have the proxy, and no other program has it.
func TestProxy(t *testing.T) {
	t.Parallel()
	const patch = `
proxy: {http: "http://proxy.example.com:3128", https: "http://proxy.example.com:3128", noProxy: [.corp.example.com]}
tenancy: {enabled: true, reader: {password: secret}}`
	r := prodWith(t, patch)
	const noProxy = "localhost,127.0.0.1,169.254.169.254,10.20.0.0/20,10.128.0.0/14,10.96.0.0/16,.svc,.cluster.local," +
		".corp.example.com"
	for name, want := range map[string][]string{
		"prod-etcd-0":          {"artifacts", "etcd", "etcd-backup", "os-packages"},
		"prod-control-plane-0": {"artifacts", "containerd", "os-packages", "tenant-sync"},
		"prod-general-0":       {"artifacts", "containerd", "os-packages"},
	} {
		var units []string
		for _, f := range writtenFiles(t, r.named(instanceToken, name)) {
			if unit, ok := strings.CutSuffix(f.Path, ".service.d/proxy.conf"); ok {
				units = append(units, strings.TrimPrefix(unit, "/etc/systemd/system/"))
				assert.Equal(t, "[Service]\nEnvironmentFile=/etc/proxy.env\n", f.Content)
			}
			switch f.Path {
			case "/etc/proxy.env":
				assert.Equal(t, "HTTP_PROXY=http://proxy.example.com:3128\nhttp_proxy=http://proxy.example.com:3128\n"+
					"HTTPS_PROXY=http://proxy.example.com:3128\nhttps_proxy=http://proxy.example.com:3128\n"+
					"NO_PROXY="+noProxy+"\nno_proxy="+noProxy+"\n", f.Content)
			case "/etc/kubernetes/manifests/k8s-keystone-auth.yaml":
				assert.Contains(t, f.Content, "- name: HTTPS_PROXY\n")
			}
		}
		assert.ElementsMatch(t, want, units, name)
	}
	for _, token := range []string{"kubernetes:apps/v1:DaemonSet", "kubernetes:apps/v1:Deployment"} {
		for _, res := range withToken(r, token) {
			controller := strings.Contains(res.Name, "openstack-cloud-controller") ||
				strings.Contains(res.Name, "csi-cinder-controller")
			assert.Equal(t, controller, strings.Contains(plain(res.Inputs["spec"]), "name: HTTPS_PROXY"), res.Name)
		}
	}
}

// TestOctaviaWithOVN checks the API's load balancer of a provider that has no least connections, no HTTPS monitors and
// no list of allowed clients.
func TestOctaviaWithOVN(t *testing.T) {
	t.Parallel()
	r := prodWith(t, `{api: {loadBalancer: octavia}, openstack: {octaviaProvider: ovn}}`)
	input := func(kind, key string) string {
		token := "openstack:loadbalancer/" + strings.ToLower(kind[:1]) + kind[1:] + ":" + kind
		res := r.named(token, "prod-api")
		require.NotEmpty(t, res.Name, token)
		return plain(res.Inputs[resource.PropertyKey(key)])
	}
	assert.Equal(t, "ovn", input("LoadBalancer", "loadbalancerProvider"))
	assert.Equal(t, "<nil>", input("Listener", "allowedCidrs"))
	assert.Equal(t, "SOURCE_IP_PORT", input("Pool", "lbMethod"))
	assert.Equal(t, "TCP <nil>", input("Monitor", "type")+" "+input("Monitor", "urlPath"))
	const rule = "openstack:networking/secGroupRule:SecGroupRule"
	assert.NotEmpty(t, r.named(rule, "prod-control-plane-6443-from-10.0.0.0/8").Name, "the machines filter clients")
}

// TestNodePortsOfOctavia checks that amphorae, which have addresses of the subnet, reach the NodePorts of workers.
func TestNodePortsOfOctavia(t *testing.T) {
	t.Parallel()
	const rule = "openstack:networking/secGroupRule:SecGroupRule"
	for patch, want := range map[string]int{`{}`: 0, `openstack: {loadBalancer: octavia}`: 2} {
		found := 0
		for _, res := range withToken(prodWith(t, patch), rule) {
			if plain(res.Inputs["portRangeMin"]) == "30000" {
				found++
				assert.Equal(t, "32767 10.20.0.0/20 SecGroup/prod-worker", strings.Join([]string{
					plain(res.Inputs["portRangeMax"]), plain(res.Inputs["remoteIpPrefix"]), plain(res.Inputs["securityGroupId"]),
				}, " "))
			}
		}
		assert.Equal(t, want, found, patch)
	}
}
