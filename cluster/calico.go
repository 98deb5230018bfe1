package cluster

import (
	"fmt"
	"maps"
	"net/netip"
)

// IPPool is where pods' addresses come from: the fields of Calico's IPPool.
type IPPool struct {
	CIDR      netip.Prefix
	BlockSize int
	// IPIPMode and VXLANMode are Never or CrossSubnet.
	IPIPMode, VXLANMode string
	NATOutgoing         bool
}

// CalicoNode is what a node's Calico Node says beyond its name.
type CalicoNode struct {
	// Address in its subnet: 10.0.0.64/24.
	Address netip.Prefix
	// Labels that selectors go by: those of the Kubernetes Node, and whether it announces Services.
	Labels map[string]string
	// RouteReflectorClusterID is empty on all nodes but route reflectors.
	RouteReflectorClusterID string
}

// excludeLabel keeps a node from announcing Services, in Calico where it is "true", in Kubernetes where it is there.
const excludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers"

// reflectorClusterID is one for all reflectors, as each node peers with all of them: what one has reflected is no news
// to another. Any address that no router has.
const reflectorClusterID = "244.0.0.1"

// calicoVersions are the minor versions that know all that is planned.
var calicoVersions = []string{"3.28", "3.29", "3.30", "3.31", "3.32"}

func (c Config) ipPool() IPPool {
	mode := func(encapsulation string) string {
		if c.Calico.Encapsulation == encapsulation {
			return "CrossSubnet"
		}
		return "Never"
	}
	nat := c.Network.Mode == TenantNetwork
	if c.Calico.NATOutgoing != nil {
		nat = *c.Calico.NATOutgoing
	}
	return IPPool{
		CIDR: c.Network.PodCIDR, BlockSize: c.Calico.BlockSize,
		IPIPMode: mode(IPIP), VXLANMode: mode(VXLAN), NATOutgoing: nat,
	}
}

func (c Config) calicoNode(g namedGroup, m Machine) *CalicoNode {
	n := &CalicoNode{Address: netip.PrefixFrom(m.Address, c.Network.CIDR.Bits()), Labels: maps.Clone(m.Labels)}
	if c.silent(g) {
		n.Labels[excludeLabel] = "true"
	}
	if g.name == c.BGP.RouteReflectors {
		n.RouteReflectorClusterID = reflectorClusterID
	}
	return n
}

// silent tells whether a group's nodes do not announce Services: control planes, which have their own load; route
// reflectors, because one that announces the service CIDR also passes on everybody's announcement of it to everybody;
// and groups that the user has labelled.
func (c Config) silent(g namedGroup) bool {
	return g.role == RoleControlPlane || g.name == c.BGP.RouteReflectors || g.labels[excludeLabel] == "true"
}

func (c Config) validateCalico(e *Errors) {
	oneOf(e, "calico.encapsulation", c.Calico.Encapsulation, NoEncapsulation, IPIP, VXLAN)
	if c.Calico.Encapsulation == IPIP && c.Devcloud {
		e.add("calico.encapsulation", "cannot be ipip: devcloud's BIRD is Debian's, which cannot route into Calico's tunnels")
	}
	size, pods := c.Calico.BlockSize, c.Network.PodCIDR
	if size < 20 || size > 32 {
		e.add("calico.blockSize", "must be between 20 and 32, not %d", size)
		return
	}
	nodes := c.nodes()
	if pods.IsValid() && (pods.Bits() > size || 1<<(size-pods.Bits()) < nodes) {
		e.add("network.podCIDR", "%s has too few /%d blocks for %d nodes", pods, size, nodes)
	}
	for _, g := range c.groups() {
		if value, set := g.labels[excludeLabel]; set && value != "true" {
			e.add(fmt.Sprintf("%s.labels[%s]", g.path, excludeLabel),
				`must be "true" or left out: Calico goes by the value, Kubernetes by the label being there`)
		}
	}
}

// nodes is the number of machines that are Kubernetes nodes.
func (c Config) nodes() int {
	nodes := c.ControlPlane.Count
	for _, p := range c.Pools {
		nodes += p.Count
	}
	return nodes
}
