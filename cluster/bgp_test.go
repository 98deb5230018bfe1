package cluster

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// large is a cluster with 3 control planes, a pool `rr` and a pool `general`, both in three zones.
func large(t testing.TB, reflectors, general int) Config {
	t.Helper()
	c := small(t)
	block := netip.MustParsePrefix
	zones := []string{"az1", "az2", "az3"}
	c.Network.CIDR, c.Network.PodCIDR = block("10.0.0.0/16"), block("10.128.0.0/12")
	c.Etcd.Addresses, c.ControlPlane.Addresses = block("10.0.1.0/28"), block("10.0.1.16/28")
	c.ControlPlane.Count = 3
	c.Pools = nil
	if reflectors > 0 {
		c.Pools = append(c.Pools, Pool{Name: "rr", MaxUnavailable: 1, NodeGroup: NodeGroup{Group: Group{Count: reflectors,
			Flavor: "small", Addresses: block("10.0.2.0/24"), Zones: zones}}})
	}
	c.Pools = append(c.Pools, Pool{Name: "general", MaxUnavailable: 1,
		NodeGroup: NodeGroup{Group: Group{Count: general, Flavor: "large", Addresses: block("10.0.32.0/19"), Zones: zones}}})
	return c
}

func TestMesh(t *testing.T) {
	p := NewPlan(small(t))
	assert.Equal(t, BGPConfiguration{
		ASNumber: 64512, NodeToNodeMeshEnabled: true,
		ServiceClusterIPs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")},
	}, p.BGPConfiguration)
	assert.Empty(t, p.BGPPeers)
}

// With reflectors there is no mesh, and each node peers with all reflectors.
func TestRouteReflectors(t *testing.T) {
	c := large(t, 2, 3)
	c.BGP.RouteReflectors = "rr"
	require.Empty(t, errorsOf(c))
	p := NewPlan(c)
	assert.False(t, p.BGPConfiguration.NodeToNodeMeshEnabled)
	require.Len(t, p.BGPPeers, 1)
	assert.Len(t, p.BGPPeers[0].Nodes, 8)
	assert.Equal(t, "route-reflectors all() kubernetes-openstack/pool == 'rr'",
		p.BGPPeers[0].Name+" "+p.BGPPeers[0].NodeSelector+" "+p.BGPPeers[0].PeerSelector)

	c.BGP.RouteReflectors = "control-plane"
	assert.Empty(t, errorsOf(c), "control planes may reflect too")
	c.ControlPlane.Count = 1
	assert.EqualError(t, errorsOf(c), "1 error:\n"+
		"  bgp.routeReflectors: control-plane must have at least 2 machines, not 1: if the only reflector fails, nodes "+
		"exchange no routes")
}

// The limits of the private AS numbers (RFC 6996).
func TestOwnASNumbers(t *testing.T) {
	c := small(t)
	for n, private := range map[int]bool{
		64511: false, 64512: true, 65534: true, 65552: false, 4199999999: false, 4200000000: true, 4294967294: true,
	} {
		c.BGP.ASNumber = n
		assert.Equal(t, private, len(errorsOf(c)) == 0, n)
	}
}

func TestMaximumMeshSize(t *testing.T) {
	assert.Empty(t, errorsOf(large(t, 0, maxMeshNodes-3)))
	assert.EqualError(t, errorsOf(large(t, 0, maxMeshNodes-2)), "1 error:\n"+
		"  bgp.routeReflectors: must be set to a pool or control-plane: the cluster has 201 nodes, and a full mesh may have "+
		"at most 200")
}

func TestPeers(t *testing.T) {
	object := valid(t)
	set(object, "network.serviceLoadBalancerIPs", []any{"198.51.100.0/24"})
	set(object, "pools.0.zones", []any{"az1", "az2", "az3"})
	set(object, "bgp.peers", []any{
		map[string]any{"address": "192.0.2.1", "asNumber": 4200000001, "password": "not shown"},
		map[string]any{
			"address": "192.0.2.2", "asNumber": 2914, "zones": []any{"az2", "az1"},
			"keepOriginalNextHop": false, "export": []any{"services"}, "import": []any{"0.0.0.0/0"},
		},
	})
	text, _ := json.Marshal(object)
	c, err := Decode("test", string(text))
	require.NoError(t, err)
	p := NewPlan(c)
	own := FilterRule{Action: "Reject", Remote: true}
	reject := func(cidr string) FilterRule { return FilterRule{Action: "Reject", CIDR: netip.MustParsePrefix(cidr)} }
	assert.Equal(t, []BGPPeer{
		{
			Name: "peer-192-0-2-1", NodeSelector: "all()",
			Nodes:  []string{"test-control-plane-0", "test-control-plane-1", "test-a-0", "test-a-1"},
			PeerIP: netip.MustParseAddr("192.0.2.1"), ASNumber: 4200000001, Password: "not shown", KeepOriginalNextHop: true,
			ExportV4: []FilterRule{own}, ImportV4: []FilterRule{{Action: "Reject"}},
		},
		{
			Name: "peer-192-0-2-2", NodeSelector: "topology.kubernetes.io/zone in {'az2', 'az1'}",
			Nodes:  []string{"test-a-0", "test-a-1"},
			PeerIP: netip.MustParseAddr("192.0.2.2"), ASNumber: 2914,
			ExportV4: []FilterRule{own, reject("10.244.0.0/16")},
			ImportV4: []FilterRule{
				reject("10.0.0.0/24"), reject("10.244.0.0/16"), reject("10.96.0.0/16"), reject("198.51.100.0/24"),
				{Action: "Accept", CIDR: netip.MustParsePrefix("0.0.0.0/0")}, {Action: "Reject"},
			},
		},
	}, p.BGPPeers)
	assert.Equal(t, Sessions{Total: 4*3/2 + 4 + 2, Most: 3 + 2}, p.Sessions())
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		assert.NotContains(t, fmt.Sprintf(format, p), "not shown", format)
	}

	// The pool lists az3, but no machine is there.
	set(object, "bgp.peers.1.zones", []any{"az3"})
	text, _ = json.Marshal(object)
	_, err = Decode("test", string(text))
	assert.EqualError(t, err, "kubernetes-openstack:cluster has 1 error:\n"+
		`  bgp.peers[1].zones[0]: must be a zone with nodes (az1 or az2), not "az3"`)
}

// Nodes announce to a peer only the kinds in its export.
func TestExports(t *testing.T) {
	c := small(t)
	c.Network.ServiceExternalIPs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	for export, want := range map[string]string{
		"pods services": "[]", "services": "[{Reject 10.244.0.0/16 false}]",
		"pods": "[{Reject 10.96.0.0/16 false} {Reject 198.51.100.0/24 false}]",
	} {
		assert.Equal(t, want, fmt.Sprint(c.exportRules(Peer{Export: strings.Fields(export)}, NewPlan(c).Nodes())), export)
	}
}

// Nodes announce routes of other nodes only if at least one node has no router to which it announces its pods.
func TestExportOfRoutesOfOtherNodes(t *testing.T) {
	c := large(t, 0, 3)
	c.ControlPlane.Zones = []string{"az1"}
	for name, test := range map[string]struct {
		peers []Peer
		alone bool
	}{
		"one for all":       {[]Peer{{}}, true},
		"one for each zone": {[]Peer{{Zones: []string{"az1"}}, {Zones: []string{"az2", "az3"}}}, true},
		"zone without peer": {[]Peer{{Zones: []string{"az1"}}, {Zones: []string{"az3"}}}, false},
		"Services only":     {[]Peer{{Export: []string{ExportServices}}}, false},
		"one zone and all":  {[]Peer{{Zones: []string{"az1"}}, {Export: []string{ExportPods}}}, true},
	} {
		c.BGP.Peers = test.peers
		for _, p := range NewPlan(c).BGPPeers {
			assert.Equal(t, test.alone, slices.Contains(p.ExportV4, FilterRule{Action: "Reject", Remote: true}), name)
		}
	}
}

// Neutron limits the number of allowed address pairs.
func TestAddressPairs(t *testing.T) {
	c := small(t)
	for i := range 7 {
		c.Network.ServiceExternalIPs = append(c.Network.ServiceExternalIPs,
			netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 32))
	}
	assert.Empty(t, errorsOf(c))
	assert.Equal(t, []string{"10.0.0.10", "10.244.0.0/16", "10.96.0.0/16", "198.51.100.0/32"},
		NewPlan(c).AddressPairs(RoleControlPlane)[:4])
	assert.Len(t, c.AddressPairs(RoleWorker), 9)
	assert.Empty(t, c.AddressPairs(RoleEtcd))
	c.Network.ServiceLoadBalancerIPs = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	assert.EqualError(t, errorsOf(c), "1 error:\n"+
		"  network.serviceLoadBalancerIPs[0]: 11 allowed address pairs are needed on each control plane's port, but "+
		"Neutron's limit is 10 (max_allowed_address_pair): merge ranges")
}

// A router may be in the machines' network if no machine has its address.
func TestPeerInTheMachinesNetwork(t *testing.T) {
	object := valid(t)
	set(object, "bgp.peers", peers(map[string]any{"address": "10.0.0.254", "password": strings.Repeat("x", 80)}))
	text, _ := json.Marshal(object)
	_, err := Decode("test", string(text))
	assert.NoError(t, err)
}

func TestPeersRules(t *testing.T) {
	c := large(t, 2, 3)
	c.BGP.RouteReflectors = "rr"
	c.BGP.Peers = []Peer{
		{Address: netip.MustParseAddr("192.0.2.1"), ASNumber: 65001},
		{Address: netip.MustParseAddr("192.0.2.2"), ASNumber: 65001, Zones: []string{"az1"}},
	}
	require.Empty(t, errorsOf(c))
	var got []string
	for _, r := range NewPlan(c).Rules {
		if r.Port == BGPPort {
			got = append(got, r.Name+" "+r.From.String())
		}
	}
	assert.Equal(t, []string{
		"control-plane-179-from-192.0.2.1/32 192.0.2.1/32",
		"worker-179-from-192.0.2.1/32 192.0.2.1/32",
		"worker-179-from-192.0.2.2/32 192.0.2.2/32", // no control plane is in a zone
	}, got)
}

// The table in docs/network.md contains the numbers that plans compute.
func TestSessions(t *testing.T) {
	var table strings.Builder
	table.WriteString("| nodes | mesh: sessions | at each node | 3 reflectors: sessions | at a reflector | at any other " +
		"node |\n|---|---|---|---|---|---|\n")
	for _, nodes := range []int{10, 50, 100, 200, 500, 1000, 5000} {
		c := large(t, 3, nodes-6)
		mesh := NewPlan(c).Sessions()
		c.BGP.RouteReflectors = "rr"
		require.Empty(t, errorsOf(c))
		reflected := NewPlan(c).Sessions()
		fmt.Fprintf(&table, "| %d | %d | %d | %d | %d | 3 |\n", nodes, mesh.Total, mesh.Most, reflected.Total, reflected.Most)
	}
	docs, err := os.ReadFile("../docs/network.md")
	require.NoError(t, err)
	assert.Contains(t, string(docs), table.String())
}

// The number of sessions is the number of pairs of nodes that peer.
func TestSessionsArePairs(t *testing.T) {
	for _, reflectors := range []string{"", "rr", "control-plane"} {
		c := large(t, 4, 20)
		c.BGP.RouteReflectors = reflectors
		nodes := NewPlan(c).Nodes()
		pairs, ends := 0, map[string]int{}
		for i, a := range nodes {
			for _, b := range nodes[:i] {
				if reflectors == "" || a.Group == reflectors || b.Group == reflectors {
					pairs++
					ends[a.ID]++
					ends[b.ID]++
				}
			}
		}
		most := 0
		for _, n := range ends {
			most = max(most, n)
		}
		assert.Equal(t, Sessions{pairs, most}, NewPlan(c).Sessions(), reflectors)
	}
}
