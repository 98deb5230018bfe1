package templates

// CalicoResources are the resources that control planes write to Calico's datastore:
// https://docs.tigera.io/calico/3.28/reference/resources/
type CalicoResources struct {
	IPPool           IPPool
	BGPConfiguration BGPConfiguration
	BGPPeers         []BGPPeer
}

// IPPool is the range from which pods get their addresses.
type IPPool struct {
	CIDR        string
	BlockSize   int    // prefix length
	IPIPMode    string // Never or CrossSubnet
	VXLANMode   string // Never or CrossSubnet
	NATOutgoing bool
}

// BGPConfiguration sets the announced Service addresses, and whether all nodes form a BGP mesh.
type BGPConfiguration struct {
	ASNumber               int
	NodeToNodeMeshEnabled  bool
	ServiceClusterIPs      []string // CIDRs
	ServiceExternalIPs     []string // CIDRs
	ServiceLoadBalancerIPs []string // CIDRs
}

// BGPPeer is a router together with its BGPFilter. With a PeerSelector, the peers are nodes.
type BGPPeer struct {
	Name                string
	NodeSelector        string // the nodes that have this peer
	PeerSelector        string
	PeerIP              string // empty if PeerSelector is set
	ASNumber            int
	Password            string // for TCP MD5, in base64
	KeepOriginalNextHop bool
	ExportV4            []FilterRule
	ImportV4            []FilterRule
}

// FilterRule is one rule of a BGPFilter.
type FilterRule struct {
	Action string // Accept or Reject
	CIDR   string // empty for all routes
	Remote bool   // matches only routes that the node learned over BGP
}
