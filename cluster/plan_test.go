package cluster

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func small(t *testing.T) Config {
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

// Whatever happens to other groups, a machine that stays is the same machine.
func TestMachinesAreStable(t *testing.T) {
	c := small(t)
	before := map[string]Machine{}
	for _, m := range NewPlan(c).Machines {
		before[m.ID] = m
	}
	c.Etcd.Count, c.ControlPlane.Count = 5, 1
	b := Pool{Name: "b", Group: Group{Count: 1, Flavor: "large", Addresses: netip.MustParsePrefix("10.0.0.128/26")}}
	c.Pools = []Pool{b, c.Pools[0]}
	require.Empty(t, c.Validate())
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
	known := map[string]bool{ServiceAccountKey: true}
	for _, a := range p.Authorities {
		known[a.Name] = true
	}
	for _, c := range p.Certificates {
		assert.False(t, known[c.Name], "%s is there twice", c.Name)
		known[c.Name] = true
	}
	for _, m := range p.Machines {
		paths := map[string]bool{}
		for _, f := range m.PKI {
			assert.True(t, known[f.Of], "%s: no %s", m.ID, f.Of)
			assert.False(t, paths[f.Path], "%s: %s twice", m.ID, f.Path)
			paths[f.Path] = true
			if f.Part == PartPrivateKey {
				assert.NotEqual(t, RoleWorker, m.Role, "%s holds the key %s", m.ID, f.Path)
				for _, a := range p.Authorities {
					assert.NotEqual(t, a.Name, f.Of, "%s holds an authority's key", m.ID)
				}
			}
		}
	}
}

// A peer without its source address in its certificate limps: every address that etcd is reached at must be there.
func TestEtcdCertificatesNameTheirAddresses(t *testing.T) {
	p := NewPlan(small(t))
	for _, m := range p.WithRole(RoleEtcd) {
		for _, c := range p.Certificates {
			if strings.HasPrefix(c.Name, m.name()+"-") {
				assert.Contains(t, c.Addresses, m.Address, c.Name)
				assert.True(t, c.Server && c.Client, c.Name)
			}
		}
	}
}

func TestRules(t *testing.T) {
	c := small(t)
	c.SSH.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	c.API.Allow = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	names := map[string]Rule{}
	for _, r := range NewPlan(c).Rules {
		assert.NotContains(t, names, r.Name)
		assert.NotEmpty(t, r.Reason)
		names[r.Name] = r
	}
	assert.Contains(t, names, "worker-22-from-operator-192.0.2.0/24")
	assert.Contains(t, names, "control-plane-6443-from-client-0.0.0.0/0")
	assert.Equal(t, netip.MustParsePrefix("10.0.0.64/26"), names["etcd-2379-from-a"].From)
	// only members speak to members, and nothing but clients and operators comes from outside of the network
	for _, r := range names {
		if r.Port == EtcdPeerPort {
			assert.Equal(t, c.Etcd.Addresses, r.From)
		}
	}
}

func TestAddresses(t *testing.T) {
	p := NewPlan(small(t))
	assert.Equal(t, "10.0.0.1 10.0.0.2 10.0.0.9 10.0.0.10 10.96.0.1 10.96.0.10", strings.Join([]string{
		p.Gateway.String(), p.NeutronFirst.String(), p.NeutronLast.String(), p.API.Address.String(),
		p.APIService.String(), p.DNSService.String(),
	}, " "))
}

func TestArtifacts(t *testing.T) {
	c := small(t)
	assert.Equal(t, "https://github.com/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz",
		NewPlan(c).Machines[0].Artifacts[0].URL)
	c.Artifacts = Artifacts{Mirror: "http://10.1.1.1/releases/", Checksums: map[string]string{"etcd": strings.Repeat("a", 64)}}
	a := NewPlan(c).Machines[0].Artifacts[0]
	assert.Equal(t, "http://10.1.1.1/releases/github.com/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz", a.URL)
	assert.Equal(t, strings.Repeat("a", 64), a.SHA256)
	assert.Equal(t, "etcd-v3.6.14-linux-amd64/etcd", a.Install[0])
}
