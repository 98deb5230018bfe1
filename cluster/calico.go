package cluster

import (
	"fmt"
	"maps"
	"net/netip"

	"kubernetes-openstack/internal/field"
)

// IPPool contains the fields of Calico's IPPool, from which pods get their addresses.
type IPPool struct {
	CIDR      netip.Prefix
	BlockSize int
	// IPIPMode and VXLANMode are Never or CrossSubnet.
	IPIPMode, VXLANMode string
	NATOutgoing         bool
}

// CalicoNode contains the fields of a Calico Node except its name.
type CalicoNode struct {
	// Address with the prefix length of its subnet: 10.0.0.64/24.
	Address netip.Prefix
	// Labels for selectors: those of the Kubernetes Node, and excludeLabel on nodes that do not announce Services.
	Labels map[string]string
	// RouteReflectorClusterID is empty except on route reflectors.
	RouteReflectorClusterID string
}

// excludeLabel excludes a node from announcing Services. Calico requires the value "true". Kubernetes ignores the
// value.
const excludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers"

// reflectorClusterID is the same for all reflectors. Each node peers with all reflectors, so a reflector can ignore the
// routes that another one has reflected. The ID can be any address that no router uses.
const reflectorClusterID = "244.0.0.1"

// calicoVersions lists the minor versions that support all planned resources.
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

func (c Config) calicoNode(g namedGroup, address netip.Addr, labels map[string]string) *CalicoNode {
	n := &CalicoNode{Address: netip.PrefixFrom(address, c.Network.CIDR.Bits()), Labels: labels}
	if c.isReflector(g) {
		n.RouteReflectorClusterID = reflectorClusterID
	}
	return n
}

// calicoLabels returns the labels of the Calico Nodes of a group, whose Kubernetes Nodes have the given labels.
func (c Config) calicoLabels(g namedGroup, labels map[string]string) map[string]string {
	if c.announcesServices(g) {
		return labels
	}
	out := maps.Clone(labels)
	out[excludeLabel] = "true"
	return out
}

// announcesServices reports whether the nodes of a group announce Services. Control planes do not, because they have
// enough load. Route reflectors do not, because a reflector that announces the service CIDR also reflects the
// announcements of all other nodes. A user can exclude a group with excludeLabel.
func (c Config) announcesServices(g namedGroup) bool {
	return g.role != RoleControlPlane && !c.isReflector(g) && g.labels[excludeLabel] != "true"
}

func (c Config) isReflector(g namedGroup) bool {
	return c.BGP.RouteReflectors != "" && g.name == c.BGP.RouteReflectors
}

func (c Config) validateCalico(e *field.Errors) {
	if c.Calico.Encapsulation == IPIP && c.Devcloud {
		e.Add("calico.encapsulation",
			"cannot be ipip on devcloud: Debian's BIRD does not support Calico's tunnels; use none or vxlan")
	}
	size, pods, nodes := c.Calico.BlockSize, c.Network.PodCIDR, c.nodeCount()
	if size > 0 && pods.IsValid() && (pods.Bits() > size || 1<<(size-pods.Bits()) < nodes) {
		e.Add("network.podCIDR", "%s has too few /%d blocks for %d nodes: use a larger range", pods, size, nodes)
	}
	for _, g := range c.groups() {
		if value, set := g.labels[excludeLabel]; set && value != "true" {
			e.Add(fmt.Sprintf("%s.labels[%s]", g.path, excludeLabel),
				`must be "true" or removed: Calico requires this value, Kubernetes ignores the value`)
		}
	}
}

// nodeCount returns the number of machines that are Kubernetes nodes.
func (c Config) nodeCount() int {
	count := c.ControlPlane.Count
	for _, p := range c.Pools {
		count += p.Count
	}
	return count
}
