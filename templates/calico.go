package templates

// CalicoResources are the resources that control planes write to Calico's datastore:
// https://docs.tigera.io/calico/3.28/reference/resources/
type CalicoResources struct {
	IPPool           IPPool           `json:",omitempty"`
	BGPConfiguration BGPConfiguration `json:",omitempty"`
	BGPPeers         []BGPPeer        `json:""`
}

// IPPool is the range from which pods get their addresses.
type IPPool struct {
	CIDR        string `json:",omitempty"`
	BlockSize   int    `json:",omitempty"` // prefix length
	IPIPMode    string `json:",omitempty"` // Never or CrossSubnet
	VXLANMode   string `json:",omitempty"` // Never or CrossSubnet
	NATOutgoing bool   `json:""`
}

// BGPConfiguration sets the announced Service addresses, and whether all nodes form a BGP mesh.
type BGPConfiguration struct {
	ASNumber               int      `json:",omitempty"`
	NodeToNodeMeshEnabled  bool     `json:""`
	ServiceClusterIPs      []string `json:""` // CIDRs
	ServiceExternalIPs     []string `json:""` // CIDRs
	ServiceLoadBalancerIPs []string `json:""` // CIDRs
}

// BGPPeer is a router together with its BGPFilter. With a PeerSelector, the peers are nodes.
type BGPPeer struct {
	Name                string       `json:",omitempty"`
	NodeSelector        string       `json:",omitempty"` // the nodes that have this peer
	PeerSelector        string       `json:",omitempty"`
	PeerIP              string       `json:",omitempty"` // empty if PeerSelector is set
	ASNumber            int          `json:",omitempty"`
	Password            string       `json:",omitempty"` // for TCP MD5, in base64
	KeepOriginalNextHop bool         `json:""`
	ExportV4            []FilterRule `json:""`
	ImportV4            []FilterRule `json:""`
}

// FilterRule is one rule of a BGPFilter.
type FilterRule struct {
	Action string `json:",omitempty"` // Accept or Reject
	CIDR   string `json:",omitempty"` // empty for all routes
	Remote bool   `json:""`           // matches only routes that the node learned over BGP
}
