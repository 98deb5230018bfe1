package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/internal/field"
)

// decode decodes YAML in the same way as Pulumi.
func decode(t testing.TB, text string) (Config, error) {
	t.Helper()
	object, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	return Decode("test", string(object))
}

// valid returns the small configuration as an object, so that tests can change it.
func valid(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("testdata/small.yaml")
	require.NoError(t, err)
	var object map[string]any
	require.NoError(t, yaml.Unmarshal(text, &object))
	return object
}

// decoded decodes a valid object.
func decoded(t *testing.T, object map[string]any) Config {
	t.Helper()
	text, err := json.Marshal(object)
	require.NoError(t, err)
	c, err := Decode("test", string(text))
	require.NoError(t, err)
	return c
}

// errorsOf returns all errors of c.
func errorsOf(c Config) field.Errors { return c.validate(nil) }

// set sets the value at a dotted path. A number in the path is an index of a list. nil deletes a key.
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

// Each row makes one mistake in the small configuration and expects exactly one error.
func TestErrors(t *testing.T) {
	for _, row := range []struct {
		name, path string
		value      any
		want       string
	}{
		{"unknown key", "colour", "red", "colour: unknown key: docs/configuration.md lists all keys"},
		{"unknown nested key", "pools.0.colour", "red", "pools[0].colour: unknown key: docs/configuration.md lists all keys"},
		{"wrong case", "etcd.Count", 3, "etcd.Count: unknown key: docs/configuration.md lists all keys"},
		{"text for a number", "pools.0.count", "two", `pools[0].count: must be a number, not "two"`},
		{"fraction", "etcd.count", 2.5, "etcd.count: must be a whole number, not 2.5"},
		{"number out of range", "etcd.count", json.Number("1e400"),
			"etcd.count: must be a whole number of at most 64 bits, not 1e400"},
		{"number beyond 64 bits", "pools.0.count", json.Number("9223372036854775808"),
			"pools[0].count: must be a whole number of at most 64 bits, not 9223372036854775808"},
		{"list for a number", "etcd.count", []any{3}, "etcd.count: must be a number, not a list"},
		{"object for true or false", "protect", map[string]any{}, "protect: must be true or false, not an object"},
		{"number for a string", "region", 1, "region: must be a string in quotes, not 1"},
		{"list for an object", "network", []any{1}, "network: must be an object of keys and values, not a list"},
		{"object for a list", "pools", map[string]any{"name": "a"}, "pools: must be a list of objects, not an object"},
		{"string for a list", "pools.0.zones", "az1", `pools[0].zones: must be a list of strings, not "az1"`},
		{"string for a list of CIDRs", "network.allowedCIDRs", "10.0.0.0/8",
			`network.allowedCIDRs: must be a list of IPv4 CIDRs, not "10.0.0.0/8"`},
		{"string for a list of addresses", "network.dnsServers", "10.1.1.1",
			`network.dnsServers: must be a list of IPv4 addresses, not "10.1.1.1"`},
		{"list for labels", "pools.0.labels", []any{"a"},
			"pools[0].labels: must be an object of keys and values, not a list"},
		{"string in a list of objects", "bgp.peers", []any{"a"},
			"bgp.peers[0]: must be an object of keys and values"},
		{"no workers", "pools", []any{}, "pools: must have at least one pool of workers"},
		{"count", "pools.0.count", 0, "pools[0].count: must be between 1 and 10000, not 0"},
		{"even etcd", "etcd.count", 4, "etcd.count: must be odd: 4 members tolerate no more failures than 3"},
		{"many etcd", "etcd.count", 31, "etcd.count: must be 1, 3, 5 or 7, not 31"}, // more than the addresses
		{"mirror's user without a password", "artifacts", map[string]any{"mirror": "https://a.example", "username": "a"},
			"artifacts.password: must be set to the password of artifacts.username"},
		{"mirror's password without a user", "artifacts", map[string]any{"mirror": "https://a.example", "password": "a"},
			"artifacts.username: must be set to the name of the user of artifacts.mirror"},
		{"credentials without a mirror", "artifacts", map[string]any{"username": "a", "password": "a"},
			"artifacts.mirror: must be set to the URL of the mirror, because artifacts.username or artifacts.password is set"},
		{"mirror's user with a colon", "artifacts",
			map[string]any{"mirror": "https://a.example", "username": "a:b", "password": "a"},
			`artifacts.username: must have no ':', which separates a user name from its password, not "a:b"`},
		{"waiver of no rule", "policy.waivers", map[string]any{"SSH": "a"},
			`policy.waivers.SSH: must be a rule of docs/policy.md, such as image-by-name, not "SSH"`},
		{"name", "name", "Prod_1",
			`name: must be a DNS label (lower-case letters, digits and '-') such as prod-1, not "Prod_1"`},
		{"long name", "name", strings.Repeat("a", 60),
			"name: must be shorter: the hostname " + strings.Repeat("a", 60) + "-etcd-2 has more than 63 characters"},
		{"no unavailable machine", "pools.0.maxUnavailable", 0,
			"pools[0].maxUnavailable: must be between 1 and 10000, not 0"},
		{"reserved pool name", "pools.0.name", "etcd",
			`pools[0].name: "etcd" is reserved for another group of machines: use another name`},
		{"pool name", "pools.0.name", "A",
			`pools[0].name: must be a DNS label (lower-case letters, digits and '-') such as prod-1, not "A"`},
		{"flavor", "controlPlane.flavor", nil, "controlPlane.flavor: must be set to the name of a flavor"},
		{"zone", "pools.0.zones", []any{""},
			"pools[0].zones[0]: must be set to a valid label value (up to 63 letters, digits, '-', '_' and '.')"},
		{"no image", "image.id", nil, "image: must have exactly one of id and name"},
		{"two images", "image.name", "centos", "image: must have exactly one of id and name"},
		{"key", "ssh.publicKey", "secret",
			"ssh.publicKey: must be one public key in the format of authorized_keys, such as ssh-ed25519 AAAA…"},
		{"SSH CIDR", "ssh.allowedCIDRs", []any{"all"},
			`ssh.allowedCIDRs[0]: must be an IPv4 CIDR such as 10.0.0.0/24, not "all"`},
		{"CIDR", "network.podCIDR", "10.244.0.0",
			`network.podCIDR: must be an IPv4 CIDR such as 10.0.0.0/24, not "10.244.0.0"`},
		{"IPv6", "network.podCIDR", "fd00::/64",
			`network.podCIDR: must be an IPv4 CIDR such as 10.0.0.0/24, not "fd00::/64"`},
		{"host bits", "network.podCIDR", "10.244.1.0/16",
			"network.podCIDR: has host bits set: use 10.244.0.0/16"},
		{"no CIDR", "network.cidr", nil, "network.cidr: must be set to an IPv4 CIDR such as 10.0.0.0/24"},
		{"overlap", "network.podCIDR", "10.96.0.0/15",
			"network.serviceCIDR: 10.96.0.0/16 overlaps network.podCIDR 10.96.0.0/15"},
		{"pods over machines", "network.podCIDR", "10.0.0.0/16",
			"network.podCIDR: 10.0.0.0/16 overlaps network.cidr 10.0.0.0/24"},
		{"too few blocks for pods", "network.podCIDR", "10.244.0.0/25",
			"network.podCIDR: 10.244.0.0/25 has too few /26 blocks for 4 nodes: use a larger range"},
		{"services", "network.serviceCIDR", "10.64.0.0/11", "network.serviceCIDR: must be between /12 and /28, not /11"},
		{"mode", "network.mode", "vlan", `network.mode: must be tenant or provider, not "vlan"`},
		{"router", "network.external.id", nil,
			"network.external.id: must be set to the ID of the external network of the router"},
		{"pool of floating IPs", "network.external.name", nil,
			"network.external.name: must be set to the name of the external network, because api.floatingIP is true"},
		{"provider in tenant", "network.subnetID", "11111111-1111-1111-1111-111111111111",
			"network.subnetID: cannot be set when network.mode is tenant"},
		{"nameserver", "network.dnsServers", []any{"dns"},
			`network.dnsServers[0]: must be an IPv4 address such as 10.0.0.10, not "dns"`},
		{"outside", "etcd.addresses", "10.1.0.0/28", "etcd.addresses: 10.1.0.0/28 is not within network.cidr 10.0.0.0/24"},
		{"reserved", "etcd.addresses", "10.0.0.0/28",
			"etcd.addresses: 10.0.0.0/28 overlaps the first 16 addresses of network.cidr, which are " +
				"reserved: begin at 10.0.0.16 or later"},
		{"block too small", "etcd.addresses", "10.0.0.16/31",
			"etcd.addresses: 10.0.0.16/31 has 2 addresses for 3 machines: use a larger block"},
		{"shared block", "pools.0.addresses", "10.0.0.16/28",
			"pools[0].addresses: 10.0.0.16/28 overlaps etcd.addresses 10.0.0.16/28"},
		{"no block", "pools.0.addresses", nil,
			"pools[0].addresses: must be set to a block of network.cidr for this group, such as 10.0.0.16/28"},
		{"broadcast", "pools.0", map[string]any{"name": "a", "count": 2, "flavor": "f", "addresses": "10.0.0.254/31"},
			"pools[0].addresses: 10.0.0.254/31 gives a machine the broadcast address 10.0.0.255: use an " +
				"earlier or larger block"},
		{"VIP outside", "api.address", "10.1.0.1", "api.address: 10.1.0.1 is not in network.cidr 10.0.0.0/24"},
		{"VIP on a machine", "api.address", "10.0.0.17",
			"api.address: 10.0.0.17 is within etcd.addresses 10.0.0.16/28: use an address outside of all groups"},
		{"VIP on a reserved address", "api.address", "10.0.0.2",
			"api.address: 10.0.0.2 is reserved: 10.0.0.1–10.0.0.9 are for the gateway and for ports that Neutron creates: " +
				"use another address"},
		{"kubernetes", "kubernetes.version", "1.20.0",
			`kubernetes.version: must be a version of 1.34, 1.35 or 1.36, such as 1.36.3, not "1.20.0"`},
		{"kubernetes with v", "kubernetes.version", "v1.36.3",
			`kubernetes.version: must be a version of 1.34, 1.35 or 1.36, such as 1.36.3, not "v1.36.3"`},
		{"etcd", "etcd.version", "3.5.1", `etcd.version: must be a version of 3.6 or 3.7, such as 3.6.14, not "3.5.1"`},
		{"vulnerable etcd", "etcd.version", "3.6.9", "etcd.version: 3.6.9 has a known vulnerability: use 3.6.14 or later"},
		{"no checksum", "etcd.version", "3.6.16",
			"artifacts.checksums.etcd: must be set to the sha256 of etcd 3.6.16, because none is pinned"},
		{"load balancer", "api.loadBalancer", "haproxy", `api.loadBalancer: must be keepalived or octavia, not "haproxy"`},
		{"proxy", "api.proxy", "127.0.0.1:3128",
			`api.proxy: must be a URL of http, https or socks5 such as http://host.example.com:8080/path, ` +
				`not "127.0.0.1:3128"`},
		{"proxy mode", "kubernetes.proxyMode", "ipvs", `kubernetes.proxyMode: must be nftables or iptables, not "ipvs"`},
		{"region", "region", "a b",
			`region: must be a valid label value (up to 63 letters, digits, '-', '_' and '.'), not "a b"`},
		{"zone of a node", "pools.0.zones", []any{"az:1"},
			`pools[0].zones[0]: must be a valid label value (up to 63 letters, digits, '-', '_' and '.'), not "az:1"`},
		{"timeout", "bootstrapTimeout", "15", `bootstrapTimeout: must be a duration such as 15m, not "15"`},
		{"no timeout", "bootstrapTimeout", "0s", "bootstrapTimeout: must be a duration from 1m to 24h, not 0s"},
		{"devcloud", "devcloud", "yes", `devcloud: must be true or false, not "yes"`},
		{"pool like a control plane", "pools.0.name", "control-plane-b",
			"pools[0].name: must not begin with control-plane-, which is reserved for control planes"},
		{"role as label", "pools.0.labels", map[string]any{"node-role.kubernetes.io/worker": ""},
			"pools[0].labels[node-role.kubernetes.io/worker]: kubelet cannot set it on its own Node " +
				"(NodeRestriction): use node.kubernetes.io/worker"},
		{"restricted label", "pools.0.labels", map[string]any{"x.node-restriction.kubernetes.io/a": ""},
			"pools[0].labels[x.node-restriction.kubernetes.io/a]: kubelet cannot set it on its own Node " +
				"(NodeRestriction): use node.kubernetes.io/a"},
		{"label of the program", "controlPlane.labels", map[string]any{"topology.kubernetes.io/zone": "a"},
			"controlPlane.labels[topology.kubernetes.io/zone]: must be removed: the program sets it from the " +
				"pool's name, zones and the region"},
		{"label's key", "pools.0.labels", map[string]any{"a b": ""},
			`pools[0].labels[a b]: must be a valid label key such as example.com/disk, not "a b"`},
		{"label's value", "pools.0.labels", map[string]any{"a": "b="},
			`pools[0].labels[a]: must be a valid label value (up to 63 letters, digits, '-', '_' and '.'), not "b="`},
		{"label is no text", "pools.0.labels", map[string]any{"gpu": true},
			`pools[0].labels[gpu]: must be a string in quotes, not true`},
		{"taint's key", "pools.0.taints", []any{map[string]any{"effect": "NoExecute"}},
			"pools[0].taints[0].key: must be set to a valid label key such as example.com/disk"},
		{"taint's effect", "pools.0.taints", []any{map[string]any{"key": "a", "effect": "no"}},
			`pools[0].taints[0].effect: must be NoSchedule, PreferNoSchedule or NoExecute, not "no"`},
		{"taint twice", "pools.0.taints",
			[]any{map[string]any{"key": "a", "value": "b", "effect": "NoExecute"},
				map[string]any{"key": "a", "effect": "NoExecute"}},
			"pools[0].taints[1]: must be removed: it has the same key and effect as pools[0].taints[0]"},
		{"default taint of control planes", "controlPlane.taints",
			[]any{map[string]any{"key": "node-role.kubernetes.io/control-plane",
				"effect": "NoSchedule"}}, "controlPlane.taints[0]: must be removed: every control plane already has this taint"},
		{"labels of etcd", "etcd.labels", map[string]any{"a": "b"},
			"etcd.labels: unknown key: docs/configuration.md lists all keys"},
		{"registry", "artifacts.registryMirrors", map[string]any{"https://registry.k8s.io": "http://10.1.1.1"},
			"artifacts.registryMirrors[https://registry.k8s.io]: must be a registry's host name, such as " +
				`registry.k8s.io, not "https://registry.k8s.io"`},
		{"registry's mirror", "artifacts.registryMirrors", map[string]any{"registry.k8s.io": "10.1.1.1"},
			`artifacts.registryMirrors[registry.k8s.io]: must be a URL of http or https such as ` +
				`http://host.example.com:8080/path, not "10.1.1.1"`},
		{"invalid checksum", "artifacts.checksums.etcd", "abc",
			`artifacts.checksums.etcd: must be a sha256 of 64 lower-case hexadecimal digits, not "abc"`},
		{"unknown artifact", "artifacts.checksums.etdc", strings.Repeat("0", 64),
			"artifacts.checksums.etdc: must be an artifact: calicoctl, cni-plugins, containerd, etcd, etcd-backup, " +
				"etcd-join, keystone-webhook, kube-apiserver, kube-controller-manager, kube-proxy, kube-scheduler, kubectl, " +
				"kubelet, machine-metrics, node-approver, runc or tenant-sync, not \"etdc\""},
		{"mirror", "artifacts.mirror", "mirror.example.com",
			`artifacts.mirror: must be a URL of http or https such as http://host.example.com:8080/path, ` +
				`not "mirror.example.com"`},
		{"policy", "serverGroupPolicy", "affinity",
			`serverGroupPolicy: must be soft-anti-affinity, anti-affinity or none, not "affinity"`},
		{"volume", "etcd.volume.size", 0, "etcd.volume.size: must be between 1 and 65536, not 0"},

		{"metadata as pods", "network.podCIDR", "169.254.0.0/16",
			"network.podCIDR: 169.254.0.0/16 overlaps 169.254.0.0/16, the range of link-local addresses: use " +
				"another range"},
		{"external over pods", "network.serviceExternalIPs", []any{"10.244.7.0/24"},
			"network.serviceExternalIPs[0]: 10.244.7.0/24 overlaps network.podCIDR 10.244.0.0/16"},
		{"external over machines", "network.serviceExternalIPs", []any{"192.0.2.0/24", "10.0.0.128/25"},
			"network.serviceExternalIPs[1]: 10.0.0.128/25 overlaps network.cidr 10.0.0.0/24"},
		{"balancers over Services", "network.serviceLoadBalancerIPs", []any{"10.96.0.0/24"},
			"network.serviceLoadBalancerIPs[0]: 10.96.0.0/24 overlaps network.serviceCIDR 10.96.0.0/16"},
		{"balancers twice", "network.serviceLoadBalancerIPs", []any{"192.0.2.0/24", "192.0.2.0/25"},
			"network.serviceLoadBalancerIPs[1]: 192.0.2.0/25 overlaps network.serviceLoadBalancerIPs[0] 192.0.2.0/24"},
		{"CIDR of clients", "network.allowedCIDRs", []any{"all"},
			`network.allowedCIDRs[0]: must be an IPv4 CIDR such as 10.0.0.0/24, not "all"`},
		{"calico", "calico.version", "v3.28.5",
			`calico.version: must be a version of 3.28, 3.29, 3.30, 3.31 or 3.32, such as 3.28.5, not "v3.28.5"`},
		{"encapsulation", "calico.encapsulation", "gre", `calico.encapsulation: must be none, ipip or vxlan, not "gre"`},
		{"NAT", "calico.natOutgoing", "yes", `calico.natOutgoing: must be true or false, not "yes"`},
		{"block size", "calico.blockSize", 19, "calico.blockSize: must be between 20 and 32, not 19"},
		{"block size too far", "calico.blockSize", 33, "calico.blockSize: must be between 20 and 32, not 33"},
		{"pool smaller than a block", "network.podCIDR", "10.244.0.0/27",
			"network.podCIDR: 10.244.0.0/27 has too few /26 blocks for 4 nodes: use a larger range"},
		{"value of the exclude label", "pools.0.labels",
			map[string]any{"node.kubernetes.io/exclude-from-external-load-balancers": ""},
			`pools[0].labels[node.kubernetes.io/exclude-from-external-load-balancers]: must be "true" or removed: ` +
				`Calico requires this value, Kubernetes ignores the value`},
		{"no pool announces Services", "pools.0.labels",
			map[string]any{"node.kubernetes.io/exclude-from-external-load-balancers": "true"},
			"pools: must leave a pool that announces Services: control planes, route reflectors and nodes with the " +
				"label node.kubernetes.io/exclude-from-external-load-balancers do not"},
		{"only reflectors", "bgp.routeReflectors", "a",
			"bgp.routeReflectors: must leave a pool that announces Services: control planes, route " +
				"reflectors and nodes with the label node.kubernetes.io/exclude-from-external-load-balancers do not"},
		{"unknown group of reflectors", "bgp.routeReflectors", "etcd",
			`bgp.routeReflectors: must be control-plane or a, not "etcd"`},
		{"no AS", "bgp.asNumber", 0, "bgp.asNumber: must be between 1 and 4294967294, not 0"},
		{"AS of more than 4 bytes", "bgp.asNumber", 4294967296,
			"bgp.asNumber: must be between 1 and 4294967294, not 4294967296"},
		{"last AS", "bgp.asNumber", 4294967295, "bgp.asNumber: 4294967295 is reserved by RFC 7300: use another AS number"},
		{"last AS of 2 bytes", "bgp.asNumber", 65535, "bgp.asNumber: 65535 is reserved by RFC 7300: use another AS number"},
		{"AS_TRANS", "bgp.asNumber", 23456,
			"bgp.asNumber: 23456 is reserved as AS_TRANS: use another AS number"},
		{"AS of documentation", "bgp.asNumber", 64500,
			"bgp.asNumber: 64500 is reserved for documentation: use another AS number"},
		{"AS of documentation, 4 bytes", "bgp.asNumber", 65540,
			"bgp.asNumber: 65540 is reserved for documentation: use another AS number"},
		{"public AS", "bgp.asNumber", 2914,
			"bgp.asNumber: must be a private AS number (64512–65534 or 4200000000–4294967294), not 2914"},
		{"AS as text", "bgp.asNumber", "65000.1", `bgp.asNumber: must be a number, not "65000.1"`},
		{"peer's AS", "bgp.peers", peers(map[string]any{"asNumber": 0}),
			"bgp.peers[0].asNumber: must be between 1 and 4294967294, not 0"},
		{"peer in the AS of the nodes", "bgp.peers", peers(map[string]any{"asNumber": 64512}),
			"bgp.peers[0].asNumber: must differ from bgp.asNumber 64512: within one AS, a node does not announce routes " +
				"of other nodes to a router"},
		{"peer without address", "bgp.peers", peers(map[string]any{"address": nil}),
			"bgp.peers[0].address: must be set to an IPv4 address such as 10.0.0.10"},
		{"peer's address", "bgp.peers", peers(map[string]any{"address": "fd00::1"}),
			`bgp.peers[0].address: must be an IPv4 address such as 10.0.0.10, not "fd00::1"`},
		{"multicast peer", "bgp.peers", peers(map[string]any{"address": "224.0.0.5"}),
			"bgp.peers[0].address: 224.0.0.5 is in 224.0.0.0/3, the range of multicast and reserved addresses: use the " +
				"address of a host"},
		{"peer twice", "bgp.peers", append(peers(nil), peers(map[string]any{"asNumber": 65002})...),
			"bgp.peers[1].address: 192.0.2.1 is also the address of bgp.peers[0]: list all zones in one peer"},
		{"peer among pods", "bgp.peers", peers(map[string]any{"address": "10.244.0.1"}),
			"bgp.peers[0].address: 10.244.0.1 is within network.podCIDR 10.244.0.0/16, a range of the cluster itself: " +
				"use another address or range"},
		{"peer among Services", "bgp.peers", peers(map[string]any{"address": "10.96.0.1"}),
			"bgp.peers[0].address: 10.96.0.1 is within network.serviceCIDR 10.96.0.0/16, a range of the cluster itself: " +
				"use another address or range"},
		{"peer on a machine", "bgp.peers", peers(map[string]any{"address": "10.0.0.70"}),
			"bgp.peers[0].address: 10.0.0.70 is within pools[0].addresses 10.0.0.64/26, the addresses of machines: use " +
				"the address of another host"},
		{"peer on the API", "bgp.peers", peers(map[string]any{"address": "10.0.0.10"}),
			"bgp.peers[0].address: 10.0.0.10 is the address of the Kubernetes API (api.address): use the address of " +
				"another host"},
		{"Neutron's router as peer", "bgp.peers", peers(map[string]any{"address": "10.0.0.1"}),
			"bgp.peers[0].address: 10.0.0.1 is reserved: 10.0.0.1–10.0.0.9 are for the gateway and for ports " +
				"that Neutron creates: use another address"},
		{"zone without nodes", "bgp.peers", peers(map[string]any{"zones": []any{"az1"}}),
			"bgp.peers[0].zones[0]: must be removed: no group of nodes has zones"},
		{"long password", "bgp.peers", peers(map[string]any{"password": strings.Repeat("x", 81)}),
			"bgp.peers[0].password: must be at most 80 characters, the maximum length of a TCP MD5 key"},
		{"password with a quote", "bgp.peers", peers(map[string]any{"password": `a"b`}),
			`bgp.peers[0].password: must be printable ASCII without '"', because BIRD's configuration allows nothing else`},
		{"password of two lines", "bgp.peers", peers(map[string]any{"password": "a\n"}),
			`bgp.peers[0].password: must be printable ASCII without '"', because BIRD's configuration allows nothing else`},
		{"password with other characters", "bgp.peers", peers(map[string]any{"password": "pässword"}),
			`bgp.peers[0].password: must be printable ASCII without '"', because BIRD's configuration allows nothing else`},
		{"password of a number", "bgp.peers", peers(map[string]any{"password": 12345}),
			"bgp.peers[0].password: must be a string in quotes"},
		{"encrypted password", "bgp.peers", peers(map[string]any{"password": map[string]any{"secure": "v1:x"}}),
			"bgp.peers[0].password: must be a string in quotes"},
		{"next hop", "bgp.peers", peers(map[string]any{"keepOriginalNextHop": "no"}),
			`bgp.peers[0].keepOriginalNextHop: must be true or false, not "no"`},
		{"nothing exported", "bgp.peers", peers(map[string]any{"export": []any{}}),
			"bgp.peers[0].export: must contain pods, services or both"},
		{"export", "bgp.peers", peers(map[string]any{"export": []any{"pods", "nodes"}}),
			`bgp.peers[0].export[1]: must be pods or services, not "nodes"`},
		{"import of pods", "bgp.peers", peers(map[string]any{"import": []any{"0.0.0.0/0", "10.244.0.0/24"}}),
			"bgp.peers[0].import[1]: 10.244.0.0/24 is within network.podCIDR 10.244.0.0/16, a range of the cluster itself: " +
				"remove it"},
		{"BFD", "bgp.peers", peers(map[string]any{"bfd": true}),
			"bgp.peers[0].bfd: unknown key: docs/configuration.md lists all keys"},
		{"no Keystone", "openstack.authURL", nil,
			"openstack.authURL: must be set to a URL of http or https such as http://host.example.com:8080/path"},
		{"interface", "openstack.interface", "private",
			`openstack.interface: must be public, internal or admin, not "private"`},
		{"CA", "openstack.caCertificate", "-----BEGIN CERTIFICATE-----\n",
			"openstack.caCertificate: must be one or more CA certificates in PEM format: -----BEGIN CERTIFICATE----- and " +
				"-----END CERTIFICATE----- on lines of their own. 0 of 1 blocks are complete"},
		{"credential", "openstack.credential", "2027/01",
			`openstack.credential: must be a DNS label (lower-case letters, digits and '-') such as prod-1, not "2027/01"`},
		{"role", "openstack.roles", []any{"member", ""}, "openstack.roles[1]: must be set to the name of a role"},
		{"Services' balancer", "openstack.loadBalancer", "metallb",
			`openstack.loadBalancer: must be none or octavia, not "metallb"`},
		{"class", "storage.classes", []any{map[string]any{"name": "SSD"}},
			`storage.classes[0].name: must be a DNS subdomain (lower-case letters, digits, '-' and '.') such as ssd, not "SSD"`},
		{"class twice", "storage.classes", []any{map[string]any{"name": "ssd"}, map[string]any{"name": "ssd"}},
			`storage.classes[1].name: "ssd" is also storage.classes[0].name: use another name`},
		{"alias taken", "storage.classes", []any{map[string]any{"name": "ssd", "aliases": []any{"general", "ssd"}}},
			`storage.classes[0].aliases[1]: "ssd" is also storage.classes[0].name: use another name`},
		{"two default classes", "storage.classes",
			[]any{map[string]any{"name": "a", "default": true}, map[string]any{"name": "b", "default": true}},
			"storage.classes[1].default: must be false, because only one class can be the default and " +
				"storage.classes[0].default is true"},
		{"zone of a class", "storage.classes", []any{map[string]any{"name": "a", "zone": "az 1"}},
			`storage.classes[0].zone: must be a valid label value (up to 63 letters, digits, '-', '_' and '.'), not "az 1"`},
		{"file system", "storage.classes", []any{map[string]any{"name": "a", "fileSystem": "btrfs"}},
			`storage.classes[0].fileSystem: must be ext4 or xfs, not "btrfs"`},
		{"binding", "storage.classes", []any{map[string]any{"name": "a", "volumeBindingMode": "Later"}},
			`storage.classes[0].volumeBindingMode: must be WaitForFirstConsumer or Immediate, not "Later"`},
		{"reclaim policy", "storage.classes", []any{map[string]any{"name": "a", "reclaimPolicy": "Recycle"}},
			`storage.classes[0].reclaimPolicy: must be Delete or Retain, not "Recycle"`},
		{"topology", "storage.topology", "nova", `storage.topology: must be true or false, not "nova"`},
		{"DNS", "dns.provider", "bind", `dns.provider: must be skydns or coredns, not "bind"`},
		{"one replica of DNS", "dns.replicas", 1,
			"dns.replicas: must be between 2 and 1000, not 1"},
		{"stub domain of the cluster", "dns.stubDomains",
			[]any{map[string]any{"domain": "svc.cluster.local", "servers": []any{"192.0.2.53"}}},
			"dns.stubDomains[0].domain: must be a domain outside of cluster.local, not svc.cluster.local"},
		{"stub domain above the cluster's", "dns.stubDomains",
			[]any{map[string]any{"domain": "local", "servers": []any{"192.0.2.53"}}},
			"dns.stubDomains[0].domain: must be a domain that does not contain cluster.local, not local"},
		{"stub domain of addresses of Services", "dns.stubDomains",
			[]any{map[string]any{"domain": "10.in-addr.arpa", "servers": []any{"192.0.2.53"}}},
			"dns.stubDomains[0].domain: must be a domain without addresses of Services (10.96.0.0/16) and pods " +
				"(10.244.0.0/16), not 10.in-addr.arpa"},
		{"stub domain of addresses of some pods", "dns.stubDomains",
			[]any{map[string]any{"domain": "7.244.10.in-addr.arpa", "servers": []any{"192.0.2.53"}}},
			"dns.stubDomains[0].domain: must be a domain without addresses of Services (10.96.0.0/16) and pods " +
				"(10.244.0.0/16), not 7.244.10.in-addr.arpa"},
		{"stub domain twice", "dns.stubDomains",
			[]any{map[string]any{"domain": "corp.example", "servers": []any{"192.0.2.53"}},
				map[string]any{"domain": "corp.example", "servers": []any{"192.0.2.54"}}},
			"dns.stubDomains[1].domain: corp.example is also the domain of dns.stubDomains[0]: " +
				"list all servers in one item"},
		{"too many name servers", "dns.upstreamNameservers", []any{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"},
			"dns.upstreamNameservers: must have at most 3 DNS servers, the maximum of skydns, not 4"},
		{"too many name servers of CoreDNS", "dns", map[string]any{"provider": "coredns", "stubDomains": []any{
			map[string]any{"domain": "corp.example", "servers": servers(16)}}},
			"dns.stubDomains[0].servers: must have at most 15 DNS servers, the maximum of coredns, not 16"},
		{"name server twice", "dns.upstreamNameservers", []any{"192.0.2.53:53", "192.0.2.53"},
			"dns.upstreamNameservers[1]: must be removed: it is the same as dns.upstreamNameservers[0], 192.0.2.53"},
		{"stub domain without servers", "dns.stubDomains", []any{map[string]any{"domain": "corp.example"}},
			"dns.stubDomains[0].servers: must be set to the addresses of DNS servers"},
		{"server of a stub domain", "dns.stubDomains",
			[]any{map[string]any{"domain": "corp.example", "servers": []any{"192.0.2.1:53", "ns.corp.example"}}},
			`dns.stubDomains[0].servers[1]: must be an IPv4 address with an optional port such as 192.0.2.53:5353, not ` +
				`"ns.corp.example"`},
		{"volumes on destroy", "storage.onDestroy", "retain", `storage.onDestroy: must be keep or delete, not "retain"`},
		{"empty value for volumes on destroy", "storage.onDestroy", "", "storage.onDestroy: must be set to keep or delete"},
		{"DNS as text", "dns", "coredns", `dns: must be an object of keys and values, not "coredns"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			object := valid(t)
			set(object, row.path, row.value)
			text, err := json.Marshal(object)
			require.NoError(t, err)
			_, err = Decode("test", string(text))
			var errs field.Errors
			require.ErrorAs(t, err, &errs)
			require.Len(t, errs, 1, "%s", errs)
			assert.Equal(t, row.want, errs[0].Error())
		})
	}
}

// A Service can have every address of these ranges, so nothing else may be in them. All conflicts are reported at once.
func TestServiceRangesAreSeparate(t *testing.T) {
	ranges := []any{"10.0.0.10/32", "10.0.0.64/26", "10.244.1.0/24", "10.96.1.0/24", "192.0.2.0/24", "169.254.0.0/17"}
	for _, key := range []string{"network.serviceExternalIPs", "network.serviceLoadBalancerIPs"} {
		object := valid(t)
		set(object, key, ranges)
		set(object, "network.dnsServers", []any{"198.51.100.53", "192.0.2.53"})
		set(object, "openstack.authURL", "http://192.0.2.5:5000/v3")
		set(object, "bgp.peers", []any{
			map[string]any{"address": "192.0.2.1", "asNumber": 65001},
			map[string]any{"address": "198.51.100.1", "asNumber": 65001},
		})
		text, err := json.Marshal(object)
		require.NoError(t, err)
		_, err = Decode("test", string(text))
		replacer := strings.NewReplacer("KEY", key, "ITSELF", "a range of the cluster itself: use another address or range")
		assert.EqualError(t, err, replacer.Replace(`kubernetes-openstack:cluster has 8 errors:
  KEY[5]: 169.254.0.0/17 overlaps 169.254.0.0/16, the range of link-local addresses: use another range
  KEY[0]: 10.0.0.10/32 overlaps network.cidr 10.0.0.0/24
  KEY[1]: 10.0.0.64/26 overlaps network.cidr 10.0.0.0/24
  KEY[2]: 10.244.1.0/24 overlaps network.podCIDR 10.244.0.0/16
  KEY[3]: 10.96.1.0/24 overlaps network.serviceCIDR 10.96.0.0/16
  network.dnsServers[1]: 192.0.2.53 is within KEY[4] 192.0.2.0/24, ITSELF
  bgp.peers[0].address: 192.0.2.1 is within KEY[4] 192.0.2.0/24, ITSELF
  openstack.authURL: 192.0.2.5 is within KEY[4] 192.0.2.0/24, ITSELF`))
	}
}

// Only an IPv4 address in the URL of Keystone can be in a range, also if it is written as IPv6.
func TestKeystoneAddress(t *testing.T) {
	c := small(t)
	c.Network.DNSServers = nil
	for url, want := range map[string]string{
		"https://keystone.example.com:5000/v3": "[]", "http://192.0.2.5/v3": "[keystone=192.0.2.5]",
		"http://[::ffff:192.0.2.5]:5000": "[keystone=192.0.2.5]", "http://[fd00::1]:5000/v3": "[keystone=fd00::1]", "": "[]",
	} {
		c.OpenStack.AuthURL = url
		var got []Reservation
		for _, e := range c.endpoints() {
			got = append(got, Reservation{e.owner, e.address})
		}
		assert.Equal(t, want, fmt.Sprint(got), url)
	}
}

// Each old key results in exactly one error, which contains the new key. The new key accepts the same value.
func TestRenamedKeys(t *testing.T) {
	rows := []struct {
		old, want, new string
		value          any
	}{
		{"ssh.allow", "ssh.allow: is renamed: use allowedCIDRs", "ssh.allowedCIDRs", []any{"192.0.2.0/24"}},
		{"network.allow", "network.allow: is renamed: use allowedCIDRs", "network.allowedCIDRs", []any{"192.0.2.0/24"}},
		{"api.allow", "api.allow: is renamed: use allowedCIDRs", "api.allowedCIDRs", []any{"192.0.2.0/24"}},
	}
	assert.Len(t, rows, len(renamedKeys))
	for _, row := range rows {
		t.Run(row.old, func(t *testing.T) {
			object := valid(t)
			set(object, row.old, row.value)
			text, err := json.Marshal(object)
			require.NoError(t, err)
			_, err = Decode("test", string(text))
			assert.EqualError(t, err, "kubernetes-openstack:cluster has 1 error:\n  "+row.want)

			object = valid(t)
			set(object, row.new, row.value)
			decoded(t, object)
		})
	}
}

// peers returns a list of one valid peer with some keys changed. nil deletes a key.
func peers(change map[string]any) []any {
	peer := map[string]any{"address": "192.0.2.1", "asNumber": 65001}
	for key, value := range change {
		if peer[key] = value; value == nil {
			delete(peer, key)
		}
	}
	return []any{peer}
}

// A version without pinned checksums requires one checksum for each of its binaries.
func TestChecksumsOfAnotherVersion(t *testing.T) {
	object := valid(t)
	set(object, "kubernetes.version", "1.36.99")
	text, _ := json.Marshal(object)
	_, err := Decode("test", string(text))
	var errs field.Errors
	require.ErrorAs(t, err, &errs)
	assert.Len(t, errs, 6)
	assert.Contains(t, errs, field.Error{Path: "artifacts.checksums.kubelet",
		Message: "must be set to the sha256 of kubelet 1.36.99, because none is pinned"})
	for _, e := range errs {
		set(object, e.Path, strings.Repeat("0", 64))
	}
	text, _ = json.Marshal(object)
	_, err = Decode("test", string(text))
	assert.NoError(t, err)
}

// Without artifacts, machines download everything from its publisher, with the pinned checksums.
func TestDownloadsWithoutConfiguration(t *testing.T) {
	object := tenants(t)
	set(object, "artifacts", nil)
	set(object, "etcd.backup.container", "test-etcd")
	set(object, "monitoring.enabled", true)
	c := decoded(t, object)
	seen := map[string]bool{}
	for _, m := range NewPlan(c).Machines {
		for _, a := range m.Artifacts {
			seen[a.Name] = true
			assert.Regexp(t, `^https://[a-z0-9.]+\.[a-z]+/`, a.URL)
			assert.Equal(t, UpstreamSHA256(a.Name, a.Version), a.SHA256, a.Name)
			if a.Name == "tenant-sync" {
				assert.Equal(t, "https://github.com/kubernetes-openstack/kubernetes-openstack/releases/download/v0.1.0/tenant-sync",
					a.URL)
			}
		}
	}
	assert.Len(t, seen, len(ArtifactNames()))
}

func TestIncompatibleVersions(t *testing.T) {
	object := valid(t)
	set(object, "kubernetes.version", "1.34.2")
	set(object, "etcd.version", "3.7.3")
	text, _ := json.Marshal(object)
	_, err := Decode("test", string(text))
	assert.EqualError(t, err, "kubernetes-openstack:cluster has 1 error:\n"+
		"  etcd.version: 3.7.3 is not supported with Kubernetes 1.34.2: use 3.6")
}

func TestNotSupportedOnDevcloud(t *testing.T) {
	object := valid(t)
	set(object, "api.loadBalancer", "octavia")
	set(object, "calico.encapsulation", "ipip")
	set(object, "openstack.loadBalancer", "octavia")
	set(object, "devcloud", true)
	text, _ := json.Marshal(object)
	_, err := Decode("test", string(text))
	assert.EqualError(t, err, `kubernetes-openstack:cluster has 3 errors:
  calico.encapsulation: cannot be ipip on devcloud: Debian's BIRD does not support Calico's tunnels; use none or vxlan
  openstack.loadBalancer: cannot be octavia on devcloud, which has no Octavia: use none
  api.loadBalancer: cannot be octavia on devcloud, which has no Octavia: use keepalived`)
}

// The admission plugin NodeRestriction limits the labels that a kubelet can set on its own Node.
func TestAllowedLabelKey(t *testing.T) {
	for key, want := range map[string]string{
		"disk": "disk", "example.com/disk": "example.com/disk", "notkubernetes.io/a": "notkubernetes.io/a",
		"node.kubernetes.io/a": "node.kubernetes.io/a", "x.kubelet.kubernetes.io/a": "x.kubelet.kubernetes.io/a",
		"kubernetes.io/a": "node.kubernetes.io/a", "x.k8s.io/a": "node.kubernetes.io/a",
		"node-restriction.kubernetes.io/a": "node.kubernetes.io/a",
	} {
		assert.Equal(t, want, allowedLabelKey(key), key)
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
  api.floatingIP: cannot be true when network.mode is provider, because floating IPs need a router
  api.address: must be set to a free address of network.cidr`)
}

// Ten different mistakes result in ten errors.
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

// An error at a key hides none inside it, because both keys were decoded.
func TestErrorsInsideOthers(t *testing.T) {
	_, err := Decode("test", `{"pools": [{"labels": {"`+excludeLabel+`": "true"}}]}`)
	assert.ErrorContains(t, err, "\n  pools: must leave a pool that announces Services")
	assert.ErrorContains(t, err, "\n  pools[0].name: must be set to a DNS label")
}

// TestWrongChecksumIsOneError checks the checksum of a version that has no pinned one.
func TestWrongChecksumIsOneError(t *testing.T) {
	_, err := Decode("test", `{"etcd": {"version": "3.6.15"}, "artifacts": {"checksums": {"etcd": 123}}}`)
	var errs field.Errors
	require.ErrorAs(t, err, &errs)
	assert.Contains(t, errs, field.Error{Path: "artifacts.checksums.etcd", Message: "must be a string in quotes, not 123"})
	assert.NotContains(t, errs.Error(), "must be set to the sha256")
}

// servers returns the addresses of n DNS servers.
func servers(n int) (out []any) {
	for i := range n {
		out = append(out, fmt.Sprintf("192.0.2.%d", i+1))
	}
	return out
}

// TestManyNameservers checks the largest numbers of DNS servers of both providers.
func TestManyNameservers(t *testing.T) {
	for _, dns := range []map[string]any{
		{"provider": SkyDNS, "upstreamNameservers": servers(3),
			"stubDomains": []any{map[string]any{"domain": "corp.example", "servers": servers(16)}}},
		{"provider": CoreDNS, "upstreamNameservers": servers(15),
			"stubDomains": []any{map[string]any{"domain": "corp.example", "servers": servers(15)}}},
	} {
		object := valid(t)
		set(object, "dns", dns)
		assert.Len(t, decoded(t, object).DNS.UpstreamNameservers, len(dns["upstreamNameservers"].([]any)))
	}
}
