package cluster

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Plan is computed from a Config. Package infra declares its resources, and package templates renders its files.
type Plan struct {
	Config
	// Gateway of a tenant network, and the first and the last address that Neutron may use for its own ports.
	Gateway                   netip.Addr
	NeutronFirst, NeutronLast netip.Addr
	// Addresses of the Kubernetes Services of the API and of cluster DNS.
	APIService, DNSService netip.Addr
	// IPPool, BGPConfiguration and BGPPeers are Calico resources of these kinds.
	IPPool           IPPool
	BGPConfiguration BGPConfiguration
	BGPPeers         []BGPPeer
	// StorageClasses are the StorageClasses in the cluster.
	StorageClasses []StorageClass
	// Machines in the order etcd, control plane, pools. Each group is sorted by index.
	Machines []Machine
	// Authorities, Keys and Certificates of the PKI.
	Authorities  []Authority
	Keys         []Key
	Certificates []Certificate
	// Rules of the security groups.
	Rules []Rule
}

// Role is the function of a machine.
type Role string

// The roles. Each has a security group.
const (
	RoleEtcd         Role = "etcd"
	RoleControlPlane Role = "control-plane"
	RoleWorker       Role = "worker"
)

// Roles in the order of a Plan's machines.
var Roles = []Role{RoleEtcd, RoleControlPlane, RoleWorker}

// Machine is one instance, its port and, for etcd, its volume. ID and Address depend only on the group and the index.
// They do not change when other groups are added, removed or resized.
type Machine struct {
	// ID is name, hostname and Kubernetes node name: dev-etcd-0.
	ID string
	// Group is etcd, control-plane or the pool's name.
	Group   string
	Role    Role
	Index   int
	Address netip.Addr
	// MaxUnavailable is the maximum number of machines of its group that may be unavailable at the same time.
	MaxUnavailable int
	// Zone is empty if Nova selects the availability zone.
	Zone   string
	Flavor string
	// ServerGroup is the name of the server group without the cluster's name. It is empty if there are no server groups.
	ServerGroup string
	// VolumeZone is the Cinder zone of the volume of an etcd member. It is empty if Cinder selects the zone.
	VolumeZone string
	// RootVolume has the size 0 if the machine boots from the disk of its flavor.
	RootVolume RootVolume
	// Labels and Taints of its Node. etcd machines have none, because they are not nodes.
	Labels map[string]string
	Taints []Taint
	// Calico is its Calico Node, or nil on etcd machines.
	Calico *CalicoNode
	// VirtualIP is nil except on control planes, and nil on all machines if a load balancer has the API's address.
	VirtualIP *VirtualIP
	// Artifacts to install, and files of the PKI.
	Artifacts []Artifact
	PKI       []PKIFile
}

// shortName is the name of the machine without the cluster's name: etcd-0.
func (m Machine) shortName() string { return fmt.Sprintf("%s-%d", m.Group, m.Index) }

// EtcdPeerPort and the other ports that machines listen on.
const (
	EtcdClientPort = 2379
	EtcdPeerPort   = 2380
	APIPort        = 6443
	MetricsPort    = 9100
	BGPPort        = 179
	SSHPort        = 22
)

// Labels of Nodes.
const (
	zoneLabel   = "topology.kubernetes.io/zone"
	regionLabel = "topology.kubernetes.io/region"
	poolLabel   = "kubernetes-openstack/pool"
)

// Effects of taints that keep Pods without a toleration off a node.
const (
	noSchedule = "NoSchedule"
	noExecute  = "NoExecute"
)

// controlPlaneTaint keeps Pods without a toleration off control planes.
var controlPlaneTaint = Taint{Key: "node-role.kubernetes.io/control-plane", Effect: noSchedule}

// NewPlan computes the Plan of a valid Config.
func NewPlan(c Config) Plan {
	c.API.Address = c.apiAddress()
	c.SSH.PublicKey = strings.TrimSpace(c.SSH.PublicKey) // Nova refuses blanks before a key
	c.Tenancy.Settings = c.tenancySettings()
	p := Plan{
		Config:     c,
		Gateway:    c.Network.gateway(),
		APIService: address(c.Network.ServiceCIDR, 1),
		DNSService: address(c.Network.ServiceCIDR, 10),
	}
	p.NeutronFirst, p.NeutronLast = c.Network.allocationPool()
	for _, g := range c.groups() {
		artifacts := c.artifacts(g.role)
		labels, calicoLabels := map[string]map[string]string{}, map[string]map[string]string{} // by zone, shared by machines
		for i := range g.Count {
			m := Machine{
				ID:      machineID(c.Name, g.name, i),
				Group:   g.name,
				Role:    g.role,
				Index:   i,
				Address: address(g.Addresses, i),
				Flavor:  g.Flavor,

				RootVolume:     g.RootVolume,
				ServerGroup:    c.serverGroup(g.name, i),
				MaxUnavailable: g.maxUnavailable,
				Artifacts:      artifacts,
			}
			if len(g.Zones) > 0 {
				m.Zone = g.Zones[i%len(g.Zones)]
			}
			if g.role == RoleEtcd {
				m.VolumeZone = c.volumeZone(m.Zone)
			} else {
				if labels[m.Zone] == nil {
					labels[m.Zone] = c.labels(g, m.Zone)
					calicoLabels[m.Zone] = c.calicoLabels(g, labels[m.Zone])
				}
				m.Labels, m.Taints = labels[m.Zone], g.taints
				m.Calico = c.calicoNode(g, m.Address, calicoLabels[m.Zone])
			}
			p.Machines = append(p.Machines, m)
		}
	}
	p.planVirtualIP()
	p.planPKI()
	p.IPPool = c.ipPool()
	p.BGPConfiguration = c.bgpConfiguration()
	p.BGPPeers = c.bgpPeers(p.Nodes())
	p.StorageClasses = c.Storage.storageClasses()
	p.Rules = p.rules()
	return p
}

// apiAddress returns api.address or, if it is not set, the tenth address of network.cidr.
func (c Config) apiAddress() netip.Addr {
	if c.API.Address.IsValid() {
		return c.API.Address
	}
	return address(c.Network.CIDR, 10)
}

// labels returns the labels of the Nodes of a group in one zone.
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

// NodePrefix is the prefix of the hostnames of control planes. No other hostname begins with it.
func (p Plan) NodePrefix() string { return p.Name + "-" + string(RoleControlPlane) + "-" }

// Reservation is a reserved address and its owner.
type Reservation struct {
	Owner   string
	Address netip.Addr
}

// String returns the format that node-approver parses.
func (r Reservation) String() string { return r.Owner + "=" + r.Address.String() }

// Reserved returns the addresses that no worker and no Service can have. They are the addresses of the API, routers,
// Keystone and DNS servers, and the addresses that are reserved for etcd members and control planes.
func (p Plan) Reserved() []Reservation {
	reserved := []Reservation{{"api", p.API.Address}}
	if p.Network.Mode == TenantNetwork {
		reserved = append(reserved, Reservation{"router", p.Gateway})
	}
	for _, peer := range p.BGP.Peers {
		reserved = append(reserved, Reservation{"router", peer.Address})
	}
	for _, endpoint := range p.endpoints() {
		reserved = append(reserved, Reservation{endpoint.owner, endpoint.address})
	}
	return slices.Concat(reserved, p.ReservedFor(RoleEtcd), p.ReservedFor(RoleControlPlane))
}

// reservedMachines is the number of machines for which the blocks of etcd and of the control plane reserve addresses.
// It is the largest number of etcd members.
const reservedMachines = 7

// ReservedFor returns the names and addresses of reservedMachines machines of a role, or of all if there are more. Some
// of them may not exist. User-data lists these instead of the machines of the plan, so a change of the count replaces
// no machine.
func (p Plan) ReservedFor(role Role) []Reservation {
	var out []Reservation
	for _, g := range p.groups() {
		if g.role != role {
			continue
		}
		for i := range max(g.Count, reservedMachines) {
			a := address(g.Addresses, i)
			if !g.Addresses.Contains(a) || a == broadcast(p.Network.CIDR) {
				break
			}
			out = append(out, Reservation{machineID(p.Name, g.name, i), a})
		}
	}
	return out
}

// VirtualIP contains the VRRP settings with which a control plane shares the API's address.
type VirtualIP struct {
	// RouterID of VRRP (1–255).
	RouterID int
	// Peers are the addresses that are reserved for the other control planes.
	Peers []netip.Addr
}

// planVirtualIP plans how the control planes share the API's address.
func (p *Plan) planVirtualIP() {
	if p.API.LoadBalancer != Keepalived {
		return
	}
	controlPlanes, reserved := p.WithRole(RoleControlPlane), p.ReservedFor(RoleControlPlane)
	for i := range controlPlanes {
		m := &controlPlanes[i]
		m.VirtualIP = &VirtualIP{RouterID: max(1, int(p.API.Address.As4()[3]))}
		for _, other := range reserved {
			if other.Address != m.Address {
				m.VirtualIP.Peers = append(m.VirtualIP.Peers, other.Address)
			}
		}
	}
}

// OwnTiming returns true if the heartbeat or the election timeout is not etcd's default.
func (e Etcd) OwnTiming() bool {
	defaults := Defaults("").Etcd
	return e.HeartbeatInterval != 0 &&
		(e.HeartbeatInterval != defaults.HeartbeatInterval || e.ElectionTimeout != defaults.ElectionTimeout)
}

// WithRole returns the machines of one role. They are adjacent in the plan, so it returns a slice of it without a copy.
// This is important because it is called for the user-data of each worker.
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

// Nodes returns the machines that are Kubernetes nodes.
func (p Plan) Nodes() []Machine {
	return append(p.WithRole(RoleControlPlane), p.WithRole(RoleWorker)...)
}

// NoServerGroups is the policy of a cluster without server groups.
const NoServerGroups = "none"

// serverGroup returns the name of the server group of a machine. The first server group has the name of the group of
// machines. A dot is in no other name.
func (c Config) serverGroup(group string, index int) string {
	switch {
	case c.ServerGroupPolicy == NoServerGroups:
		return ""
	case c.ServerGroupMembers == 0 || index < c.ServerGroupMembers:
		return group
	}
	return fmt.Sprintf("%s.%d", group, index/c.ServerGroupMembers)
}

// ServerGroups returns the names of all server groups, without the cluster's name.
func (p Plan) ServerGroups() []string {
	var out []string
	for _, m := range p.Machines {
		if m.ServerGroup != "" && !slices.Contains(out[max(0, len(out)-1):], m.ServerGroup) {
			out = append(out, m.ServerGroup)
		}
	}
	return out
}

// Groups returns the names of the groups of machines.
func (p Plan) Groups() []string {
	var out []string
	for _, g := range p.groups() {
		out = append(out, g.name)
	}
	return out
}

// GroupPath returns the path of a group in the user's YAML, such as pools[0].
func (p Plan) GroupPath(name string) string {
	for _, g := range p.groups() {
		if g.name == name {
			return g.path
		}
	}
	return ""
}

// namedGroup is a group of machines with its name, role and path in the Config.
type namedGroup struct {
	Group
	labels map[string]string
	taints []Taint
	// name in machine IDs, and path in the user's YAML.
	name, path     string
	role           Role
	maxUnavailable int
}

// groups returns all groups of machines in the order of a Plan. At most one member of etcd and one control plane may be
// unavailable, because etcd would lose its quorum otherwise.
func (c Config) groups() []namedGroup {
	groups := []namedGroup{
		{Group: c.Etcd.Group, name: string(RoleEtcd), path: "etcd", role: RoleEtcd, maxUnavailable: 1},
		{
			Group: c.ControlPlane.Group, labels: c.ControlPlane.Labels,
			taints: append([]Taint{controlPlaneTaint}, c.ControlPlane.Taints...),
			name:   string(RoleControlPlane), path: "controlPlane", role: RoleControlPlane, maxUnavailable: 1,
		},
	}
	for i, pool := range c.Pools {
		groups = append(groups, namedGroup{
			Group: pool.Group, labels: pool.Labels, taints: pool.Taints,
			name: pool.Name, path: fmt.Sprintf("pools[%d]", i), role: RoleWorker,
			maxUnavailable: pool.MaxUnavailable,
		})
	}
	return groups
}

func machineID(cluster, group string, index int) string {
	return fmt.Sprintf("%s-%s-%d", cluster, group, index)
}

func (n Network) gateway() netip.Addr { return address(n.CIDR, 1) }

// allocationPool is the range from which Neutron may assign addresses to its own ports, such as those of DHCP.
func (n Network) allocationPool() (first, last netip.Addr) {
	return address(n.CIDR, 2), address(n.CIDR, 9)
}

// address returns the i-th address of an IPv4 prefix. Address 0 is the network address.
func address(p netip.Prefix, i int) netip.Addr {
	b := p.Addr().As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n += uint32(i)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// broadcast returns the broadcast address of an IPv4 prefix.
func broadcast(p netip.Prefix) netip.Addr { return address(p, 1<<(32-p.Bits())-1) }
