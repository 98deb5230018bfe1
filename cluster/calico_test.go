package cluster

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIPPool(t *testing.T) {
	c := small(t)
	yes, no := true, false
	for _, row := range []struct {
		mode, encapsulation string
		nat                 *bool
		want                IPPool
	}{
		{TenantNetwork, NoEncapsulation, nil, IPPool{c.Network.PodCIDR, 26, "Never", "Never", true}},
		{TenantNetwork, IPIP, &no, IPPool{c.Network.PodCIDR, 26, "CrossSubnet", "Never", false}},
		{ProviderNetwork, VXLAN, nil, IPPool{c.Network.PodCIDR, 26, "Never", "CrossSubnet", false}},
		{ProviderNetwork, NoEncapsulation, &yes, IPPool{c.Network.PodCIDR, 26, "Never", "Never", true}},
	} {
		c.Network.Mode, c.Calico.Encapsulation, c.Calico.NATOutgoing = row.mode, row.encapsulation, row.nat
		assert.Equal(t, row.want, NewPlan(c).IPPool)
	}
}

// The number of blocks depends on calico.blockSize.
func TestBlockSize(t *testing.T) {
	object := valid(t)
	set(object, "network.podCIDR", "10.244.0.0/25")
	set(object, "calico.blockSize", 27)
	text, _ := json.Marshal(object)
	c, err := Decode("test", string(text))
	require.NoError(t, err)
	assert.Equal(t, 27, NewPlan(c).IPPool.BlockSize)
}

// Control planes, route reflectors and groups with the label do not announce Services. Calico gets the label.
func TestCalicoNodes(t *testing.T) {
	c := large(t, 3, 4)
	c.BGP.RouteReflectors = "rr"
	c.Pools[1].Labels = map[string]string{"disk": "ssd"}
	p := NewPlan(c)
	assert.Nil(t, p.WithRole(RoleEtcd)[0].Calico)
	want := map[string]string{"control-plane": "true", "rr": "true", "general": ""}
	for _, m := range p.Nodes() {
		assert.Equal(t, want[m.Group], m.Calico.Labels[excludeLabel], m.ID)
		assert.Equal(t, m.Group == "rr", m.Calico.RouteReflectorClusterID == "244.0.0.1", m.ID)
		assert.Equal(t, m.Address.String()+"/16", m.Calico.Address.String())
		assert.NotContains(t, m.Labels, excludeLabel, "kubelet does not register with the label")
		for key, value := range m.Labels {
			assert.Equal(t, value, m.Calico.Labels[key], m.ID)
		}
	}
	c.BGP.RouteReflectors = ""
	c.Pools[1].Labels[excludeLabel] = "true"
	assert.Equal(t, "true", NewPlan(c).WithRole(RoleWorker)[3].Calico.Labels[excludeLabel])
}
