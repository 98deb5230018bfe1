package cluster

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func small(t testing.TB) Config {
	t.Helper()
	text, err := os.ReadFile("testdata/small.yaml")
	require.NoError(t, err)
	c, err := decode(t, string(text))
	require.NoError(t, err)
	return c
}

func TestMachines(t *testing.T) {
	c := small(t)
	c.Pools[0].Zones = []string{"az1", "az2"}
	var got []string
	for _, m := range NewPlan(c).Machines {
		got = append(got, strings.TrimSpace(m.ID+" "+string(m.Role)+" "+m.Address.String()+" "+m.Flavor+" "+m.Zone))
	}
	assert.Equal(t, []string{
		"test-etcd-0 etcd 10.0.0.16 small",
		"test-etcd-1 etcd 10.0.0.17 small",
		"test-etcd-2 etcd 10.0.0.18 small",
		"test-control-plane-0 control-plane 10.0.0.32 medium",
		"test-control-plane-1 control-plane 10.0.0.33 medium",
		"test-a-0 worker 10.0.0.64 large az1",
		"test-a-1 worker 10.0.0.65 large az2",
	}, got)
}

// maxUnavailable is 1 in all groups, unless a pool sets it.
func TestMaxUnavailable(t *testing.T) {
	object := valid(t)
	maxUnavailable := func() map[string]int {
		out := map[string]int{}
		for _, m := range NewPlan(decoded(t, object)).Machines {
			out[m.Group] = m.MaxUnavailable
		}
		return out
	}
	assert.Equal(t, map[string]int{"etcd": 1, "control-plane": 1, "a": 1}, maxUnavailable())
	set(object, "pools.0.maxUnavailable", 2)
	assert.Equal(t, map[string]int{"etcd": 1, "control-plane": 1, "a": 2}, maxUnavailable())
}

// Changes of other groups do not change a machine that remains.
func TestMachinesAreStable(t *testing.T) {
	c := small(t)
	before := map[string]Machine{}
	for _, m := range NewPlan(c).Machines {
		before[m.ID] = m
	}
	c.Etcd.Count, c.ControlPlane.Count = 5, 1
	b := Pool{Name: "b", MaxUnavailable: 1,
		NodeGroup: NodeGroup{Group: Group{Count: 1, Flavor: "large", Addresses: netip.MustParsePrefix("10.0.0.128/26")}}}
	c.Pools = []Pool{b, c.Pools[0]}
	require.Empty(t, errorsOf(c))
	kept := 0
	for _, m := range NewPlan(c).Machines {
		if old, ok := before[m.ID]; ok {
			assert.Equal(t, old, m)
			kept++
		}
	}
	assert.Equal(t, 6, kept)
}

func TestPKIFiles(t *testing.T) {
	p := NewPlan(small(t))
	known := map[string]bool{}
	add := func(name string) {
		assert.False(t, known[name], "duplicate name %s", name)
		known[name] = true
	}
	for _, a := range p.Authorities {
		add(a.Name)
	}
	for _, k := range p.Keys {
		add(k.Name)
	}
	for _, c := range p.Certificates {
		add(c.Name)
	}
	for _, m := range p.Machines {
		paths := map[string]bool{}
		for _, f := range m.PKI {
			assert.False(t, paths[f.Path], "%s: duplicate path %s", m.ID, f.Path)
			paths[f.Path] = true
			for _, of := range f.Of {
				assert.True(t, known[of], "%s: unknown name %s", m.ID, of)
				if f.Part != PartPrivateKey {
					continue
				}
				assert.NotEqual(t, RoleWorker, m.Role, "%s holds the key %s", m.ID, f.Path)
				for _, a := range p.Authorities {
					if a.Name != NodeCA || m.Role != RoleControlPlane {
						assert.NotEqual(t, a.Name, of, "%s holds an authority's key", m.ID)
					}
				}
			}
		}
		if m.Role == RoleWorker {
			assert.Equal(t, map[string]bool{"/etc/kubernetes/pki/ca.crt": true, "/etc/haproxy/ca.crt": true,
				"/etc/calico/pki/ca.crt": true}, paths)
		}
	}
}

// The API server trusts the name in a certificate. Only nodes may request certificates with the name of a node.
func TestNoPlannedCertificateIsForANode(t *testing.T) {
	for _, c := range NewPlan(small(t)).Certificates {
		assert.NotEqual(t, NodeCA, c.Authority, c.Name)
		assert.NotContains(t, c.CommonName, "system:node:", c.Name)
		if c.Organization != "" {
			assert.Equal(t, AdminCertificate, c.Name, "is in %s", c.Organization)
		}
	}
}

func TestNodes(t *testing.T) {
	c := small(t)
	c.Region = "east"
	c.Pools[0].Zones = []string{"az1"}
	c.Pools[0].Labels = map[string]string{"disk": "ssd"}
	c.Pools[0].Taints = []Taint{{"gpu", "yes", "NoExecute"}}
	p := NewPlan(c)
	worker, controlPlane := p.WithRole(RoleWorker)[0], p.WithRole(RoleControlPlane)[0]
	assert.Equal(t, map[string]string{
		"disk": "ssd", "kubernetes-openstack/pool": "a",
		"topology.kubernetes.io/region": "east", "topology.kubernetes.io/zone": "az1",
	}, worker.Labels)
	assert.Equal(t, []Taint{{"gpu", "yes", "NoExecute"}}, worker.Taints)
	assert.Equal(t, map[string]string{"kubernetes-openstack/pool": "control-plane",
		"topology.kubernetes.io/region": "east"}, controlPlane.Labels)
	assert.Equal(t, []Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}}, controlPlane.Taints)
	assert.Empty(t, p.WithRole(RoleEtcd)[0].Labels)
	assert.True(t, strings.HasPrefix(controlPlane.ID, p.NodePrefix()))
	assert.False(t, strings.HasPrefix(worker.ID, p.NodePrefix()))
	p.BGP.Peers = []Peer{{Address: netip.MustParseAddr("10.0.0.99")}}
	p.OpenStack.AuthURL = "http://192.0.2.5:5000/v3"
	p.Network.DNSServers = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	assert.Equal(t,
		"[api=10.0.0.10 router=10.0.0.1 router=10.0.0.99 keystone=192.0.2.5 dns=192.0.2.53 test-etcd-0=10.0.0.16 "+
			"test-etcd-1=10.0.0.17 test-etcd-2=10.0.0.18 test-etcd-3=10.0.0.19 test-etcd-4=10.0.0.20 "+
			"test-etcd-5=10.0.0.21 test-etcd-6=10.0.0.22 test-control-plane-0=10.0.0.32 test-control-plane-1=10.0.0.33 "+
			"test-control-plane-2=10.0.0.34 test-control-plane-3=10.0.0.35 test-control-plane-4=10.0.0.36 "+
			"test-control-plane-5=10.0.0.37 test-control-plane-6=10.0.0.38]",
		fmt.Sprint(p.Reserved()))
}

// Addresses outside of the block of a group, and the broadcast address, are reserved for no machine.
func TestReservedFor(t *testing.T) {
	for name, test := range map[string]struct {
		count       int
		block       string
		first, last string
	}{
		"one machine":            {1, "10.0.0.32/28", "10.0.0.32", "10.0.0.38"},
		"more machines":          {9, "10.0.0.32/28", "10.0.0.32", "10.0.0.40"},
		"a small block":          {1, "10.0.0.32/30", "10.0.0.32", "10.0.0.35"},
		"a block of one address": {1, "10.0.0.32/32", "10.0.0.32", "10.0.0.32"},
		"the end of the network": {1, "10.0.0.252/30", "10.0.0.252", "10.0.0.254"},
	} {
		t.Run(name, func(t *testing.T) {
			c := small(t)
			c.ControlPlane.Count, c.ControlPlane.Addresses = test.count, netip.MustParsePrefix(test.block)
			p := NewPlan(c)
			got := p.ReservedFor(RoleControlPlane)
			assert.Equal(t, Reservation{"test-control-plane-0", netip.MustParseAddr(test.first)}, got[0])
			last := len(got) - 1
			assert.Equal(t, Reservation{fmt.Sprintf("test-control-plane-%d", last), netip.MustParseAddr(test.last)}, got[last])
			for i, m := range p.WithRole(RoleControlPlane) {
				assert.Equal(t, Reservation{m.ID, m.Address}, got[i])
			}
		})
	}
	assert.Empty(t, NewPlan(small(t)).ReservedFor(""))
}

func TestVirtualIP(t *testing.T) {
	c := small(t)
	c.ControlPlane.Count = 3
	p := NewPlan(c)
	var got []string
	for _, m := range p.WithRole(RoleControlPlane) {
		got = append(got, fmt.Sprint(*m.VirtualIP))
	}
	const others = " 10.0.0.35 10.0.0.36 10.0.0.37 10.0.0.38]}"
	assert.Equal(t, []string{"{10 [10.0.0.33 10.0.0.34" + others, "{10 [10.0.0.32 10.0.0.34" + others,
		"{10 [10.0.0.32 10.0.0.33" + others}, got)
	assert.Nil(t, p.WithRole(RoleEtcd)[0].VirtualIP)
	assert.Nil(t, p.WithRole(RoleWorker)[0].VirtualIP)

	c.API.LoadBalancer = Octavia
	p = NewPlan(c)
	assert.Nil(t, p.WithRole(RoleControlPlane)[0].VirtualIP)
	for _, r := range p.Rules {
		assert.NotEqual(t, "vrrp", r.Protocol)
	}
}

// etcd rejects connections from a peer whose address is not in its certificate.
func TestEtcdCertificatesNameTheirAddresses(t *testing.T) {
	p := NewPlan(small(t))
	for _, m := range p.WithRole(RoleEtcd) {
		for _, c := range p.Certificates {
			if strings.HasPrefix(c.Name, m.shortName()+"-") {
				assert.Contains(t, c.Addresses, m.Address, c.Name)
				assert.True(t, c.Server && c.Client, c.Name)
			}
		}
	}
}

func TestRules(t *testing.T) {
	c := small(t)
	c.SSH.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	c.API.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	c.Network.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	c.API.AllowedCIDRs = append(c.API.AllowedCIDRs, c.Network.CIDR) // the machines have this rule already
	names := map[string]Rule{}
	for _, r := range NewPlan(c).Rules {
		assert.NotContains(t, names, r.Name)
		assert.NotEmpty(t, r.Reason)
		names[r.Name] = r
	}
	for _, name := range []string{
		"worker-22-from-192.0.2.0/24", "control-plane-6443-from-0.0.0.0/0", "control-plane-6443-from-10.0.0.0/24",
		"etcd-2379-from-10.0.0.64/26", "worker-any-from-10.244.0.0/16", "control-plane-any-from-10.0.0.64/26",
		"worker-any-from-198.51.100.0/24",
	} {
		assert.Contains(t, names, name)
	}
	assert.NotContains(t, names, "control-plane-any-from-198.51.100.0/24")
	// only etcd members may connect to the peer port
	for _, r := range names {
		if r.Port == EtcdPeerPort {
			assert.Equal(t, c.Etcd.Addresses, r.From)
		}
	}
}

// TestRulesOfARenamedPool checks that the rules of a pool and their names do not depend on the pool's name.
func TestRulesOfARenamedPool(t *testing.T) {
	c := small(t)
	var before, after []string
	for _, r := range NewPlan(c).Rules {
		before = append(before, r.Name)
	}
	c.Pools[0].Name = "renamed"
	for _, r := range NewPlan(c).Rules {
		after = append(after, r.Name)
	}
	assert.Equal(t, before, after)
}

func TestAddresses(t *testing.T) {
	p := NewPlan(small(t))
	assert.Equal(t, "10.0.0.1 10.0.0.2 10.0.0.9 10.0.0.10 10.96.0.1 10.96.0.10", strings.Join([]string{
		p.Gateway.String(), p.NeutronFirst.String(), p.NeutronLast.String(), p.API.Address.String(),
		p.APIService.String(), p.DNSService.String(),
	}, " "))
}
