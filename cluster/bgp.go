package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// BGPConfiguration is the fields of Calico's BGPConfiguration `default`.
type BGPConfiguration struct {
	ASNumber              int
	NodeToNodeMeshEnabled bool
	// What nodes announce besides their pods' blocks.
	ServiceClusterIPs, ServiceExternalIPs, ServiceLoadBalancerIPs []netip.Prefix
}

// BGPPeer is the fields of one of Calico's BGPPeers, and of its BGPFilter.
type BGPPeer struct {
	// Name of the BGPPeer, and of its BGPFilter.
	Name string
	// NodeSelector selects the nodes that have this peer; Nodes are their IDs.
	NodeSelector string
	Nodes        []string
	// PeerSelector selects nodes as peers: the route reflectors, which are in the same AS. What follows is empty then.
	PeerSelector string
	// PeerIP and ASNumber of a router.
	PeerIP              netip.Addr
	ASNumber            int
	Password            Secret
	KeepOriginalNextHop bool
	// ExportV4 and ImportV4 are the BGPFilter's: the first that matches decides.
	ExportV4, ImportV4 []FilterRule
}

// FilterRule is one of a BGPFilter's.
type FilterRule struct {
	// Action is Accept or Reject.
	Action string
	// CIDR that the route is in (matchOperator In); every route where it is not valid.
	CIDR netip.Prefix
	// Remote is only of routes that the node has by BGP itself (source RemotePeers).
	Remote bool
}

// reflectorPeers is the name of the BGPPeer between all nodes and the route reflectors.
const reflectorPeers = "route-reflectors"

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
			Name:         reflectorPeers,
			NodeSelector: "all()", Nodes: inZones(nodes, nil),
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
			NodeSelector: selector, Nodes: inZones(nodes, p.Zones),
			PeerIP: p.Address, ASNumber: p.ASNumber, Password: p.Password,
			KeepOriginalNextHop: p.KeepOriginalNextHop == nil || *p.KeepOriginalNextHop,
			ExportV4:            c.exports(p, nodes), ImportV4: c.imports(p),
		})
	}
	return out
}

// exports only ever reject: what they leave, Calico's own filter reduces to whole blocks and Services, whereas an
// Accept would let every single pod's address by it.
//
// Where all nodes tell a router of their own pods, none tells another's: a router would keep the way to a node that is
// gone for as long as the others do, which is minutes, and have as many ways to each block as there are nodes.
func (c Config) exports(p Peer, nodes []Machine) []FilterRule {
	var out []FilterRule
	if c.allTellOfPods(nodes) {
		out = append(out, FilterRule{Action: "Reject", Remote: true})
	}
	for _, r := range c.ranges() {
		if r.export != "" && !p.exports(r.export) {
			out = append(out, FilterRule{Action: "Reject", CIDR: r.prefix})
		}
	}
	return out
}

// allTellOfPods tells whether each node has a router that it tells of pods.
func (c Config) allTellOfPods(nodes []Machine) bool {
	return !slices.ContainsFunc(nodes, func(m Machine) bool {
		return !slices.ContainsFunc(c.BGP.Peers, func(p Peer) bool {
			return p.exports(ExportPods) && (len(p.Zones) == 0 || slices.Contains(p.Zones, m.Zone))
		})
	})
}

// exports tells whether p is told of pods, or of Services.
func (p Peer) exports(what string) bool { return p.Export == nil || slices.Contains(p.Export, what) }

// imports are what is listed, and never ways to the cluster's own addresses. Calico itself takes in all that a router
// says, a default route before the machine's own included.
func (c Config) imports(p Peer) []FilterRule {
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

// inZones are the IDs of the nodes in some zones; of all where there are none.
func inZones(nodes []Machine, zones []string) []string {
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
	// Total of the cluster, its sessions with routers included; Most is what the node with most of them has.
	Total, Most int
}

// Sessions of all nodes.
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

// maxMesh is the number of nodes up to which each peers with each other. Calico's authors advise reflectors above 100.
const maxMesh = 200

// maxPassword is what the kernel takes as a key of TCP MD5.
const maxPassword = 80

func (c Config) validateBGP(e *Errors) {
	const own = "bgp.asNumber"
	if n := c.BGP.ASNumber; asNumber(e, own, n) && !privateASNumber(n) {
		e.add(own, "must be for private use, 64512–65534 or 4200000000–4294967294, not %d", n)
	}
	c.validateReflectors(e)
	first := map[netip.Addr]int{}
	for i, p := range c.BGP.Peers {
		path := fmt.Sprintf("bgp.peers[%d]", i)
		if j, taken := first[p.Address]; taken && p.Address.IsValid() {
			e.add(path+".address", "%s is the address of bgp.peers[%d] too: one peer can have several zones", p.Address, j)
		} else {
			first[p.Address] = i
			c.validatePeerAddress(e, path+".address", p.Address)
		}
		if asNumber(e, path+".asNumber", p.ASNumber) && p.ASNumber == c.BGP.ASNumber {
			e.add(path+".asNumber",
				"%d is the nodes' own (%s): a router of the same AS is not told by a node what that has from other nodes",
				p.ASNumber, own)
		}
		p.validatePassword(e, path+".password")
		c.validatePeerZones(e, path+".zones", p.Zones)
		if p.Export != nil && len(p.Export) == 0 {
			e.add(path+".export", "must name %s, %s or both", ExportPods, ExportServices)
		}
		for j, what := range p.Export {
			oneOf(e, fmt.Sprintf("%s.export[%d]", path, j), what, ExportPods, ExportServices)
		}
		for j, network := range p.Import {
			for _, r := range c.ranges() {
				if r.contains(network) {
					e.add(fmt.Sprintf("%s.import[%d]", path, j), "%s is in %s %s: the way there is the cluster's own to know", network,
						r.path, r.prefix)
				}
			}
		}
	}
}

// validateReflectors checks who reflects, and that somebody is left to announce Services.
func (c Config) validateReflectors(e *Errors) {
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
		announced = announced || !c.silent(g)
	}
	switch name := c.BGP.RouteReflectors; {
	case name == "" && c.nodes() > maxMesh:
		e.add(path,
			"must be set to a pool, or %s: in a mesh of %d nodes each has %d BGP sessions, and %d nodes are the most we mesh",
			RoleControlPlane, c.nodes(), c.nodes()-1, maxMesh)
	case name == "":
	case !slices.Contains(names, name):
		e.add(path, "%q is no group of nodes: there are %s", name, strings.Join(names, ", "))
		return
	case count == 1:
		e.add(path, "%s has 1 machine, and must have 2 or more: while the only reflector is away no node learns of another",
			name)
	}
	if !announced && len(c.Pools) > 0 {
		at := "pools"
		if c.BGP.RouteReflectors != "" {
			at = path
		}
		e.add(at, "no node is left to announce Services: control planes, route reflectors and nodes with label %s do not",
			excludeLabel)
	}
}

// validatePeerAddress checks that a router's address is nobody else's.
func (c Config) validatePeerAddress(e *Errors, path string, router netip.Addr) {
	if !router.IsValid() {
		e.add(path, "must be set to the router's IPv4 address")
		return
	}
	if !router.IsGlobalUnicast() {
		e.add(path, "%s is no address that a router can have", router)
		return
	}
	for _, r := range c.ranges() {
		if r.path != machinesRange && r.prefix.IsValid() && r.prefix.Contains(router) {
			e.add(path, "%s is in %s %s: no router can have it", router, r.path, r.prefix)
		}
	}
	for _, g := range c.groups() {
		if g.Addresses.IsValid() && g.Addresses.Contains(router) {
			e.add(path, "%s is in %s.addresses %s", router, g.path, g.Addresses)
		}
	}
	if c.Network.CIDR.IsValid() && router == c.apiAddress() {
		e.add(path, "%s is the API's (api.address)", router)
	}
	c.Network.validateNotNeutrons(e, path, router)
}

// validatePassword says nothing of the password itself.
func (p Peer) validatePassword(e *Errors, path string) {
	if len(p.Password) > maxPassword {
		e.add(path, "must be at most %d characters: TCP MD5 has no longer keys", maxPassword)
	}
	if strings.ContainsFunc(string(p.Password), func(r rune) bool { return r < ' ' || r > '~' || r == '"' }) {
		e.add(path, `must be printable ASCII without '"', as BIRD reads it`)
	}
}

// validatePeerZones checks that nodes are in the zones.
func (c Config) validatePeerZones(e *Errors, path string, zones []string) {
	var inhabited []string
	for _, g := range c.groups() {
		if g.role != RoleEtcd {
			inhabited = append(inhabited, g.Zones[:min(max(g.Count, 0), len(g.Zones))]...)
		}
	}
	slices.Sort(inhabited)
	inhabited = slices.Compact(inhabited)
	for i, zone := range zones {
		if slices.Contains(inhabited, zone) {
			continue
		}
		there := "no group of nodes has zones"
		if len(inhabited) > 0 {
			there = "nodes are in " + strings.Join(inhabited, ", ")
		}
		e.add(fmt.Sprintf("%s[%d]", path, i), "no node is in zone %q: %s", zone, there)
	}
}

// reservedASNumbers are no AS's own: RFC 7607, 6793, 5398 and 7300.
var reservedASNumbers = []struct {
	first, last int
	what        string
}{
	{23456, 23456, "stands for numbers of 4 bytes where only 2 are understood"},
	{64496, 64511, "is for documentation"},
	{65535, 65535, "is reserved"},
	{65536, 65551, "is for documentation"},
	{maxASNumber, maxASNumber, "is reserved"},
}

const maxASNumber = 1<<32 - 1

// asNumber tells whether n can be an AS's, of 2 or 4 bytes, and says why not.
func asNumber(e *Errors, path string, n int) bool {
	if n < 1 || n > maxASNumber {
		e.add(path, "must be between 1 and %d, not %d", maxASNumber-1, n)
		return false
	}
	for _, r := range reservedASNumbers {
		if r.first <= n && n <= r.last {
			e.add(path, "%d %s: no AS has it", n, r.what)
			return false
		}
	}
	return true
}

// privateASNumber is RFC 6996's.
func privateASNumber(n int) bool {
	return 64512 <= n && n <= 65534 || 4200000000 <= n && n <= 4294967294
}
