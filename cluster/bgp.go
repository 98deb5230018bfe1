package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"kubernetes-openstack/internal/field"
)

// BGPConfiguration contains the fields of Calico's BGPConfiguration `default`.
type BGPConfiguration struct {
	ASNumber              int
	NodeToNodeMeshEnabled bool
	// Ranges that nodes announce in addition to their blocks of pod addresses.
	ServiceClusterIPs, ServiceExternalIPs, ServiceLoadBalancerIPs []netip.Prefix
}

// BGPPeer contains the fields of one Calico BGPPeer and of its BGPFilter.
type BGPPeer struct {
	// Name of the BGPPeer, and of its BGPFilter.
	Name string
	// NodeSelector selects the nodes that have this peer; Nodes are their IDs.
	NodeSelector string
	Nodes        []string
	// PeerSelector selects nodes as peers: the route reflectors, which are in the same AS. If it is set, the fields below
	// are empty.
	PeerSelector string
	// PeerIP and ASNumber of a router.
	PeerIP              netip.Addr
	ASNumber            int
	Password            Secret
	KeepOriginalNextHop bool
	// ExportV4 and ImportV4 are the rules of the BGPFilter. The first rule that matches a route decides.
	ExportV4, ImportV4 []FilterRule
}

// FilterRule is one rule of a BGPFilter.
type FilterRule struct {
	// Action is Accept or Reject.
	Action string
	// CIDR that contains the route (matchOperator In). If CIDR is not valid, the rule matches every route.
	CIDR netip.Prefix
	// Remote limits the rule to routes that the node received over BGP (source RemotePeers).
	Remote bool
}

// reflectorPeerName is the name of the BGPPeer between all nodes and the route reflectors.
const reflectorPeerName = "route-reflectors"

func (c Config) bgpConfiguration() BGPConfiguration {
	return BGPConfiguration{
		ASNumber:               c.BGP.ASNumber,
		NodeToNodeMeshEnabled:  c.BGP.RouteReflectors == "",
		ServiceClusterIPs:      []netip.Prefix{c.Network.ServiceCIDR},
		ServiceExternalIPs:     c.Network.ServiceExternalIPs,
		ServiceLoadBalancerIPs: c.Network.ServiceLoadBalancerIPs,
	}
}

func (c Config) bgpPeers(nodes []Machine) []BGPPeer {
	var out []BGPPeer
	if group := c.BGP.RouteReflectors; group != "" {
		out = append(out, BGPPeer{
			Name:         reflectorPeerName,
			NodeSelector: "all()", Nodes: nodesInZones(nodes, nil),
			PeerSelector: fmt.Sprintf("%s == '%s'", poolLabel, group),
		})
	}
	for _, p := range c.BGP.Peers {
		selector := "all()"
		if len(p.Zones) > 0 {
			selector = fmt.Sprintf("%s in {'%s'}", zoneLabel, strings.Join(p.Zones, "', '"))
		}
		out = append(out, BGPPeer{
			Name:         "peer-" + strings.ReplaceAll(p.Address.String(), ".", "-"),
			NodeSelector: selector, Nodes: nodesInZones(nodes, p.Zones),
			PeerIP: p.Address, ASNumber: p.ASNumber, Password: p.Password,
			KeepOriginalNextHop: p.KeepOriginalNextHop == nil || *p.KeepOriginalNextHop,
			ExportV4:            c.exportRules(p, nodes), ImportV4: c.importRules(p),
		})
	}
	return out
}

// exportRules returns the rules for the routes that nodes announce to p. They only reject: Calico's own filter then
// announces whole blocks and Services. A rule with Accept would announce the address of each single pod.
//
// If every node announces its own pods to a router, no node announces the pods of another node. Else a router would
// keep the route to a deleted node until the other nodes drop it, which takes minutes. It would also have as many
// routes to each block as there are nodes.
func (c Config) exportRules(p Peer, nodes []Machine) []FilterRule {
	var out []FilterRule
	if c.allNodesExportPods(nodes) {
		out = append(out, FilterRule{Action: "Reject", Remote: true})
	}
	for _, r := range c.ranges() {
		if r.exportKind != "" && !p.exports(r.exportKind) {
			out = append(out, FilterRule{Action: "Reject", CIDR: r.prefix})
		}
	}
	return out
}

// allNodesExportPods reports whether each node has a router to which it announces pods.
func (c Config) allNodesExportPods(nodes []Machine) bool {
	return !slices.ContainsFunc(nodes, func(m Machine) bool {
		return !slices.ContainsFunc(c.BGP.Peers, func(p Peer) bool {
			return p.exports(ExportPods) && (len(p.Zones) == 0 || slices.Contains(p.Zones, m.Zone))
		})
	})
}

// exports reports whether nodes announce routes of a kind, ExportPods or ExportServices, to p.
func (p Peer) exports(kind string) bool { return p.Export == nil || slices.Contains(p.Export, kind) }

// importRules returns the rules for the routes that nodes accept from p. They accept the networks in p.Import, but
// never a range of the cluster itself. Without a filter Calico accepts all routes of a router, even a default route
// that replaces the machine's own.
func (c Config) importRules(p Peer) []FilterRule {
	var out []FilterRule
	if len(p.Import) > 0 {
		for _, r := range c.ranges() {
			out = append(out, FilterRule{Action: "Reject", CIDR: r.prefix})
		}
	}
	for _, network := range p.Import {
		out = append(out, FilterRule{Action: "Accept", CIDR: network})
	}
	return append(out, FilterRule{Action: "Reject"})
}

// nodesInZones returns the IDs of the nodes in some zones, or of all nodes if zones is empty.
func nodesInZones(nodes []Machine, zones []string) []string {
	var out []string
	for _, m := range nodes {
		if len(zones) == 0 || slices.Contains(zones, m.Zone) {
			out = append(out, m.ID)
		}
	}
	return out
}

// Sessions counts BGP sessions.
type Sessions struct {
	// Total is the number of sessions of the cluster, including those with routers. Most is the highest number of sessions
	// of one node.
	Total, Most int
}

// Sessions counts the BGP sessions of all nodes.
func (p Plan) Sessions() Sessions {
	nodes := p.Nodes()
	reflectors := 0
	for _, m := range nodes {
		if m.Calico.RouteReflectorClusterID != "" {
			reflectors++
		}
	}
	external := map[string]int{}
	var s Sessions
	for _, peer := range p.BGPPeers {
		if peer.PeerSelector == "" {
			for _, id := range peer.Nodes {
				external[id]++
				s.Total++
			}
		}
	}
	ends := 0
	for _, m := range nodes {
		internal := len(nodes) - 1
		if !p.BGPConfiguration.NodeToNodeMeshEnabled && m.Calico.RouteReflectorClusterID == "" {
			internal = reflectors
		}
		ends += internal
		s.Most = max(s.Most, internal+external[m.ID])
	}
	s.Total += ends / 2
	return s
}

// maxMeshNodes is the maximum number of nodes in a full mesh. Calico's documentation recommends route reflectors for
// more than 100 nodes.
const maxMeshNodes = 200

func (c Config) validateBGP(e *field.Errors) {
	c.validateReflectors(e)
	first := map[netip.Addr]int{}
	for i, p := range c.BGP.Peers {
		path := fmt.Sprintf("bgp.peers[%d]", i)
		if j, duplicate := first[p.Address]; duplicate && p.Address.IsValid() {
			e.Add(path+".address", "%s is also the address of bgp.peers[%d]: list all zones in one peer", p.Address, j)
		} else {
			first[p.Address] = i
		}
		if p.ASNumber == c.BGP.ASNumber && p.ASNumber != 0 {
			e.Add(path+".asNumber",
				"must differ from bgp.asNumber %d: within one AS, a node does not announce routes of other nodes to a router",
				p.ASNumber)
		}
		c.validatePeerZones(e, path+".zones", p.Zones)
		if p.Export != nil && len(p.Export) == 0 {
			e.Add(path+".export", "must contain %s, %s or both", ExportPods, ExportServices)
		}
		for j, network := range p.Import {
			for _, r := range c.ranges() {
				if r.contains(network) {
					e.Add(fmt.Sprintf("%s.import[%d]", path, j), "%s is within %s %s, a range of the cluster itself: remove it",
						network, r.path, r.prefix)
				}
			}
		}
	}
}

// validateReflectors checks the group of route reflectors, and that at least one group announces Services.
func (c Config) validateReflectors(e *field.Errors) {
	const path = "bgp.routeReflectors"
	var names []string
	var count int
	var announced bool
	for _, g := range c.groups() {
		if g.role == RoleEtcd {
			continue
		}
		names = append(names, g.name)
		if g.name == c.BGP.RouteReflectors {
			count = g.Count
		}
		announced = announced || c.announcesServices(g)
	}
	switch name := c.BGP.RouteReflectors; {
	case name == "" && c.nodeCount() > maxMeshNodes:
		e.Add(path,
			"must be set to a pool or %s: the cluster has %d nodes, and a full mesh may have at most %d",
			RoleControlPlane, c.nodeCount(), maxMeshNodes)
	case name == "":
	case !slices.Contains(names, name):
		e.Add(path, "must be %s, not %q", orList(names), name)
		return
	case count == 1:
		e.Add(path, "%s must have at least 2 machines, not 1: if the only reflector fails, nodes exchange no routes", name)
	}
	if !announced && len(c.Pools) > 0 {
		errorPath := "pools"
		if c.BGP.RouteReflectors != "" {
			errorPath = path
		}
		e.Add(errorPath,
			"must leave a pool that announces Services: control planes, route reflectors and nodes with the label %s do not",
			excludeLabel)
	}
}

// validatePeerZones checks that each zone has nodes.
func (c Config) validatePeerZones(e *field.Errors, path string, zones []string) {
	nodeZones := c.nodeZones()
	for i, zone := range zones {
		path := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case slices.Contains(nodeZones, zone):
		case len(nodeZones) == 0:
			e.Add(path, "must be removed: no group of nodes has zones")
		default:
			e.Add(path, "must be a zone with nodes (%s), not %q", orList(nodeZones), zone)
		}
	}
}

// nodeZones returns the zones that have nodes, sorted.
func (c Config) nodeZones() []string {
	var zones []string
	for _, g := range c.groups() {
		if g.role != RoleEtcd {
			zones = append(zones, g.Zones[:min(max(g.Count, 0), len(g.Zones))]...)
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}
