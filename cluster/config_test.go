package cluster

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// decode decodes YAML as Pulumi would hand it over.
func decode(t testing.TB, text string) (Config, error) {
	t.Helper()
	object, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	return Decode("test", string(object))
}

// valid is a small configuration, as an object to break.
func valid(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("testdata/small.yaml")
	require.NoError(t, err)
	var object map[string]any
	require.NoError(t, yaml.Unmarshal(text, &object))
	return object
}

// decoded is the configuration that an object is.
func decoded(t *testing.T, object map[string]any) Config {
	t.Helper()
	text, err := json.Marshal(object)
	require.NoError(t, err)
	c, err := Decode("test", string(text))
	require.NoError(t, err)
	return c
}

// set puts value at a dotted path; a number is an index.
func set(object any, path string, value any) {
	head, rest, more := strings.Cut(path, ".")
	if list, ok := object.([]any); ok {
		i := int(head[0] - '0')
		if !more {
			list[i] = value
			return
		}
		set(list[i], rest, value)
		return
	}
	m := object.(map[string]any)
	switch {
	case !more && value == nil:
		delete(m, head)
	case !more:
		m[head] = value
	default:
		if m[head] == nil {
			m[head] = map[string]any{}
		}
		set(m[head], rest, value)
	}
}

func TestDefaultsAndOverrides(t *testing.T) {
	text, err := os.ReadFile("testdata/small.yaml")
	require.NoError(t, err)
	c, err := decode(t, string(text))
	require.NoError(t, err)
	assert.Equal(t, "test", c.Name, "the stack's name is the default")
	assert.Equal(t, TenantNetwork, c.Network.Mode)
	assert.Equal(t, "10.244.0.0/16", c.Network.PodCIDR.String())
	assert.True(t, c.Protect)
	assert.Equal(t, 20, c.Etcd.Volume.Size)
	assert.Equal(t, 2, c.Pools[0].Count)
	assert.Equal(t, 15*time.Minute, c.BootstrapTimeout)
	assert.Equal(t, "keepalived nftables", c.API.LoadBalancer+" "+c.Kubernetes.ProxyMode)
	assert.Equal(t, Keep, c.Storage.OnDestroy)
	assert.False(t, c.Devcloud)
}

// Each row breaks the small configuration in one way, and expects exactly that error.
func TestErrors(t *testing.T) {
	for _, row := range []struct {
		name, path string
		value      any
		want       string
	}{
		{"unknown key", "colour", "red", "colour: unknown key"},
		{"unknown nested key", "pools.0.colour", "red", "pools[0].colour: unknown key"},
		{"wrong case", "etcd.Count", 3, "etcd.Count: unknown key"},
		{"text for a number", "pools.0.count", "two", "pools[0].count: must be a number, not two"},
		{"fraction", "etcd.count", 2.5, "etcd.count: must be a whole number, not 2.5"},
		{"list for an object", "network", []any{1}, "network: expected a map or struct, got \"slice\""},
		{"no workers", "pools", []any{}, "pools: must have at least one pool of workers"},
		{"count", "pools.0.count", 0, "pools[0].count: must be at least 1, not 0"},
		{"even etcd", "etcd.count", 4, "etcd.count: must be odd: 4 members survive no more failures than 3"},
		{"many etcd", "etcd.count", 9, "etcd.count: must be 1, 3, 5 or 7, not 9"},
		{"name", "name", "Prod_1",
			"name: must be lower-case letters, digits and '-' inside, as in Kubernetes node names, not \"Prod_1\""},
		{"long name", "name", strings.Repeat("a", 60),
			"name: makes hostnames like " + strings.Repeat("a", 60) + "-etcd-2 longer than 63 characters"},
		{"nothing may be away", "pools.0.maxUnavailable", 0,
			"pools[0].maxUnavailable: must be at least 1, not 0: nothing could be replaced"},
		{"pool name taken", "pools.0.name", "etcd", `pools[0].name: "etcd" is the name of another group of machines`},
		{"pool name", "pools.0.name", "A",
			"pools[0].name: must be lower-case letters, digits and '-' inside, as in Kubernetes node names, not \"A\""},
		{"flavor", "controlPlane.flavor", nil, "controlPlane.flavor: must be set to the name of a flavor"},
		{"zone", "pools.0.zones", []any{""}, "pools[0].zones[0]: must not be empty"},
		{"no image", "image.id", nil, "image: must have exactly one of id and name"},
		{"two images", "image.name", "centos", "image: must have exactly one of id and name"},
		{"key", "ssh.publicKey", "secret",
			"ssh.publicKey: must be a public key as in authorized_keys, such as ssh-ed25519 AAAA…"},
		{"ssh from", "ssh.allow", []any{"all"}, "ssh.allow[0]: must be an IPv4 CIDR such as 10.0.0.0/24, not all"},
		{"CIDR", "network.podCIDR", "10.244.0.0",
			"network.podCIDR: must be an IPv4 CIDR such as 10.0.0.0/24, not 10.244.0.0"},
		{"IPv6", "network.podCIDR", "fd00::/64", "network.podCIDR: must be an IPv4 CIDR such as 10.0.0.0/24, not fd00::/64"},
		{"host bits", "network.podCIDR", "10.244.1.0/16",
			"network.podCIDR: has bits set beyond its length: 10.244.0.0/16 would be right"},
		{"no CIDR", "network.cidr", nil, "network.cidr: must be set to an IPv4 CIDR such as 10.0.0.0/24"},
		{"overlap", "network.podCIDR", "10.96.0.0/15",
			"network.serviceCIDR: 10.96.0.0/16 overlaps network.podCIDR 10.96.0.0/15"},
		{"pods over machines", "network.podCIDR", "10.0.0.0/16",
			"network.podCIDR: 10.0.0.0/16 overlaps network.cidr 10.0.0.0/24"},
		{"few pods", "network.podCIDR", "10.244.0.0/25", "network.podCIDR: 10.244.0.0/25 has too few /26 blocks for 4 nodes"},
		{"services", "network.serviceCIDR", "10.64.0.0/11", "network.serviceCIDR: must be between /12 and /28, not /11"},
		{"mode", "network.mode", "vlan", `network.mode: must be tenant or provider, not "vlan"`},
		{"router", "network.external.id", nil,
			"network.external.id: must be set to the ID of the network that the router leads to"},
		{"pool of floating IPs", "network.external.name", nil,
			"network.external.name: must be set to the name of the network that api.floatingIP comes from"},
		{"provider in tenant", "network.subnetID", "x", "network.subnetID: cannot be set: network.mode is tenant"},
		{"nameserver", "network.dnsServers", []any{"dns"},
			"network.dnsServers[0]: must be an IPv4 address such as 10.0.0.10, not dns"},
		{"outside", "etcd.addresses", "10.1.0.0/28", "etcd.addresses: 10.1.0.0/28 is not inside of network.cidr 10.0.0.0/24"},
		{"reserved", "etcd.addresses", "10.0.0.0/28",
			"etcd.addresses: 10.0.0.0/28 touches the network's own first 16 addresses: begin at 10.0.0.16 or later"},
		{"small block", "etcd.addresses", "10.0.0.16/31", "etcd.addresses: 10.0.0.16/31 has 2 addresses for 3 machines"},
		{"shared block", "pools.0.addresses", "10.0.0.16/28",
			"pools[0].addresses: 10.0.0.16/28 overlaps etcd.addresses 10.0.0.16/28"},
		{"no block", "pools.0.addresses", nil,
			"pools[0].addresses: must be set to this group's own part of network.cidr, such as 10.0.0.16/28"},
		{"broadcast", "pools.0", map[string]any{"name": "a", "count": 2, "flavor": "f", "addresses": "10.0.0.254/31"},
			"pools[0].addresses: 10.0.0.254/31: its 2. address is the network's broadcast address"},
		{"VIP outside", "api.address", "10.1.0.1", "api.address: 10.1.0.1 is not in network.cidr 10.0.0.0/24"},
		{"VIP on a machine", "api.address", "10.0.0.17", "api.address: 10.0.0.17 is in etcd.addresses 10.0.0.16/28"},
		{"VIP on DHCP", "api.address", "10.0.0.2",
			"api.address: 10.0.0.2 is the gateway's or Neutron's own: 10.0.0.1–10.0.0.9 are taken"},
		{"kubernetes", "kubernetes.version", "1.20.0",
			`kubernetes.version: must be a version of 1.34, 1.35, 1.36, such as 1.36.3, not "1.20.0"`},
		{"kubernetes with v", "kubernetes.version", "v1.36.3",
			`kubernetes.version: must be a version of 1.34, 1.35, 1.36, such as 1.36.3, not "v1.36.3"`},
		{"etcd", "etcd.version", "3.5.1", `etcd.version: must be a version of 3.6, 3.7, such as 3.6.14, not "3.5.1"`},
		{"etcd with a hole", "etcd.version", "3.6.9", "etcd.version: 3.6.9 has a known security hole: use 3.6.14 or later"},
		{"no sum", "etcd.version", "3.6.16", "artifacts.checksums.etcd: must be set: no sha256 of etcd 3.6.16 is pinned"},
		{"load balancer", "api.loadBalancer", "haproxy", `api.loadBalancer: must be keepalived or octavia, not "haproxy"`},
		{"proxy", "api.proxy", "127.0.0.1:3128",
			`api.proxy: must be a URL such as http://proxy.example.com:3128, not "127.0.0.1:3128"`},
		{"proxy mode", "kubernetes.proxyMode", "ipvs", `kubernetes.proxyMode: must be nftables or iptables, not "ipvs"`},
		{"region", "region", "a b", `region: must be a label's value: up to 63 letters, digits, '-', '_' and '.', not "a b"`},
		{"zone of a node", "pools.0.zones", []any{"az:1"},
			`pools[0].zones[0]: must be a label's value: up to 63 letters, digits, '-', '_' and '.', not "az:1"`},
		{"timeout", "bootstrapTimeout", "15", "bootstrapTimeout: must be a duration such as 15m, not 15"},
		{"no timeout", "bootstrapTimeout", "0s", "bootstrapTimeout: must be longer than nothing, such as 15m"},
		{"devcloud", "devcloud", "yes", "devcloud: must be true or false, not yes"},
		{"pool like a control plane", "pools.0.name", "control-plane-b",
			"pools[0].name: must not begin with control-plane-, as only control planes' hostnames do"},
		{"role as label", "pools.0.labels", map[string]any{"node-role.kubernetes.io/worker": ""},
			"pools[0].labels[node-role.kubernetes.io/worker]: kubelet may not give it to its own Node: " +
				"node.kubernetes.io/worker would be right"},
		{"restricted label", "pools.0.labels", map[string]any{"x.node-restriction.kubernetes.io/a": ""},
			"pools[0].labels[x.node-restriction.kubernetes.io/a]: kubelet may not give it to its own Node: " +
				"node.kubernetes.io/a would be right"},
		{"our label", "controlPlane.labels", map[string]any{"topology.kubernetes.io/zone": "a"},
			"controlPlane.labels[topology.kubernetes.io/zone]: is set by us: kubernetes-openstack/pool, " +
				"topology.kubernetes.io/zone, topology.kubernetes.io/region follow from the pool's name, its zones and region"},
		{"label's key", "pools.0.labels", map[string]any{"a b": ""},
			`pools[0].labels[a b]: must be a label's key such as example.com/disk, not "a b"`},
		{"label's value", "pools.0.labels", map[string]any{"a": "b="},
			`pools[0].labels[a]: must be a label's value: up to 63 letters, digits, '-', '_' and '.', not "b="`},
		{"label is no text", "pools.0.labels", map[string]any{"gpu": true}, `pools[0].labels[gpu]: must be text, not true`},
		{"taint's key", "pools.0.taints", []any{map[string]any{"effect": "NoExecute"}},
			`pools[0].taints[0].key: must be a label's key such as example.com/disk, not ""`},
		{"taint's effect", "pools.0.taints", []any{map[string]any{"key": "a", "effect": "no"}},
			`pools[0].taints[0].effect: must be NoSchedule or PreferNoSchedule or NoExecute, not "no"`},
		{"taint twice", "pools.0.taints",
			[]any{map[string]any{"key": "a", "value": "b", "effect": "NoExecute"},
				map[string]any{"key": "a", "effect": "NoExecute"}},
			"pools[0].taints[1]: has the key and the effect of pools[0].taints[0] too: a Node has one value for both"},
		{"taint of all", "controlPlane.taints", []any{map[string]any{"key": "node-role.kubernetes.io/control-plane",
			"effect": "NoSchedule"}}, "controlPlane.taints[0]: every control plane has this one anyway: leave it out"},
		{"labels of etcd", "etcd.labels", map[string]any{"a": "b"}, "etcd.labels: unknown key"},
		{"registry", "artifacts.registryMirrors", map[string]any{"https://registry.k8s.io": "http://10.1.1.1"},
			"artifacts.registryMirrors[https://registry.k8s.io]: is no registry: write it as images' names begin, such as " +
				"registry.k8s.io"},
		{"registry's mirror", "artifacts.registryMirrors", map[string]any{"registry.k8s.io": "10.1.1.1"},
			`artifacts.registryMirrors[registry.k8s.io]: must be a URL such as https://mirror.example.com/registry.k8s.io, ` +
				`not "10.1.1.1"`},
		{"bad sum", "artifacts.checksums.etcd", "abc", "artifacts.checksums.etcd: must be a sha256 of 64 hexadecimal digits"},
		{"unknown artifact", "artifacts.checksums.etdc", strings.Repeat("0", 64),
			"artifacts.checksums.etdc: is no artifact: there are calicoctl, cni-plugins, containerd, etcd, keystone-webhook, " +
				"kube-apiserver, kube-controller-manager, kube-proxy, kube-scheduler, kubectl, kubelet, node-approver, runc, " +
				"tenant-sync"},
		{"no mirror", "artifacts.mirror", nil,
			"artifacts.mirror: must be set to the URL of a mirror with the programs of this repository, because nobody else " +
				"publishes them"},
		{"no sum of ours", "artifacts.checksums.node-approver", nil,
			"artifacts.checksums.node-approver: must be set: no sha256 of node-approver 0.1.0 is pinned"},
		{"mirror", "artifacts.mirror", "mirror.example.com",
			`artifacts.mirror: must be a URL such as https://mirror.example.com/releases, not "mirror.example.com"`},
		{"policy", "serverGroupPolicy", "affinity",
			`serverGroupPolicy: must be one of soft-anti-affinity, anti-affinity, not "affinity"`},
		{"volume", "etcd.volume.size", 0, "etcd.volume.size: must be at least 1 (GiB), not 0"},

		{"metadata as pods", "network.podCIDR", "169.254.0.0/16",
			"network.podCIDR: 169.254.0.0/16 overlaps 169.254.0.0/16, which is never routed"},
		{"external over pods", "network.serviceExternalIPs", []any{"10.244.7.0/24"},
			"network.serviceExternalIPs[0]: 10.244.7.0/24 overlaps network.podCIDR 10.244.0.0/16"},
		{"external over machines", "network.serviceExternalIPs", []any{"192.0.2.0/24", "10.0.0.128/25"},
			"network.serviceExternalIPs[1]: 10.0.0.128/25 overlaps network.cidr 10.0.0.0/24"},
		{"balancers over Services", "network.serviceLoadBalancerIPs", []any{"10.96.0.0/24"},
			"network.serviceLoadBalancerIPs[0]: 10.96.0.0/24 overlaps network.serviceCIDR 10.96.0.0/16"},
		{"balancers twice", "network.serviceLoadBalancerIPs", []any{"192.0.2.0/24", "192.0.2.0/25"},
			"network.serviceLoadBalancerIPs[1]: 192.0.2.0/25 overlaps network.serviceLoadBalancerIPs[0] 192.0.2.0/24"},
		{"callers", "network.allow", []any{"all"}, "network.allow[0]: must be an IPv4 CIDR such as 10.0.0.0/24, not all"},
		{"calico", "calico.version", "v3.28.5",
			`calico.version: must be a version of 3.28, 3.29, 3.30, 3.31, 3.32, such as 3.28.5, not "v3.28.5"`},
		{"encapsulation", "calico.encapsulation", "gre", `calico.encapsulation: must be none or ipip or vxlan, not "gre"`},
		{"NAT", "calico.natOutgoing", "yes", "calico.natOutgoing: must be true or false, not yes"},
		{"block size", "calico.blockSize", 19, "calico.blockSize: must be between 20 and 32, not 19"},
		{"block size too far", "calico.blockSize", 33, "calico.blockSize: must be between 20 and 32, not 33"},
		{"pool smaller than a block", "network.podCIDR", "10.244.0.0/27",
			"network.podCIDR: 10.244.0.0/27 has too few /26 blocks for 4 nodes"},
		{"value of exclusion", "pools.0.labels",
			map[string]any{"node.kubernetes.io/exclude-from-external-load-balancers": ""},
			`pools[0].labels[node.kubernetes.io/exclude-from-external-load-balancers]: must be "true" or left out: Calico ` +
				`goes by the value, Kubernetes by the label being there`},
		{"nobody announces", "pools.0.labels",
			map[string]any{"node.kubernetes.io/exclude-from-external-load-balancers": "true"},
			"pools: no node is left to announce Services: control planes, route reflectors and nodes with label " +
				"node.kubernetes.io/exclude-from-external-load-balancers do not"},
		{"only reflectors", "bgp.routeReflectors", "a",
			"bgp.routeReflectors: no node is left to announce Services: control planes, route reflectors and nodes with label " +
				"node.kubernetes.io/exclude-from-external-load-balancers do not"},
		{"no such reflectors", "bgp.routeReflectors", "etcd",
			`bgp.routeReflectors: "etcd" is no group of nodes: there are control-plane, a`},
		{"no AS", "bgp.asNumber", 0, "bgp.asNumber: must be between 1 and 4294967294, not 0"},
		{"AS beyond 4 bytes", "bgp.asNumber", 4294967296, "bgp.asNumber: must be between 1 and 4294967294, not 4294967296"},
		{"last AS", "bgp.asNumber", 4294967295, "bgp.asNumber: 4294967295 is reserved: no AS has it"},
		{"last AS of 2 bytes", "bgp.asNumber", 65535, "bgp.asNumber: 65535 is reserved: no AS has it"},
		{"AS_TRANS", "bgp.asNumber", 23456,
			"bgp.asNumber: 23456 stands for numbers of 4 bytes where only 2 are understood: no AS has it"},
		{"AS of documentation", "bgp.asNumber", 64500, "bgp.asNumber: 64500 is for documentation: no AS has it"},
		{"AS of documentation, 4 bytes", "bgp.asNumber", 65540, "bgp.asNumber: 65540 is for documentation: no AS has it"},
		{"public AS", "bgp.asNumber", 2914,
			"bgp.asNumber: must be for private use, 64512–65534 or 4200000000–4294967294, not 2914"},
		{"AS as text", "bgp.asNumber", "65000.1", "bgp.asNumber: must be a number, not 65000.1"},
		{"peer's AS", "bgp.peers", peers(map[string]any{"asNumber": 0}),
			"bgp.peers[0].asNumber: must be between 1 and 4294967294, not 0"},
		{"peer of our AS", "bgp.peers", peers(map[string]any{"asNumber": 64512}),
			"bgp.peers[0].asNumber: 64512 is the nodes' own (bgp.asNumber): a router of the same AS is not told by a node " +
				"what that has from other nodes"},
		{"peer without address", "bgp.peers", peers(map[string]any{"address": nil}),
			"bgp.peers[0].address: must be set to the router's IPv4 address"},
		{"peer's address", "bgp.peers", peers(map[string]any{"address": "fd00::1"}),
			"bgp.peers[0].address: must be an IPv4 address such as 10.0.0.10, not fd00::1"},
		{"multicast peer", "bgp.peers", peers(map[string]any{"address": "224.0.0.5"}),
			"bgp.peers[0].address: 224.0.0.5 is no address that a router can have"},
		{"peer twice", "bgp.peers", append(peers(nil), peers(map[string]any{"asNumber": 65002})...),
			"bgp.peers[1].address: 192.0.2.1 is the address of bgp.peers[0] too: one peer can have several zones"},
		{"peer among pods", "bgp.peers", peers(map[string]any{"address": "10.244.0.1"}),
			"bgp.peers[0].address: 10.244.0.1 is in network.podCIDR 10.244.0.0/16: no router can have it"},
		{"peer among Services", "bgp.peers", peers(map[string]any{"address": "10.96.0.1"}),
			"bgp.peers[0].address: 10.96.0.1 is in network.serviceCIDR 10.96.0.0/16: no router can have it"},
		{"peer on a machine", "bgp.peers", peers(map[string]any{"address": "10.0.0.70"}),
			"bgp.peers[0].address: 10.0.0.70 is in pools[0].addresses 10.0.0.64/26"},
		{"peer on the API", "bgp.peers", peers(map[string]any{"address": "10.0.0.10"}),
			"bgp.peers[0].address: 10.0.0.10 is the API's (api.address)"},
		{"Neutron's router as peer", "bgp.peers", peers(map[string]any{"address": "10.0.0.1"}),
			"bgp.peers[0].address: 10.0.0.1 is the gateway's or Neutron's own: 10.0.0.1–10.0.0.9 are taken"},
		{"zone of nobody", "bgp.peers", peers(map[string]any{"zones": []any{"az1"}}),
			`bgp.peers[0].zones[0]: no node is in zone "az1": no group of nodes has zones`},
		{"long password", "bgp.peers", peers(map[string]any{"password": strings.Repeat("x", 81)}),
			"bgp.peers[0].password: must be at most 80 characters: TCP MD5 has no longer keys"},
		{"password with a quote", "bgp.peers", peers(map[string]any{"password": `a"b`}),
			`bgp.peers[0].password: must be printable ASCII without '"', as BIRD reads it`},
		{"password of two lines", "bgp.peers", peers(map[string]any{"password": "a\n"}),
			`bgp.peers[0].password: must be printable ASCII without '"', as BIRD reads it`},
		{"password of other letters", "bgp.peers", peers(map[string]any{"password": "pässword"}),
			`bgp.peers[0].password: must be printable ASCII without '"', as BIRD reads it`},
		{"password of a number", "bgp.peers", peers(map[string]any{"password": 12345}),
			"bgp.peers[0].password: must be text: quote it"},
		{"password never decrypted", "bgp.peers", peers(map[string]any{"password": map[string]any{"secure": "v1:x"}}),
			"bgp.peers[0].password: must be text: quote it"},
		{"next hop", "bgp.peers", peers(map[string]any{"keepOriginalNextHop": "no"}),
			"bgp.peers[0].keepOriginalNextHop: must be true or false, not no"},
		{"nothing exported", "bgp.peers", peers(map[string]any{"export": []any{}}),
			"bgp.peers[0].export: must name pods, services or both"},
		{"export", "bgp.peers", peers(map[string]any{"export": []any{"pods", "nodes"}}),
			`bgp.peers[0].export[1]: must be pods or services, not "nodes"`},
		{"own pods imported", "bgp.peers", peers(map[string]any{"import": []any{"0.0.0.0/0", "10.244.0.0/24"}}),
			"bgp.peers[0].import[1]: 10.244.0.0/24 is in network.podCIDR 10.244.0.0/16: the way there is the cluster's own to " +
				"know"},
		{"BFD", "bgp.peers", peers(map[string]any{"bfd": true}), "bgp.peers[0].bfd: unknown key"},
		{"no Keystone", "openstack.authURL", nil,
			`openstack.authURL: must be Keystone's URL as the machines reach it, such as ` +
				`https://keystone.example.com:5000/v3, not ""`},
		{"interface", "openstack.interface", "private",
			`openstack.interface: must be public or internal or admin, not "private"`},
		{"CA", "openstack.caCertificate", "-----BEGIN CERTIFICATE-----\n",
			"openstack.caCertificate: must be certificates in PEM form: -----BEGIN CERTIFICATE-----"},
		{"credential", "openstack.credential", "2027/01",
			`openstack.credential: must be lower-case letters, digits and '-' inside, such as 2027-01, not "2027/01"`},
		{"role", "openstack.roles", []any{"member", ""}, "openstack.roles[1]: must be set to the name of a role"},
		{"Services' balancer", "openstack.loadBalancer", "metallb",
			`openstack.loadBalancer: must be none or octavia, not "metallb"`},
		{"class", "storage.classes", []any{map[string]any{"name": "SSD"}},
			`storage.classes[0].name: must be lower-case letters, digits, '-' and '.' inside, not "SSD"`},
		{"class twice", "storage.classes", []any{map[string]any{"name": "ssd"}, map[string]any{"name": "ssd"}},
			`storage.classes[1].name: "ssd" is storage.classes[0].name too`},
		{"alias taken", "storage.classes", []any{map[string]any{"name": "ssd", "aliases": []any{"general", "ssd"}}},
			`storage.classes[0].aliases[1]: "ssd" is storage.classes[0].name too`},
		{"two default classes", "storage.classes",
			[]any{map[string]any{"name": "a", "default": true}, map[string]any{"name": "b", "default": true}},
			"storage.classes[1].default: cannot be true: storage.classes[0].default is, and claims that name no class get one"},
		{"zone of a class", "storage.classes", []any{map[string]any{"name": "a", "zone": "az 1"}},
			`storage.classes[0].zone: must be a label's value: up to 63 letters, digits, '-', '_' and '.', not "az 1"`},
		{"file system", "storage.classes", []any{map[string]any{"name": "a", "fileSystem": "btrfs"}},
			`storage.classes[0].fileSystem: must be ext4 or xfs, not "btrfs"`},
		{"binding", "storage.classes", []any{map[string]any{"name": "a", "volumeBindingMode": "Later"}},
			`storage.classes[0].volumeBindingMode: must be WaitForFirstConsumer or Immediate, not "Later"`},
		{"reclaim policy", "storage.classes", []any{map[string]any{"name": "a", "reclaimPolicy": "Recycle"}},
			`storage.classes[0].reclaimPolicy: must be Delete or Retain, not "Recycle"`},
		{"topology", "storage.topology", "nova", "storage.topology: must be true or false, not nova"},
		{"DNS", "dns.provider", "bind", `dns.provider: must be skydns or coredns, not "bind"`},
		{"one DNS", "dns.replicas", 1, "dns.replicas: must be at least 2, not 1: names resolve while one is away"},
		{"end of volumes", "storage.onDestroy", "retain", `storage.onDestroy: must be keep or delete, not "retain"`},
		{"no end of volumes", "storage.onDestroy", "", `storage.onDestroy: must be keep or delete, not ""`},
		{"DNS as text", "dns", "coredns", `dns: expected a map or struct, got "string"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			object := valid(t)
			set(object, row.path, row.value)
			text, err := json.Marshal(object)
			require.NoError(t, err)
			_, err = Decode("test", string(text))
			var errs Errors
			require.ErrorAs(t, err, &errs)
			require.Len(t, errs, 1, "%s", errs)
			assert.Equal(t, row.want, errs[0].Error())
		})
	}
}

// peers is one good peer, but for what is changed; nil takes a key away.
func peers(change map[string]any) []any {
	peer := map[string]any{"address": "192.0.2.1", "asNumber": 65001}
	for key, value := range change {
		if peer[key] = value; value == nil {
			delete(peer, key)
		}
	}
	return []any{peer}
}

// A version that nobody pinned needs a checksum of each of its binaries, and of each once.
func TestChecksumsOfAnotherVersion(t *testing.T) {
	object := valid(t)
	set(object, "kubernetes.version", "1.36.99")
	text, _ := json.Marshal(object)
	_, err := Decode("test", string(text))
	var errs Errors
	require.ErrorAs(t, err, &errs)
	assert.Len(t, errs, 6)
	assert.Contains(t, errs, Error{"artifacts.checksums.kubelet", "must be set: no sha256 of kubelet 1.36.99 is pinned"})
	for _, e := range errs {
		set(object, e.Path, strings.Repeat("0", 64))
	}
	text, _ = json.Marshal(object)
	_, err = Decode("test", string(text))
	assert.NoError(t, err)
}

func TestVersionsThatDoNotGoTogether(t *testing.T) {
	object := valid(t)
	set(object, "kubernetes.version", "1.34.2")
	set(object, "etcd.version", "3.7.3")
	text, _ := json.Marshal(object)
	_, err := Decode("test", string(text))
	assert.EqualError(t, err, "kubernetes-openstack:cluster has 1 error:\n"+
		"  etcd.version: 3.7.3 does not go with Kubernetes 1.34.2: use 3.6")
}

func TestWhatDevcloudHasNot(t *testing.T) {
	object := valid(t)
	set(object, "api.loadBalancer", "octavia")
	set(object, "calico.encapsulation", "ipip")
	set(object, "openstack.loadBalancer", "octavia")
	set(object, "devcloud", true)
	text, _ := json.Marshal(object)
	_, err := Decode("test", string(text))
	assert.EqualError(t, err, `kubernetes-openstack:cluster has 4 errors:
  calico.encapsulation: cannot be ipip: devcloud's BIRD is Debian's, which cannot route into Calico's tunnels
  dns.provider: cannot be skydns: devcloud has no image of it
  openstack.loadBalancer: cannot be octavia: devcloud has none
  api.loadBalancer: cannot be octavia: devcloud has none`)
}

// What a kubelet may give to its own Node, by the rules of the NodeRestriction admission plugin.
func TestSelfLabel(t *testing.T) {
	for key, want := range map[string]string{
		"disk": "disk", "example.com/disk": "example.com/disk", "notkubernetes.io/a": "notkubernetes.io/a",
		"node.kubernetes.io/a": "node.kubernetes.io/a", "x.kubelet.kubernetes.io/a": "x.kubelet.kubernetes.io/a",
		"kubernetes.io/a": "node.kubernetes.io/a", "x.k8s.io/a": "node.kubernetes.io/a",
		"node-restriction.kubernetes.io/a": "node.kubernetes.io/a",
	} {
		assert.Equal(t, want, selfLabel(key), key)
	}
}

func TestProviderNetwork(t *testing.T) {
	object := valid(t)
	set(object, "network", map[string]any{"mode": "provider", "cidr": "10.0.0.0/24"})
	text, _ := json.Marshal(object)
	_, err := Decode("test", string(text))
	assert.EqualError(t, err, `kubernetes-openstack:cluster has 4 errors:
  network.networkID: must be set to the ID of the existing network
  network.subnetID: must be set to the ID of the existing subnet
  api.floatingIP: cannot be true: network.mode is provider, and floating IPs need a router
  api.address: must be set to a free address of network.cidr`)
}

// Ten mistakes at once, each of another kind, give ten errors at once.
func TestAllErrorsAtOnce(t *testing.T) {
	text, err := os.ReadFile("testdata/ten-mistakes.yaml")
	require.NoError(t, err)
	_, err = decode(t, string(text))
	require.Error(t, err)
	want, readErr := os.ReadFile("testdata/ten-mistakes.txt")
	require.NoError(t, readErr)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile("testdata/ten-mistakes.txt", []byte(err.Error()+"\n"), 0o644))
		return
	}
	assert.Equal(t, string(want), err.Error()+"\n")
}

func TestNotAnObject(t *testing.T) {
	_, err := Decode("test", `"text"`)
	assert.EqualError(t, err, "kubernetes-openstack:cluster has 1 error:\n  cluster: must be an object of keys and values")
}
