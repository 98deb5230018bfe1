package templates

// CalicoResources are those that control planes put into Calico's datastore:
// https://docs.tigera.io/calico/3.28/reference/resources/
type CalicoResources struct {
	IPPool           IPPool           `json:",omitempty"`
	BGPConfiguration BGPConfiguration `json:",omitempty"`
	BGPPeers         []BGPPeer        `json:""`
}

// IPPool is where pods' addresses come from.
type IPPool struct {
	CIDR        string `json:",omitempty"`
	BlockSize   int    `json:",omitempty"` // prefix length
	IPIPMode    string `json:",omitempty"` // Never or CrossSubnet
	VXLANMode   string `json:",omitempty"` // Never or CrossSubnet
	NATOutgoing bool   `json:""`
}

// BGPConfiguration is what is announced, and whether there is a mesh.
type BGPConfiguration struct {
	ASNumber               int      `json:",omitempty"`
	NodeToNodeMeshEnabled  bool     `json:""`
	ServiceClusterIPs      []string `json:""` // CIDRs
	ServiceExternalIPs     []string `json:""` // CIDRs
	ServiceLoadBalancerIPs []string `json:""` // CIDRs
}

// BGPPeer is a router with its BGPFilter, or, where it has a PeerSelector, nodes as peers.
type BGPPeer struct {
	Name                string       `json:",omitempty"`
	NodeSelector        string       `json:",omitempty"` // the nodes that have this peer
	PeerSelector        string       `json:",omitempty"`
	PeerIP              string       `json:",omitempty"` // empty where PeerSelector is not
	ASNumber            int          `json:",omitempty"`
	Password            string       `json:",omitempty"` // of TCP MD5, in base64
	KeepOriginalNextHop bool         `json:""`
	ExportV4            []FilterRule `json:""`
	ImportV4            []FilterRule `json:""`
}

// FilterRule is one of a BGPFilter.
type FilterRule struct {
	Action string `json:",omitempty"` // Accept or Reject
	CIDR   string `json:",omitempty"` // empty for all routes
	Remote bool   `json:""`           // only those that the node has by BGP
}
