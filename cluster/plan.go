package cluster

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Plan is everything that follows from a Config: what package infra declares and package templates renders.
type Plan struct {
	Config
	// Gateway and Neutron's own addresses (first to last) of a tenant network.
	Gateway                   netip.Addr
	NeutronFirst, NeutronLast netip.Addr
	// Kubernetes Service addresses of the API and of DNS.
	APIService, DNSService netip.Addr
	// IPPool, BGPConfiguration and BGPPeers are Calico's resources of these kinds.
	IPPool           IPPool
	BGPConfiguration BGPConfiguration
	BGPPeers         []BGPPeer
	// StorageClasses are Kubernetes' of this kind.
	StorageClasses []StorageClass
	// Machines in the order etcd, control plane, pools; each group by index.
	Machines []Machine
	// Authorities, Keys and Certificates of the PKI.
	Authorities  []Authority
	Keys         []Key
	Certificates []Certificate
	// Rules open the machines' security groups.
	Rules []Rule
}

// Role is what a machine is for.
type Role string

// The roles, each with a security group.
const (
	RoleEtcd         Role = "etcd"
	RoleControlPlane Role = "control-plane"
	RoleWorker       Role = "worker"
)

// Roles in the order of a Plan's machines.
var Roles = []Role{RoleEtcd, RoleControlPlane, RoleWorker}

// Machine is one instance, its port and, for etcd, its volume. ID and Address depend on the group and the index
// alone: they stay when other groups come, go or change size.
type Machine struct {
	// ID is name, hostname and Kubernetes node name: dev-etcd-0.
	ID string
	// Group is the server group: etcd, control-plane or the pool's name.
	Group   string
	Role    Role
	Index   int
	Address netip.Addr
	// Zone is empty where Nova chooses.
	Zone   string
	Flavor string
	// Labels and Taints of its Node; none on etcd machines, which are no nodes.
	Labels map[string]string
	Taints []Taint
	// Calico is its Calico Node; nil on etcd machines.
	Calico *CalicoNode
	// Artifacts to install, and the files of the PKI to hold.
	Artifacts []Artifact
	PKI       []PKIFile
}

// name is the machine's within its cluster: etcd-0.
func (m Machine) name() string { return fmt.Sprintf("%s-%d", m.Group, m.Index) }

// EtcdPeerPort and the other ports that machines listen on.
const (
	EtcdClientPort = 2379
	EtcdPeerPort   = 2380
	APIPort        = 6443
	BGPPort        = 179
	SSHPort        = 22
)

// PauseImage holds the namespaces of each Pod.
const PauseImage = "registry.k8s.io/pause:3.10.2"

// Labels of Nodes.
const (
	zoneLabel   = "topology.kubernetes.io/zone"
	regionLabel = "topology.kubernetes.io/region"
	poolLabel   = "kubernetes-openstack/pool"
)

// controlPlaneTaint keeps Pods off control planes that do not ask for one.
var controlPlaneTaint = Taint{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}

// NewPlan plans a valid Config.
func NewPlan(c Config) Plan {
	c.API.Address = c.apiAddress()
	c.Tenancy.Settings = c.tenancySettings()
	p := Plan{
		Config:     c,
		Gateway:    c.Network.gateway(),
		APIService: address(c.Network.ServiceCIDR, 1),
		DNSService: address(c.Network.ServiceCIDR, 10),
	}
	p.NeutronFirst, p.NeutronLast = c.Network.neutronPool()
	for _, g := range c.groups() {
		artifacts := c.artifacts(g.role)
		for i := range g.Count {
			m := Machine{
				ID:      machineID(c.Name, g.name, i),
				Group:   g.name,
				Role:    g.role,
				Index:   i,
				Address: address(g.Addresses, i),
				Flavor:  g.Flavor,

				Artifacts: artifacts,
			}
			if len(g.Zones) > 0 {
				m.Zone = g.Zones[i%len(g.Zones)]
			}
			if g.role != RoleEtcd {
				m.Labels, m.Taints = c.labels(g, m.Zone), g.taints
				m.Calico = c.calicoNode(g, m)
			}
			p.Machines = append(p.Machines, m)
		}
	}
	p.planPKI()
	p.IPPool = c.ipPool()
	p.BGPConfiguration = c.bgpConfiguration()
	p.BGPPeers = c.bgpPeers(p.Nodes())
	p.StorageClasses = c.Storage.storageClasses()
	p.Rules = p.rules()
	return p
}

// apiAddress is the tenth of a tenant network where none is set.
func (c Config) apiAddress() netip.Addr {
	if c.API.Address.IsValid() {
		return c.API.Address
	}
	return address(c.Network.CIDR, 10)
}

// labels of the Nodes of a group in one zone.
func (c Config) labels(g namedGroup, zone string) map[string]string {
	labels := map[string]string{poolLabel: g.name}
	for key, value := range map[string]string{zoneLabel: zone, regionLabel: c.Region} {
		if value != "" {
			labels[key] = value
		}
	}
	maps.Copy(labels, g.labels)
	return labels
}

// NodePrefix is what the hostnames of control planes begin with, and no other machine's.
func (p Plan) NodePrefix() string { return p.Name + "-" + string(RoleControlPlane) + "-" }

// Reservation is an address with its owner.
type Reservation struct {
	Owner   string
	Address netip.Addr
}

// String is as node-approver reads it.
func (r Reservation) String() string { return r.Owner + "=" + r.Address.String() }

// Reserved are the addresses that no worker can have: of the API, of routers, of etcd's members and of control planes.
func (p Plan) Reserved() []Reservation {
	reserved := []Reservation{{"api", p.API.Address}}
	if p.Network.Mode == TenantNetwork {
		reserved = append(reserved, Reservation{"router", p.Gateway})
	}
	for _, peer := range p.BGP.Peers {
		reserved = append(reserved, Reservation{"router", peer.Address})
	}
	for _, m := range p.Machines {
		if m.Role != RoleWorker {
			reserved = append(reserved, Reservation{m.ID, m.Address})
		}
	}
	return reserved
}

// VirtualIP is a control plane's part in holding the API's address.
type VirtualIP struct {
	// RouterID is VRRP's, 1–255, and Priority 1–254: the lowest index wins an election.
	RouterID, Priority int
	// Peers are the addresses of the other control planes.
	Peers []netip.Addr
}

// VirtualIP is m's part, or nil where a load balancer has the address.
func (p Plan) VirtualIP(m Machine) *VirtualIP {
	if p.API.LoadBalancer != Keepalived {
		return nil
	}
	v := &VirtualIP{RouterID: max(1, int(p.API.Address.As4()[3])), Priority: maxControlPlanes - m.Index}
	for _, other := range p.WithRole(RoleControlPlane) {
		if other.ID != m.ID {
			v.Peers = append(v.Peers, other.Address)
		}
	}
	return v
}

// maxControlPlanes is the number of VRRP's priorities.
const maxControlPlanes = 254

// WithRole returns the machines of one role. They are adjacent in the plan, so it copies
// nothing: each worker's user-data asks for them.
func (p Plan) WithRole(role Role) []Machine {
	begin := slices.IndexFunc(p.Machines, func(m Machine) bool { return m.Role == role })
	if begin < 0 {
		return nil
	}
	end := begin + 1
	for end < len(p.Machines) && p.Machines[end].Role == role {
		end++
	}
	return p.Machines[begin:end:end]
}

// Nodes are the machines that are Kubernetes nodes.
func (p Plan) Nodes() []Machine {
	return append(p.WithRole(RoleControlPlane), p.WithRole(RoleWorker)...)
}

// Groups are the names of the groups of machines, each a server group.
func (p Plan) Groups() []string {
	var out []string
	for _, g := range p.groups() {
		out = append(out, g.name)
	}
	return out
}

// MaxUnavailable is how many machines of a group may be away at a time.
func (p Plan) MaxUnavailable(group string) int {
	for _, pool := range p.Pools {
		if pool.Name == group && pool.MaxUnavailable != nil {
			return *pool.MaxUnavailable
		}
	}
	return 1
}

// namedGroup is a group of machines with its place in the Config.
type namedGroup struct {
	Group
	labels map[string]string
	taints []Taint
	// name in machine IDs, and path into the user's YAML.
	name, path string
	role       Role
}

func (c Config) groups() []namedGroup {
	groups := []namedGroup{
		{Group: c.Etcd.Group, name: string(RoleEtcd), path: "etcd", role: RoleEtcd},
		{
			Group: c.ControlPlane.Group, labels: c.ControlPlane.Labels,
			taints: append([]Taint{controlPlaneTaint}, c.ControlPlane.Taints...),
			name:   string(RoleControlPlane), path: "controlPlane", role: RoleControlPlane,
		},
	}
	for i, pool := range c.Pools {
		groups = append(groups, namedGroup{
			Group: pool.Group, labels: pool.Labels, taints: pool.Taints,
			name: pool.Name, path: fmt.Sprintf("pools[%d]", i), role: RoleWorker,
		})
	}
	return groups
}

func machineID(cluster, group string, index int) string {
	return fmt.Sprintf("%s-%s-%d", cluster, group, index)
}

func (n Network) gateway() netip.Addr { return address(n.CIDR, 1) }

// neutronPool is what Neutron may give to ports of its own, such as DHCP's.
func (n Network) neutronPool() (first, last netip.Addr) {
	return address(n.CIDR, 2), address(n.CIDR, 9)
}

// address is the i-th address of an IPv4 prefix, the 0th being the network's own.
func address(p netip.Prefix, i int) netip.Addr {
	b := p.Addr().As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n += uint32(i)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// last is the broadcast address of an IPv4 prefix.
func last(p netip.Prefix) netip.Addr { return address(p, 1<<(32-p.Bits())-1) }
