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

// maxPasswordLength is the kernel's maximum length of a TCP MD5 key.
const maxPasswordLength = 80

func (c Config) validateBGP(e *field.Errors) {
	const asNumberPath = "bgp.asNumber"
	if n := c.BGP.ASNumber; validateASNumber(e, asNumberPath, n) && !isPrivateASNumber(n) {
		e.Add(asNumberPath, "must be a private AS number (64512–65534 or 4200000000–4294967294), not %d", n)
	}
	c.validateReflectors(e)
	first := map[netip.Addr]int{}
	for i, p := range c.BGP.Peers {
		path := fmt.Sprintf("bgp.peers[%d]", i)
		if j, duplicate := first[p.Address]; duplicate && p.Address.IsValid() {
			e.Add(path+".address", "%s is also the address of bgp.peers[%d]: list all zones in one peer", p.Address, j)
		} else {
			first[p.Address] = i
			c.validatePeerAddress(e, path+".address", p.Address)
		}
		if validateASNumber(e, path+".asNumber", p.ASNumber) && p.ASNumber == c.BGP.ASNumber {
			e.Add(path+".asNumber",
				"must differ from %s %d: within one AS, a node does not announce routes of other nodes to a router",
				asNumberPath, p.ASNumber)
		}
		p.validatePassword(e, path+".password")
		c.validatePeerZones(e, path+".zones", p.Zones)
		if p.Export != nil && len(p.Export) == 0 {
			e.Add(path+".export", "must contain %s, %s or both", ExportPods, ExportServices)
		}
		for j, kind := range p.Export {
			oneOf(e, fmt.Sprintf("%s.export[%d]", path, j), kind, ExportPods, ExportServices)
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
		oneOf(e, path, name, names...)
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

// validatePeerAddress checks that nothing else uses a router's address.
func (c Config) validatePeerAddress(e *field.Errors, path string, router netip.Addr) {
	if !router.IsValid() {
		e.Add(path, "must be set to the router's IPv4 address")
		return
	}
	if !router.IsGlobalUnicast() {
		e.Add(path, "must be a unicast address of the router, not %s", router)
		return
	}
	c.validateOutside(e, path, router)
	for _, g := range c.groups() {
		if g.Addresses.IsValid() && g.Addresses.Contains(router) {
			e.Add(path, "%s is within %s.addresses %s, the addresses of machines", router, g.path, g.Addresses)
		}
	}
	if c.Network.CIDR.IsValid() && router == c.apiAddress() {
		e.Add(path, "%s is the address of the Kubernetes API (api.address)", router)
	}
	c.Network.validateNotReserved(e, path, router)
}

// validatePassword does not show the password in errors.
func (p Peer) validatePassword(e *field.Errors, path string) {
	if len(p.Password) > maxPasswordLength {
		e.Add(path, "must be at most %d characters, the maximum length of a TCP MD5 key", maxPasswordLength)
	}
	if strings.ContainsFunc(string(p.Password), func(r rune) bool { return r < ' ' || r > '~' || r == '"' }) {
		e.Add(path, `must be printable ASCII without '"', because BIRD's configuration allows nothing else`)
	}
}

// validatePeerZones checks that each zone has nodes.
func (c Config) validatePeerZones(e *field.Errors, path string, zones []string) {
	var nodeZones []string
	for _, g := range c.groups() {
		if g.role != RoleEtcd {
			nodeZones = append(nodeZones, g.Zones[:min(max(g.Count, 0), len(g.Zones))]...)
		}
	}
	slices.Sort(nodeZones)
	nodeZones = slices.Compact(nodeZones)
	for i, zone := range zones {
		if slices.Contains(nodeZones, zone) {
			continue
		}
		path := fmt.Sprintf("%s[%d]", path, i)
		if len(nodeZones) == 0 {
			e.Add(path, "must be removed: no group of nodes has zones")
		} else {
			e.Add(path, "must be a zone with nodes (%s), not %q", orList(nodeZones), zone)
		}
	}
}

// reservedASNumbers lists numbers that no AS may use: RFC 7607, 6793, 5398 and 7300.
var reservedASNumbers = []struct {
	first, last int
	reason      string
}{
	{23456, 23456, "as AS_TRANS"},
	{64496, 64511, "for documentation"},
	{65535, 65535, "by RFC 7300"},
	{65536, 65551, "for documentation"},
	{maxASNumber, maxASNumber, "by RFC 7300"},
}

const maxASNumber = 1<<32 - 1

// validateASNumber reports whether n is a valid number of an AS, of 2 or 4 bytes. If not, it adds an error.
func validateASNumber(e *field.Errors, path string, n int) bool {
	if n < 1 || n > maxASNumber {
		e.Add(path, "must be between 1 and %d, not %d", maxASNumber-1, n)
		return false
	}
	for _, r := range reservedASNumbers {
		if r.first <= n && n <= r.last {
			e.Add(path, "%d is reserved %s: use another AS number", n, r.reason)
			return false
		}
	}
	return true
}

// isPrivateASNumber reports whether n is for private use (RFC 6996).
func isPrivateASNumber(n int) bool {
	return 64512 <= n && n <= 65534 || 4200000000 <= n && n <= 4294967294
}
