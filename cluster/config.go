// Package cluster is the model of one Kubernetes cluster on OpenStack: the Config that a user writes and the Plan that
// follows from it. It is pure: it knows neither Pulumi nor any cloud.
//
// A stack's life through it: Decode (defaults, strict keys, all errors at once) → NewPlan → package infra.
package cluster

import (
	"net/netip"
	"time"

	"kubernetes-openstack/internal/tenancy"
)

// Config is the stack's `kubernetes-openstack:cluster`, after Decode: complete and valid.
type Config struct {
	// Name begins the name of everything created; the stack's name by default.
	Name string `mapstructure:"name"`
	// Region of OpenStack, where it has several, and a label of every Node; none where empty.
	Region string `mapstructure:"region"`
	// Image that every machine boots.
	Image Image `mapstructure:"image"`
	SSH   SSH   `mapstructure:"ssh"`
	// Network that the machines, pods and Services live in.
	Network Network `mapstructure:"network"`
	Calico  Calico  `mapstructure:"calico"`
	BGP     BGP     `mapstructure:"bgp"`
	DNS     DNS     `mapstructure:"dns"`
	// OpenStack is the cloud as the cluster's own controllers use it.
	OpenStack OpenStack `mapstructure:"openstack"`
	Storage   Storage   `mapstructure:"storage"`
	Tenancy   Tenancy   `mapstructure:"tenancy"`
	// API is how clients reach the Kubernetes API.
	API        API        `mapstructure:"api"`
	Kubernetes Kubernetes `mapstructure:"kubernetes"`
	Etcd       Etcd       `mapstructure:"etcd"`
	// ControlPlane machines run apiserver, controller-manager and scheduler.
	ControlPlane NodeGroup `mapstructure:"controlPlane"`
	// Pools are the workers.
	Pools     []Pool    `mapstructure:"pools"`
	Artifacts Artifacts `mapstructure:"artifacts"`
	// ServerGroupPolicy spreads the machines of one group over hypervisors: soft-anti-affinity or anti-affinity.
	ServerGroupPolicy string `mapstructure:"serverGroupPolicy"`
	// Protect keeps `pulumi destroy` and replacements from deleting the etcd volumes.
	Protect bool `mapstructure:"protect"`
	// BootstrapTimeout bounds each machine's way from its creation to a working part of the cluster, and then the
	// cluster's.
	BootstrapTimeout time.Duration `mapstructure:"bootstrapTimeout"`
	// Devcloud is true on devcloud alone: its machines are containers, which may not do all that a machine may.
	Devcloud bool `mapstructure:"devcloud"`
}

// Image is a Glance image, by exactly one of its ID and its name. A name is looked up when a machine is created, and
// may by then be another image's; an ID never changes by itself.
type Image struct {
	ID   string `mapstructure:"id"`
	Name string `mapstructure:"name"`
}

// SSH is the operators' access to the machines.
type SSH struct {
	// PublicKey in authorized_keys form; without one a key pair is generated, and its private key is a secret output.
	PublicKey string `mapstructure:"publicKey"`
	// Allow lists the networks that may connect.
	Allow []netip.Prefix `mapstructure:"allow"`
}

// Network modes.
const (
	// TenantNetwork creates a network, its subnet and its router.
	TenantNetwork = "tenant"
	// ProviderNetwork puts the machines into a network that exists, as in a data centre that routes to each machine.
	ProviderNetwork = "provider"
)

// Network is the address plan, and where the machines' network comes from.
type Network struct {
	Mode string `mapstructure:"mode"`
	// CIDR of the machines' subnet.
	CIDR netip.Prefix `mapstructure:"cidr"`
	// PodCIDR and ServiceCIDR are routed inside the cluster and, over BGP, in the data centre.
	PodCIDR     netip.Prefix `mapstructure:"podCIDR"`
	ServiceCIDR netip.Prefix `mapstructure:"serviceCIDR"`
	// ServiceExternalIPs and ServiceLoadBalancerIPs are where Services' other addresses may come from: announced as
	// ServiceCIDR is.
	ServiceExternalIPs     []netip.Prefix `mapstructure:"serviceExternalIPs"`
	ServiceLoadBalancerIPs []netip.Prefix `mapstructure:"serviceLoadBalancerIPs"`
	// Allow lists the networks outside of the cluster that may reach pods and Services.
	Allow      []netip.Prefix `mapstructure:"allow"`
	DNSServers []netip.Addr   `mapstructure:"dnsServers"`
	// External network that the tenant network's router leads to (mode tenant).
	External External `mapstructure:"external"`
	// NetworkID and SubnetID of the existing network (mode provider).
	NetworkID string `mapstructure:"networkID"`
	SubnetID  string `mapstructure:"subnetID"`
}

// External is a network that floating IPs come from. A router takes it by ID, a floating IP by name.
type External struct {
	ID   string `mapstructure:"id"`
	Name string `mapstructure:"name"`
}

// Encapsulations of what pods send each other.
const (
	NoEncapsulation = "none"
	IPIP            = "ipip"
	VXLAN           = "vxlan"
)

// Calico connects the pods.
type Calico struct {
	Version string `mapstructure:"version"`
	// Encapsulation is none, ipip or vxlan, and only of packets between nodes of different subnets (CrossSubnet).
	Encapsulation string `mapstructure:"encapsulation"`
	// NATOutgoing gives what pods send beyond PodCIDR the address of their node. By default where mode is tenant:
	// Neutron's router knows no way back to a pod.
	NATOutgoing *bool `mapstructure:"natOutgoing"`
	// BlockSize is the prefix length of the blocks that nodes take out of PodCIDR, as many as their pods need.
	BlockSize int `mapstructure:"blockSize"`
}

// BGP is how nodes and routers tell each other the ways to pods and Services.
type BGP struct {
	// ASNumber is the autonomous system of all nodes.
	ASNumber int `mapstructure:"asNumber"`
	// RouteReflectors names the group of nodes (a pool, or control-plane) that every node peers with. Without one every
	// node peers with every other: a mesh.
	RouteReflectors string `mapstructure:"routeReflectors"`
	// Peers are the data centre's routers.
	Peers []Peer `mapstructure:"peers"`
}

// What a peer is told.
const (
	ExportPods     = "pods"
	ExportServices = "services"
)

// Peer is a router of the data centre, in an autonomous system of its own.
type Peer struct {
	Address  netip.Addr `mapstructure:"address"`
	ASNumber int        `mapstructure:"asNumber"`
	// Password of TCP MD5 (RFC 2385); none where empty.
	Password Secret `mapstructure:"password"`
	// Zones whose nodes peer with it, as of one rack; all nodes where there are none.
	Zones []string `mapstructure:"zones"`
	// KeepOriginalNextHop has a node pass on other nodes' routes, which it does where one of them has no router, with
	// their own addresses as next hops: true by default, else a packet to a pod takes any node as its way.
	KeepOriginalNextHop *bool `mapstructure:"keepOriginalNextHop"`
	// Export is what the router is told: pods, services; both by default.
	Export []string `mapstructure:"export"`
	// Import lists the networks that nodes learn the way to from the router; none by default.
	Import []netip.Prefix `mapstructure:"import"`
}

// Secret is text that no message shows.
type Secret string

// String hides the text from %v and %s.
func (Secret) String() string { return "[secret]" }

// GoString hides the text from %#v.
func (Secret) GoString() string { return "[secret]" }

// Providers of cluster DNS.
const (
	// SkyDNS is kube-dns, whose DNS server is SkyDNS.
	SkyDNS  = "skydns"
	CoreDNS = "coredns"
)

// DNS resolves the names of Services, in the cluster and from outside, at Plan.DNSService.
type DNS struct {
	// Provider is skydns or coredns.
	Provider string `mapstructure:"provider"`
	// Replicas are the least there are; more come with the cluster's size.
	Replicas int `mapstructure:"replicas"`
}

// OpenStack is how the cluster's own controllers reach the cloud: as an
// application credential that the program creates.
type OpenStack struct {
	// AuthURL is Keystone's, as the machines reach it.
	AuthURL string `mapstructure:"authURL"`
	// Interface of the cloud's other services that the machines reach: public, internal or admin.
	Interface string `mapstructure:"interface"`
	// CACertificate, in PEM form, is whom to trust instead of the public authorities.
	CACertificate string `mapstructure:"caCertificate"`
	// Credential is the last part of the application credential's name: another one makes another credential, and ends the
	// one before.
	Credential string `mapstructure:"credential"`
	// Roles that the application credential has in the project: few of those that the user who runs the program has.
	Roles []string `mapstructure:"roles"`
	// LoadBalancer of Services of type LoadBalancer: none or octavia.
	LoadBalancer string `mapstructure:"loadBalancer"`
}

// NoLoadBalancer leaves Services of type LoadBalancer to addresses that BGP announces.
const NoLoadBalancer = "none"

// What becomes of claims' volumes and snapshots when the cluster is destroyed.
const (
	Keep   = "keep"
	Delete = "delete"
)

// Storage is what pods' claims get from Cinder.
type Storage struct {
	// OnDestroy is what becomes of it with the cluster: keep or delete.
	OnDestroy string `mapstructure:"onDestroy"`
	// Classes that claims name; by default one, the default class.
	Classes []StorageClass `mapstructure:"classes"`
	// Topology is true where Cinder's zones are Nova's: a volume is then in the zone of its pod's node, and its pod stays
	// there. Where it is false every node attaches every volume.
	Topology bool `mapstructure:"topology"`
}

// StorageClass is one of Kubernetes', for volumes of Cinder.
type StorageClass struct {
	Name string `mapstructure:"name"`
	// Aliases are names of classes that are the same in all else.
	Aliases []string `mapstructure:"aliases"`
	// Default says that it is the class of claims that name none.
	Default bool `mapstructure:"default"`
	// Type of its volumes by name; Cinder's default type where empty.
	Type string `mapstructure:"type"`
	// Zone of Cinder that its volumes are in; the pod's node's, or Cinder's default one, where empty.
	Zone string `mapstructure:"zone"`
	// FileSystem of its volumes: ext4 or xfs.
	FileSystem string `mapstructure:"fileSystem"`
	// VolumeBindingMode is WaitForFirstConsumer or Immediate.
	VolumeBindingMode string `mapstructure:"volumeBindingMode"`
	// AllowVolumeExpansion lets claims grow; true by default.
	AllowVolumeExpansion *bool `mapstructure:"allowVolumeExpansion"`
	// ReclaimPolicy is what happens to the volume of a deleted claim: Delete or Retain.
	ReclaimPolicy string `mapstructure:"reclaimPolicy"`
}

// Tenancy has OpenStack's tenants be Kubernetes' tenants: people log in with their tokens of
// Keystone, and have namespaces for their projects.
type Tenancy struct {
	Enabled bool `mapstructure:"enabled"`
	// Settings are complete in a Plan: the network has PodCIDR.
	tenancy.Settings `mapstructure:",squash"`
	// Interval is how often each control plane looks whether OpenStack has others.
	Interval time.Duration `mapstructure:"interval"`
	Reader   Reader        `mapstructure:"reader"`
}

// Reader is the user of OpenStack that reads its tenants: role reader on the system, and on each domain, inherited.
type Reader struct {
	Username string `mapstructure:"username"`
	// Domain of the user, by name.
	Domain   string `mapstructure:"domain"`
	Password Secret `mapstructure:"password"`
}

// Load balancers of the API.
const (
	// Keepalived has the control planes hold the address in turn.
	Keepalived = "keepalived"
	// Octavia is OpenStack's own load balancer.
	Octavia = "octavia"
)

// API is the address of the Kubernetes API.
type API struct {
	// Address is the virtual address, one of Network.CIDR.
	Address netip.Addr `mapstructure:"address"`
	// FloatingIP adds a floating IP in front of Address (mode tenant).
	FloatingIP bool `mapstructure:"floatingIP"`
	// Allow lists the networks outside of the cluster that may connect.
	Allow []netip.Prefix `mapstructure:"allow"`
	// LoadBalancer that has Address: keepalived or octavia.
	LoadBalancer string `mapstructure:"loadBalancer"`
	// Proxy that the kubeconfig names, for clients that reach the API through one only: http, https or socks5.
	Proxy string `mapstructure:"proxy"`
}

// Proxy modes.
const (
	ProxyNFTables = "nftables"
	ProxyIPTables = "iptables"
)

// Kubernetes is what the control plane and the workers run.
type Kubernetes struct {
	Version string `mapstructure:"version"`
	// ProxyMode of kube-proxy: nftables or iptables.
	ProxyMode string `mapstructure:"proxyMode"`
}

// Group is a number of equal machines.
type Group struct {
	Count int `mapstructure:"count"`
	// Flavor by name.
	Flavor string `mapstructure:"flavor"`
	// Addresses is the group's own block of Network.CIDR: machine i has its i-th address, whatever other groups do.
	Addresses netip.Prefix `mapstructure:"addresses"`
	// Zones are Nova availability zones, taken in turn; Nova chooses where there are none.
	Zones []string `mapstructure:"zones"`
}

// NodeGroup is a number of equal machines that are Kubernetes nodes.
type NodeGroup struct {
	Group `mapstructure:",squash"`
	// Labels and Taints that kubelet registers its Node with: later changes replace the machine.
	Labels map[string]string `mapstructure:"labels"`
	Taints []Taint           `mapstructure:"taints"`
}

// Taint keeps Pods away that do not tolerate it.
type Taint struct {
	Key   string `mapstructure:"key"`
	Value string `mapstructure:"value"`
	// Effect is NoSchedule, PreferNoSchedule or NoExecute.
	Effect string `mapstructure:"effect"`
}

// Etcd machines hold the state of Kubernetes and of Calico.
type Etcd struct {
	Group   `mapstructure:",squash"`
	Version string `mapstructure:"version"`
	Volume  Volume `mapstructure:"volume"`
}

// Volume is a Cinder volume.
type Volume struct {
	// Size in GiB. etcd's quota is 8, and a defragmentation or a restore needs a second copy.
	Size int `mapstructure:"size"`
	// Type by name; Cinder's default type where empty.
	Type string `mapstructure:"type"`
}

// Pool is a named group of workers.
type Pool struct {
	Name      string `mapstructure:"name"`
	NodeGroup `mapstructure:",squash"`
	// MaxUnavailable is how many that work are changed at a time; 1 by default.
	MaxUnavailable *int `mapstructure:"maxUnavailable"`
}

// Artifacts is where the machines download what they run.
type Artifacts struct {
	// Mirror is put before the upstream location: MIRROR/github.com/etcd-io/… . It
	// has the programs of this repository, too.
	Mirror string `mapstructure:"mirror"`
	// Checksums are the sha256 of artifacts by name, where they are not the pinned upstream ones.
	Checksums map[string]string `mapstructure:"checksums"`
	// RegistryMirrors are where images are pulled from instead, by registry.
	RegistryMirrors map[string]string `mapstructure:"registryMirrors"`
}

// Defaults is the configuration before the user's is read over it. Addresses, flavors and the image have none: they
// are the cloud's.
func Defaults(stack string) Config {
	return Config{
		Name: stack,
		Network: Network{
			Mode:        TenantNetwork,
			PodCIDR:     netip.MustParsePrefix("10.244.0.0/16"),
			ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
		},
		Calico:    Calico{Version: "3.28.5", Encapsulation: NoEncapsulation, BlockSize: 26},
		BGP:       BGP{ASNumber: 64512},
		DNS:       DNS{Provider: SkyDNS, Replicas: 2},
		OpenStack: OpenStack{Interface: "public", Credential: "1", LoadBalancer: NoLoadBalancer},
		Storage:   Storage{OnDestroy: Keep, Topology: true},
		Tenancy: Tenancy{
			Settings: tenancy.Settings{Authorizer: tenancy.RBAC, OnProjectDelete: tenancy.CloseNamespace},
			Interval: time.Minute,
			Reader:   Reader{Domain: "Default"},
		},
		API:               API{LoadBalancer: Keepalived},
		Kubernetes:        Kubernetes{Version: "1.36.3", ProxyMode: ProxyNFTables},
		Etcd:              Etcd{Group: Group{Count: 3}, Version: "3.6.14", Volume: Volume{Size: 20}},
		ControlPlane:      NodeGroup{Group: Group{Count: 3}},
		ServerGroupPolicy: "soft-anti-affinity",
		Protect:           true,
		BootstrapTimeout:  15 * time.Minute,
	}
}
