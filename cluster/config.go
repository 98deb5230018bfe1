// Package cluster is the model of one Kubernetes cluster on OpenStack: the Config that a user writes, and the Plan that
// follows from it. It is pure: it uses neither Pulumi nor a cloud.
//
// The steps: Decode (defaults, strict keys, all errors at once) → NewPlan → packages templates and infra.
package cluster

//go:generate go run ../hack/configdoc

import (
	"net/netip"
	"time"

	"kubernetes-openstack/internal/tenancy"
)

// Config is the stack's `kubernetes-openstack:cluster` after Decode: complete and valid.
//
// The comments of the fields are the text of docs/configuration.md. The line `Default:` states a default that the
// function Defaults does not set: `required`, `none` or a value that the code derives. The line `Example:` is a value
// in YAML. Without this line, the example is the default. The tests of hack/configdoc check both lines.
// Below a line `Key:`, the comment of an embedded struct describes one key of that struct.
type Config struct {
	// Prefix of the names of all created resources: lower-case letters, digits and `-`. It is part of the hostnames.
	// Default: name of the stack
	// Example: prod
	Name string `mapstructure:"name" kind:"name"`
	// OpenStack region of the cluster's controllers. It must be the region of the login (`OS_REGION_NAME`, or the cloud in
	// clouds.yaml), in which Pulumi creates the resources. It is also the label `topology.kubernetes.io/region` of the
	// nodes.
	// Default: none
	// Example: RegionOne
	Region string `mapstructure:"region" kind:"optional label"`
	// The Glance image of all machines. Set exactly one of the two keys.
	Image Image `mapstructure:"image"`
	// Access of the operators to the machines.
	SSH SSH `mapstructure:"ssh"`
	// The network of the machines, and the addresses of pods and Services.
	Network Network `mapstructure:"network"`
	// Calico, the pod network.
	Calico Calico `mapstructure:"calico"`
	// BGP announces routes to pods and Services between nodes, and to the routers of the data centre.
	BGP BGP `mapstructure:"bgp"`
	// The cluster DNS.
	DNS DNS `mapstructure:"dns"`
	// The controllers of the cluster use these settings to connect to OpenStack.
	OpenStack OpenStack `mapstructure:"openstack"`
	// Cinder volumes for claims: [Storage](storage.md).
	Storage Storage `mapstructure:"storage"`
	// OpenStack projects as namespaces, and users with Keystone tokens: [Tenancy](tenancy.md).
	Tenancy Tenancy `mapstructure:"tenancy"`
	// Prometheus, Alertmanager and dashboards: [Monitoring](monitoring.md).
	Monitoring Monitoring `mapstructure:"monitoring"`
	// The address of the Kubernetes API.
	API API `mapstructure:"api"`
	// The programs of Kubernetes on control planes and workers.
	Kubernetes Kubernetes `mapstructure:"kubernetes"`
	// The etcd machines. They store the data of Kubernetes and Calico.
	Etcd Etcd `mapstructure:"etcd"`
	// The control planes run the API server, the controller-manager and the scheduler. Each has the taint
	// `node-role.kubernetes.io/control-plane:NoSchedule`.
	ControlPlane NodeGroup `mapstructure:"controlPlane"`
	// The workers. At least one pool is required. A change of one pool does not affect the machines of another pool.
	Pools []Pool `mapstructure:"pools"`
	// Downloads of the machines.
	Artifacts Artifacts `mapstructure:"artifacts"`
	// HTTP proxy of the machines and of the cluster's controllers: [A proxy](airgap.md#a-proxy).
	Proxy Proxy `mapstructure:"proxy"`
	// The rules that the program checks at each preview: [Policy](policy.md).
	Policy Policy `mapstructure:"policy"`
	// Prices for the cost in [the review of a change](operations.md#review-a-change), per month.
	Prices Prices `mapstructure:"prices"`
	// NTP servers of the machines: host names or IPv4 addresses. They replace those of the image and, except with
	// systemd-timesyncd, those of DHCP. A change replaces the machines.
	// Default: none: those of the image or of DHCP
	// Example: [ntp1.example.com, 192.0.2.123]
	NTPServers []string `mapstructure:"ntpServers" kind:"host"`
	// How Nova distributes the machines of a group over hypervisors. `soft-anti-affinity` prefers different hypervisors.
	// `anti-affinity` requires them, so it needs at least as many hypervisors as machines in a group. `none` creates no
	// server groups.
	ServerGroupPolicy string `mapstructure:"serverGroupPolicy" kind:"choice soft-anti-affinity anti-affinity none"`
	// Quota `server_group_members` of the project, which is 10 by default. A group with more machines gets several server
	// groups. Nova distributes the machines of each server group separately. A lower value replaces the machines that get
	// another server group.
	// Default: none: one server group for each group of machines
	// Example: 10
	ServerGroupMembers int `mapstructure:"serverGroupMembers" kind:"number 0 10000"`
	// With `true`, Pulumi refuses to delete the etcd volumes and, with `storage.onDestroy: delete`, the container of
	// `etcd.backup`.
	Protect bool `mapstructure:"protect"`
	// How long `pulumi up` waits for a machine, then for the cluster, and for each Deployment in it.
	BootstrapTimeout time.Duration `mapstructure:"bootstrapTimeout" kind:"duration 1m 24h"`
	// Enables settings that only the machines of devcloud need, because they are containers.
	Devcloud bool `mapstructure:"devcloud"`
}

// Image is a Glance image, by exactly one of its ID and its name.
type Image struct {
	// ID of the image. Unlike a name, it always refers to the same image.
	// Default: required, or `image.name`
	// Example: 6d1f4d10-5f0c-4a7b-9f5e-0a1b2c3d4e5f
	ID string `mapstructure:"id" kind:"optional id"`
	// Name of the image. It is resolved when a machine is created, so later machines can get another image.
	// Default: required, or `image.id`
	// Example: centos-stream-9
	Name string `mapstructure:"name" kind:"optional text an image"`
}

// SSH is the access of the operators to the machines.
type SSH struct {
	// Public key of the operators, as in `authorized_keys`. Without it, Pulumi generates a key pair. Its private key is
	// the secret output `sshPrivateKey`.
	// Default: none: generated
	// Example: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBZ6bR2m3n0Q0mUcYt1PqW0T0b7aF3o1m2Wq5c8Xk9vE operators
	PublicKey string `mapstructure:"publicKey" kind:"optional sshKey"`
	// With `true`, the public key is a key pair in Nova. A key pair belongs to the user who created it, so only this user
	// can create machines. With `false`, the key is in the user-data instead, and [every member of the project can run
	// Pulumi](operations.md#several-operators). A change replaces the machines.
	KeyPair bool `mapstructure:"keyPair"`
	// Networks that may connect to port 22.
	// Default: none
	// Example: [192.0.2.0/24]
	AllowedCIDRs []netip.Prefix `mapstructure:"allowedCIDRs" kind:"network"`
}

// Network modes.
const (
	// TenantNetwork creates a network, its subnet and its router.
	TenantNetwork = "tenant"
	// ProviderNetwork connects the machines to an existing network, for example of a data centre that routes to each
	// machine.
	ProviderNetwork = "provider"
)

// Network is the address plan, and the source of the machines' network.
type Network struct {
	// `tenant`: a separate network and router; `provider`: an existing network.
	Mode string `mapstructure:"mode" kind:"choice tenant provider"`
	// Subnet of the machines, between /8 and /27. In a tenant network the first 16 addresses are reserved for the network
	// itself.
	// Default: required
	// Example: 10.0.0.0/24
	CIDR netip.Prefix `mapstructure:"cidr" kind:"range 8 27"`
	// Addresses of pods.
	PodCIDR netip.Prefix `mapstructure:"podCIDR" kind:"range 8 32"`
	// Addresses of Services, between /12 and /28.
	ServiceCIDR netip.Prefix `mapstructure:"serviceCIDR" kind:"range 12 28"`
	// Ranges for external IPs of Services (`spec.externalIPs`). Nodes announce them like `serviceCIDR`.
	// [The API server refuses all other addresses](network.md#external-addresses-of-services). Together with
	// `serviceLoadBalancerIPs` at most 7 ranges, because of Neutron's limit.
	// Default: none
	// Example: [198.51.100.0/26]
	ServiceExternalIPs []netip.Prefix `mapstructure:"serviceExternalIPs" kind:"range 8 32"`
	// Ranges for LoadBalancer IPs of Services. Nodes announce them like `serviceCIDR`. Without Octavia,
	// [the API server refuses all other addresses](network.md#external-addresses-of-services). Together with
	// `serviceExternalIPs` at most 7 ranges.
	// Default: none
	// Example: [198.51.100.64/26]
	ServiceLoadBalancerIPs []netip.Prefix `mapstructure:"serviceLoadBalancerIPs" kind:"range 8 32"`
	// Networks that may reach pods and Services, and therefore workers: security groups cannot distinguish a pod from its
	// node.
	// Default: none
	// Example: [10.128.0.0/9]
	AllowedCIDRs []netip.Prefix `mapstructure:"allowedCIDRs" kind:"network"`
	// DNS resolvers of the machines. Only for a tenant network. Without them, [the rule `no-resolver`](policy.md#rules)
	// fails, because with OVN the machines resolve no names.
	// Default: none
	// Example: [192.0.2.53]
	DNSServers []netip.Addr `mapstructure:"dnsServers" kind:"address"`
	// External network of the router and of floating IPs.
	External External `mapstructure:"external"`
	// ID of the existing network. It must belong to the project, because only the owner may choose the addresses of its
	// ports. Only for a provider network.
	// Default: required in a provider network
	// Example: 0e0b4a3c-7d3f-4c2b-8f43-5f1d5a0c2b11
	NetworkID string `mapstructure:"networkID" kind:"optional id"`
	// ID of the existing subnet. Only for a provider network.
	// Default: required in a provider network
	// Example: 9a6ea2a7-93ad-4ef0-b0ef-3f4c2d9d7c55
	SubnetID string `mapstructure:"subnetID" kind:"optional id"`
	// Neutron filters the packets of the machines' ports by security groups. Set `false` for networks without port
	// security, such as routed provider networks. Then Neutron filters nothing: [each host that reaches the subnet
	// reaches all ports of the machines](network.md#without-port-security). Only for a provider network.
	PortSecurity bool `mapstructure:"portSecurity"`
}

// External is an external network. A router refers to its ID, a floating IP to its name.
type External struct {
	// ID of the external network of the router. Only for a tenant network.
	// Default: required in a tenant network
	// Example: 4a7c7a52-0a0d-4d0c-8a45-2f5a3f0b9c11
	ID string `mapstructure:"id" kind:"optional id"`
	// Name of the external network of floating IPs. Only for a tenant network.
	// Default: required with `api.floatingIP`
	// Example: public
	Name string `mapstructure:"name" kind:"optional text an external network"`
}

// Encapsulations of packets between pods.
const (
	NoEncapsulation = "none"
	IPIP            = "ipip"
	VXLAN           = "vxlan"
)

// Calico is the pod network.
type Calico struct {
	// Version of Calico, without `v`. Validation lists the supported minor versions.
	Version string `mapstructure:"version" kind:"version calico"`
	// Encapsulation of packets between nodes of different subnets: `none`, `ipip` or `vxlan`. Packets between nodes of one
	// subnet are never encapsulated.
	Encapsulation string `mapstructure:"encapsulation" kind:"choice none ipip vxlan"`
	// Packets from pods to addresses outside `network.podCIDR` get the address of the node. A tenant network needs this,
	// because Neutron's router has no routes to pods.
	// Default: `true` in a tenant network, `false` in a provider network
	// Example: false
	NATOutgoing *bool `mapstructure:"natOutgoing"`
	// Prefix length of the address blocks that Calico assigns to nodes, 20 to 32. A node gets as many blocks as its pods
	// need.
	BlockSize int `mapstructure:"blockSize" kind:"number 20 32"`
}

// BGP distributes the routes to pods and Services between nodes and routers.
type BGP struct {
	// AS number of all nodes, for private use: 64512 to 65534, or 4200000000 to 4294967294.
	ASNumber int `mapstructure:"asNumber" kind:"privateAS"`
	// Pool (or `control-plane`) that all nodes peer with: [how many sessions](network.md#how-many-bgp-sessions). Without
	// it, each node peers with all other nodes: a mesh.
	// Default: none: a mesh
	// Example: control-plane
	RouteReflectors string `mapstructure:"routeReflectors" kind:"optional name"`
	// Routers of the data centre that the nodes peer with.
	// Default: none
	// Example: [{address: 10.0.0.250, asNumber: 65001}]
	Peers []Peer `mapstructure:"peers"`
}

// Kinds of routes that nodes announce to a peer.
const (
	ExportPods     = "pods"
	ExportServices = "services"
)

// Peer is a router of the data centre in a separate autonomous system.
type Peer struct {
	// Address of the router.
	// Default: required
	// Example: 10.0.0.250
	Address netip.Addr `mapstructure:"address" kind:"address"`
	// AS number of the router. It differs from `bgp.asNumber`.
	// Default: required
	// Example: 65001
	ASNumber int `mapstructure:"asNumber" kind:"as"`
	// Password of the TCP MD5 option (RFC 2385): at most 80 characters of printable ASCII without `"`. Set it with
	// `pulumi config set --secret --path`.
	// Default: none
	// Example: {secure: v1:…}
	Password Secret `mapstructure:"password" kind:"optional md5Password"`
	// Only nodes in these zones peer with this router, for example the nodes of its rack.
	// Default: none: all nodes
	// Example: [az1]
	Zones []string `mapstructure:"zones" kind:"label"`
	// Nodes announce routes of other nodes with the next hop unchanged, so packets reach a pod's node directly. With
	// `false`, a packet to a pod can take a detour over any node.
	// Default: `true`
	// Example: false
	KeepOriginalNextHop *bool `mapstructure:"keepOriginalNextHop"`
	// [Routes that nodes announce to the router](network.md#calico-resources): `pods`, `services` or both.
	// Default: `[pods, services]`
	// Example: [services]
	Export []string `mapstructure:"export" kind:"choice pods services"`
	// Networks that nodes accept from the router.
	// Default: none
	// Example: [0.0.0.0/0]
	Import []netip.Prefix `mapstructure:"import" kind:"network"`
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
	// `skydns`: kube-dns 1.26.7, whose DNS server is SkyDNS; or `coredns`.
	Provider string `mapstructure:"provider" kind:"choice skydns coredns"`
	// Minimum number of replicas, at least 2. Larger clusters get more.
	Replicas int `mapstructure:"replicas" kind:"number 2 1000"`
	// Domains that other DNS servers resolve for the pods.
	// Default: none
	// Example: [{domain: corp.example.com, servers: [192.0.2.53]}]
	StubDomains []StubDomain `mapstructure:"stubDomains"`
	// IPv4 addresses of DNS servers, with an optional port, that resolve all other names for the pods.
	// Default: none: those of the machines
	// Example: [192.0.2.53]
	UpstreamNameservers []string `mapstructure:"upstreamNameservers" kind:"nameserver"`
}

// StubDomain is a domain of the data centre with its own DNS servers.
type StubDomain struct {
	// Name of the domain.
	// Default: required
	// Example: corp.example.com
	Domain string `mapstructure:"domain" kind:"domain"`
	// IPv4 addresses of its DNS servers, with an optional port.
	// Default: required
	// Example: [192.0.2.53, "192.0.2.54:5353"]
	Servers []string `mapstructure:"servers" kind:"nameserver"`
}

// ApplicationCredential is an application credential that exists.
type ApplicationCredential struct {
	// ID of an existing application credential. Without it, Pulumi creates one, which Keystone refuses if Pulumi itself
	// logs in with an application credential. [How to create one](storage.md#an-existing-credential).
	// Default: none: Pulumi creates one
	// Example: 0123456789abcdef0123456789abcdef
	ID string `mapstructure:"id" kind:"optional credentialID"`
	// Secret of the existing application credential. Set it with `pulumi config set --secret --path`.
	// Default: none
	// Example: {secure: v1:…}
	Secret Secret `mapstructure:"secret" kind:"optional password"`
}

// OpenStack is the connection of the cluster's controllers to the cloud. They use an application credential.
type OpenStack struct {
	// URL of Keystone for the machines.
	// Default: required
	// Example: https://keystone.example.com:5000/v3
	AuthURL string `mapstructure:"authURL" kind:"url http https"`
	// Interface of the other OpenStack APIs that the machines use: `public`, `internal` or `admin`.
	Interface string `mapstructure:"interface" kind:"choice public internal admin"`
	// CA certificates of the OpenStack APIs in PEM form. They replace the public certificate authorities.
	// Default: none: public authorities
	// Example: "-----BEGIN CERTIFICATE-----…"
	CACertificate string `mapstructure:"caCertificate" kind:"optional certificates"`
	// Last part of the name of the application credential: lower-case letters, digits and `-`.
	// [A new name rotates it](storage.md#the-credential).
	// Example: 2027-01
	Credential string `mapstructure:"credential" kind:"name"`
	// Roles of the application credential in the project. The user who runs Pulumi must have them.
	// Default: `[member, reader]`, with Octavia `[member, reader, load-balancer_member]`
	// Example: [member, reader]
	Roles []string `mapstructure:"roles" kind:"text a role"`
	// ApplicationCredential is the one of the controllers, if it exists.
	ApplicationCredential ApplicationCredential `mapstructure:"applicationCredential"`
	// Load balancer for Services of type LoadBalancer: `octavia`, or `none` for addresses over BGP only.
	LoadBalancer string `mapstructure:"loadBalancer" kind:"choice none octavia"`
	// Provider of Octavia, for Services and for `api.loadBalancer: octavia`: `amphora`, or `ovn`, which supports neither
	// least connections nor HTTPS monitors.
	// Default: none: `amphora`
	// Example: ovn
	OctaviaProvider string `mapstructure:"octaviaProvider" kind:"optional choice amphora ovn"`
}

// OVN is the provider of Octavia without amphorae.
const OVN = "ovn"

// NoLoadBalancer gives Services of type LoadBalancer only addresses that BGP announces.
const NoLoadBalancer = "none"

// Policies for the volumes and snapshots of claims, and for etcd's backups, when the cluster is destroyed.
const (
	Keep   = "keep"
	Delete = "delete"
)

// Storage configures Cinder volumes for claims of pods.
type Storage struct {
	// A destroy of the cluster keeps (`keep`) or deletes (`delete`) the volumes and snapshots of claims. [The output
	// lists them first](storage.md#teardown). The value also applies to the container of `etcd.backup`, whose objects the
	// output does not list.
	OnDestroy string `mapstructure:"onDestroy" kind:"choice keep delete"`
	// StorageClasses of the cluster.
	// Default: `[{name: cinder, default: true}]`
	// Example: [{name: ssd, default: true, type: ssd}, {name: archive, type: hdd}]
	Classes []StorageClass `mapstructure:"classes"`
	// Set `true` if Cinder and Nova have the same zones. Then a volume is in the zone of its pod's node, and the pod
	// stays in this zone. With `false`, every node can attach every volume.
	Topology bool `mapstructure:"topology"`
	// Maximum number of volumes of claims on a node. The scheduler places further pods on other nodes. [The limit of the
	// hypervisor](storage.md#classes) can be lower than the default, or higher with virtio-scsi.
	AttachLimit int `mapstructure:"attachLimit" kind:"number 1 256"`
}

// StorageClass is a StorageClass of Kubernetes for Cinder volumes.
type StorageClass struct {
	// Name of the StorageClass.
	// Default: required
	// Example: ssd
	Name string `mapstructure:"name" kind:"subdomain"`
	// Names of identical StorageClasses.
	// Default: none
	// Example: [general]
	Aliases []string `mapstructure:"aliases" kind:"subdomain"`
	// Used for claims without a class. At most one class is the default.
	Default bool `mapstructure:"default"`
	// Name of the Cinder volume type.
	// Default: none: Cinder's default
	// Example: ssd
	Type string `mapstructure:"type" kind:"optional text a volume type"`
	// Cinder zone of the volumes.
	// Default: none: zone of the pod's node, or Cinder's default
	// Example: az3
	Zone string `mapstructure:"zone" kind:"optional label"`
	// File system of the volumes: `ext4` or `xfs`.
	// Default: `ext4`
	// Example: xfs
	FileSystem string `mapstructure:"fileSystem" kind:"optional choice ext4 xfs"`
	// `WaitForFirstConsumer`: a volume is created in the zone of the scheduled pod; or `Immediate`.
	// Default: `WaitForFirstConsumer`
	// Example: Immediate
	VolumeBindingMode string `mapstructure:"volumeBindingMode" kind:"optional choice WaitForFirstConsumer Immediate"`
	// Claims can grow while pods use them.
	// Default: `true`
	// Example: false
	AllowVolumeExpansion *bool `mapstructure:"allowVolumeExpansion"`
	// The volume of a deleted claim: `Delete` or `Retain`.
	// Default: `Delete`
	// Example: Retain
	ReclaimPolicy string `mapstructure:"reclaimPolicy" kind:"optional choice Delete Retain"`
}

// Tenancy maps OpenStack projects to namespaces. Users log in with their Keystone tokens.
type Tenancy struct {
	// OpenStack projects become namespaces, and users log in with Keystone tokens: [tenancy.md](tenancy.md).
	Enabled bool `mapstructure:"enabled"`
	// Settings are complete in a Plan, which sets PodCIDR.
	//
	// Key: roles
	// Access that each Keystone role gives in the namespace of its project: `view`, `edit` or `admin`. Other roles give no
	// access.
	// Default: `{reader: view, member: edit, admin: admin}`
	// Example: {auditor: view, member: edit}
	//
	// Key: exclude
	// Projects without a namespace, as NAME@DOMAIN or ID. An ID stays valid when the project is renamed.
	// Default: none
	// Example: [service@Default]
	//
	// Key: authorizer
	// How access is granted: RoleBindings (`rbac`), or the policy file of `abac`.
	//
	// Key: onProjectDelete
	// The namespace of a deleted project: `close` keeps it, but nobody has access; `delete` deletes it with its contents.
	tenancy.Settings `mapstructure:",squash"`
	// Interval between two runs of tenant-sync on each control plane, at least 10s.
	Interval time.Duration `mapstructure:"interval" kind:"duration 10s 24h"`
	// Reader is the OpenStack user of tenant-sync.
	Reader Reader `mapstructure:"reader"`
}

// Reader is the OpenStack user that reads projects, users and roles.
type Reader struct {
	// Name of the user that [reads all of Keystone](tenancy.md#tenant-sync). It has the role `reader` on the system and,
	// inherited, on each domain.
	// Default: required with `tenancy.enabled`
	// Example: kubernetes-prod
	Username string `mapstructure:"username" kind:"optional text a user"`
	// Name of the user's domain.
	Domain string `mapstructure:"domain" kind:"optional text a domain"`
	// Password of the user. Set it with `pulumi config set --secret --path`.
	// Default: required with `tenancy.enabled`
	// Example: {secure: v1:…}
	Password Secret `mapstructure:"password" kind:"optional password"`
}

// Monitoring runs Prometheus, Alertmanager and Perses in the cluster.
type Monitoring struct {
	// Prometheus, Alertmanager and Perses run in the namespace `monitoring`. Each machine exports its metrics. A change
	// replaces the machines.
	Enabled bool `mapstructure:"enabled"`
	// Number of days for which Prometheus keeps samples. It deletes the oldest ones earlier if they fill 80% of its
	// volume.
	RetentionDays int `mapstructure:"retentionDays" kind:"number 1 3650"`
	// Size in GiB of the volume of Prometheus. A larger value expands the volume.
	VolumeSize int `mapstructure:"volumeSize" kind:"number 1 65536"`
	// StorageClass of the volumes of Prometheus and Alertmanager.
	// Default: none: the default class of `storage.classes`
	// Example: ssd
	StorageClass string `mapstructure:"storageClass" kind:"optional subdomain"`
	// [Configuration of Alertmanager](monitoring.md#receivers) in YAML, with `route` and `receivers`. Set it with
	// `pulumi config set --secret --path`.
	// Default: none: Alertmanager notifies nobody
	// Example: {secure: v1:…}
	Alertmanager Secret `mapstructure:"alertmanager" kind:"optional alertmanager"`
	// All clients that reach Services (`network.allowedCIDRs`) open the dashboards without a login. With `false`, only
	// [users of the Kubernetes API](monitoring.md#open-the-dashboards) open them.
	OpenDashboards bool `mapstructure:"openDashboards"`
}

// Load balancers of the API.
const (
	// Keepalived assigns the address to one control plane at a time.
	Keepalived = "keepalived"
	// Octavia is the load balancer of OpenStack.
	Octavia = "octavia"
)

// API is the address of the Kubernetes API.
type API struct {
	// Address of the Kubernetes API: a free address of `network.cidr` outside all groups of machines.
	// Default: tenth address of `network.cidr`; required in a provider network
	// Example: 10.0.0.10
	Address netip.Addr `mapstructure:"address" kind:"optional ownAddress"`
	// The API also has a floating IP. Only for a tenant network.
	FloatingIP bool `mapstructure:"floatingIP"`
	// Networks outside `network.cidr` that may connect to the API.
	// Default: none
	// Example: [10.128.0.0/9]
	AllowedCIDRs []netip.Prefix `mapstructure:"allowedCIDRs" kind:"network"`
	// `keepalived`: one of the control planes holds the address; or `octavia`.
	LoadBalancer string `mapstructure:"loadBalancer" kind:"choice keepalived octavia"`
	// URL of a proxy in the kubeconfig, for clients that reach the API only through it: `http`, `https` or `socks5`.
	// Default: none
	// Example: http://proxy.example.com:3128
	Proxy string `mapstructure:"proxy" kind:"optional operatorURL http https socks5"`
}

// Proxy modes.
const (
	ProxyNFTables = "nftables"
	ProxyIPTables = "iptables"
)

// Kubernetes configures the programs of Kubernetes on control planes and workers.
type Kubernetes struct {
	// Version of Kubernetes, without `v`. Validation checks that it is compatible with `etcd.version`.
	Version string `mapstructure:"version" kind:"version kubernetes"`
	// Mode of kube-proxy: `nftables`, or `iptables` for kernels older than 5.13.
	ProxyMode string `mapstructure:"proxyMode" kind:"choice nftables iptables"`
}

// Group is a number of equal machines.
type Group struct {
	// Number of machines, at least 1.
	// Default: required
	// Example: 3
	Count int `mapstructure:"count" kind:"number 1 10000"`
	// Name of the Nova flavor.
	// Default: required
	// Example: c8.xlarge
	Flavor string `mapstructure:"flavor" kind:"text a flavor"`
	// Separate block of `network.cidr` for this group, and for no other host. Machine i always has the i-th address,
	// independent of other groups.
	// Default: required
	// Example: 10.0.0.128/27
	Addresses netip.Prefix `mapstructure:"addresses" kind:"block"`
	// Nova availability zones. The machines are distributed over them in turn. On nodes, the zone is also the label
	// `topology.kubernetes.io/zone`.
	// Default: none: Nova's choice
	// Example: [az1, az2, az3]
	Zones []string `mapstructure:"zones" kind:"label" repeats:"true"`
	// RootVolume is the disk from which each machine boots.
	RootVolume RootVolume `mapstructure:"rootVolume"`
}

// RootVolume is a Cinder volume from which a machine boots. Nova creates it from the image, and deletes it with the
// machine.
type RootVolume struct {
	// Size in GiB of the Cinder volume from which each machine boots, for flavors without a disk or with a small one.
	// Nova creates it from `image.id`, in the zone of the machine or Cinder's default, and deletes it with the machine.
	// A change replaces the machines.
	// Default: none: the disk of the flavor
	// Example: 40
	Size int `mapstructure:"size" kind:"number 0 65536"`
	// Name of its Cinder volume type. A change replaces the machines.
	// Default: none: Cinder's default
	// Example: ssd
	Type string `mapstructure:"type" kind:"optional text a volume type"`
}

// NodeGroup is a number of equal machines that are Kubernetes nodes.
type NodeGroup struct {
	Group `mapstructure:",squash"`
	// Labels of the nodes, in addition to zone, region and `kubernetes-openstack/pool`. A change replaces the machines.
	// [Example for OpenStack-Helm](storage.md#openstack-helm-on-the-cluster).
	// Default: none
	// Example: {example.com/disk: nvme}
	Labels map[string]string `mapstructure:"labels" keys:"labelKey" kind:"optional label"`
	// Taints of the nodes. A change replaces the machines. A taint of control planes must have the effect
	// `PreferNoSchedule` or the key `CriticalAddonsOnly`, because the cluster's own controllers run there.
	// Default: none
	// Example: [{key: example.com/storage, value: "true", effect: PreferNoSchedule}]
	Taints []Taint `mapstructure:"taints"`
}

// Taint keeps Pods off a node unless they tolerate it.
type Taint struct {
	// Key of the taint. The domains `node.kubernetes.io` and `node.cloudprovider.kubernetes.io` are not allowed, because
	// Kubernetes sets their taints by itself.
	// Default: required
	// Example: example.com/storage
	Key string `mapstructure:"key" kind:"taintKey"`
	// Value of the taint.
	// Default: none
	// Example: "true"
	Value string `mapstructure:"value" kind:"optional label"`
	// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
	// Default: required
	// Example: PreferNoSchedule
	Effect string `mapstructure:"effect" kind:"choice NoSchedule PreferNoSchedule NoExecute"`
}

// Etcd machines store the data of Kubernetes and of Calico.
type Etcd struct {
	// Group has the members of etcd.
	//
	// Key: count
	// Number of members: 1, 3, 5 or 7.
	// Example: 5
	Group `mapstructure:",squash"`
	// Version of etcd, without `v`. Validation checks that it is compatible with `kubernetes.version`.
	Version string `mapstructure:"version" kind:"version etcd"`
	// Time between two heartbeats of the leader, from 10ms to 10s: about the time of a round trip between members. A
	// change replaces the members one at a time.
	HeartbeatInterval time.Duration `mapstructure:"heartbeatInterval" kind:"milliseconds 10ms 10s"`
	// Time without a heartbeat after which a member starts an election, up to 50s. It must be at least five times
	// `heartbeatInterval`, and should be longer than the slowest write to the disk. A change replaces the members one at
	// a time.
	ElectionTimeout time.Duration `mapstructure:"electionTimeout" kind:"milliseconds 50ms 50s"`
	// Volume is the data volume of each member.
	Volume Volume `mapstructure:"volume"`
	// Backup uploads snapshots of the data to object storage.
	Backup Backup `mapstructure:"backup"`
	// Snapshot that replaces the data of etcd: [Restore](operations.md#restore). The name of an object in
	// `etcd.backup.container`, or a local file, whose path contains `/`. Remove the value
	// after the restore.
	// Default: none
	// Example: prod-20270131T120000Z.db
	Restore string `mapstructure:"restore" kind:"optional snapshot"`
}

// Backup is the upload of snapshots to a Swift container.
type Backup struct {
	// Swift container of [the snapshots](operations.md#back-up-and-restore-etcd): up to 63 letters, digits, `-` and `_`.
	// Pulumi creates it, unless it exists. A new cluster starts only if the container has [no snapshots with the name of
	// the cluster](operations.md#the-container-has-snapshots-or-does-not-answer). `storage.onDestroy: delete` deletes it
	// with all its objects.
	// Default: none: no backups
	// Example: prod-etcd
	Container string `mapstructure:"container" kind:"optional container"`
	// Time between two snapshots, from 1m to 24h.
	Interval time.Duration `mapstructure:"interval" kind:"duration 1m 24h"`
	// Number of snapshots to keep. Older ones are deleted.
	Keep int `mapstructure:"keep" kind:"number 1 10000"`
	// Roles of the application credential with which etcd machines write to the container. Swift must allow one of them to
	// write (`operator_roles`), and the user who runs Pulumi must have them.
	// Default: `[member]`
	// Example: [swiftoperator]
	Roles []string `mapstructure:"roles" kind:"text a role"`
	// ApplicationCredential is the one of etcd machines, if it exists.
	ApplicationCredential ApplicationCredential `mapstructure:"applicationCredential"`
}

// Volume is a Cinder volume.
type Volume struct {
	// Size of the data volume of each member in GiB. The quota of etcd is 8 GiB. A defragmentation needs space for a
	// second copy of the data. [A restore](operations.md#restore) needs space for three: 24 GiB with a full quota.
	Size int `mapstructure:"size" kind:"number 1 65536"`
	// Name of the Cinder volume type.
	// Default: none: Cinder's default
	// Example: ssd
	Type string `mapstructure:"type" kind:"optional text a volume type"`
	// Cinder zone of the volumes for each zone of `etcd.zones`, if Cinder's zones have other names. Without it, a new
	// volume is in the zone of its machine if `storage.topology` is true, otherwise in Cinder's default zone. A change
	// applies only to new volumes.
	// Default: none
	// Example: {az1: cinder-az1}
	Zones map[string]string `mapstructure:"zones" keys:"label" kind:"label"`
	// Device of the volume on the machine, for hypervisors that do not pass the IDs of volumes to machines: [the volume is
	// not found](operations.md#the-volume-of-an-etcd-member-is-not-found). If the device is blank, the machine formats it.
	// A change replaces the members one at a time.
	// Default: none: found by the volume's ID
	// Example: /dev/vdb
	Device string `mapstructure:"device" kind:"optional device"`
}

// Pool is a named group of workers.
type Pool struct {
	// Name of the pool: lower-case letters, digits and `-`. It is part of the hostnames, and the label
	// `kubernetes-openstack/pool` of the nodes.
	// Default: required
	// Example: general
	Name      string `mapstructure:"name" kind:"name"`
	NodeGroup `mapstructure:",squash"`
	// Maximum number of healthy machines replaced at once: [order of changes](bootstrap.md#order-of-changes).
	// Default: `1`
	// Example: 2
	MaxUnavailable int `mapstructure:"maxUnavailable" kind:"number 1 10000"`
}

// Artifacts configures the downloads of the machines.
type Artifacts struct {
	// URL of a [mirror](airgap.md) of all downloads. Machines add the host and path of the original location:
	// MIRROR/github.com/etcd-io/….
	// Default: none; required with `artifacts.username`
	// Example: https://mirror.example.com/releases
	Mirror string `mapstructure:"mirror" kind:"optional url http https"`
	// Name of the user of `artifacts.mirror`, without `:`. All machines have the password, so use an account that can only
	// read. The mirrors of `artifacts.registryMirrors` get no credentials.
	// Default: none; required with `artifacts.password`
	// Example: machines
	Username string `mapstructure:"username" kind:"optional text a user"`
	// Password of the user. A change replaces all machines. Set it with `pulumi config set --secret --path`.
	// Default: none; required with `artifacts.username`
	// Example: {secure: v1:…}
	Password Secret `mapstructure:"password" kind:"optional password"`
	// CA certificates in PEM form that machines trust in addition to public authorities. Examples are the CAs of mirrors,
	// and the CA of a proxy that decrypts TLS. A change replaces the machines.
	// Default: none
	// Example: "-----BEGIN CERTIFICATE-----…"
	CACertificate string `mapstructure:"caCertificate" kind:"optional certificates"`
	// SHA-256 checksums of files by name, for versions without a pinned checksum and for files that differ from the
	// published ones.
	// Default: none
	// Example: {etcd: ffe840ff9295808e88cce2794a18a5ac87f12a5203c8314d0bf6aa119b41bac5}
	Checksums map[string]string `mapstructure:"checksums" keys:"artifact" kind:"sha256"`
	// URL of the mirror of each registry for image pulls.
	// Default: none
	// Example: {registry.k8s.io: "https://mirror.example.com/registry.k8s.io"}
	RegistryMirrors map[string]string `mapstructure:"registryMirrors" keys:"registry" kind:"url http https"`
}

// Proxy is an HTTP proxy through which machines and controllers reach other hosts.
type Proxy struct {
	// URL of the proxy for http. A change replaces the machines.
	// Default: none
	// Example: http://proxy.example.com:3128
	HTTP string `mapstructure:"http" kind:"optional url http https"`
	// URL of the proxy for https, usually the same. A change replaces the machines.
	// Default: none
	// Example: http://proxy.example.com:3128
	HTTPS string `mapstructure:"https" kind:"optional url http https"`
	// Hosts that are reached without the proxy, in addition to the addresses of the cluster: names, domains such as
	// `.example.com`, IPv4 addresses and CIDRs. curl of CentOS Stream 9 is older than 7.86, so it does not support CIDRs.
	// A change replaces the machines.
	// Default: none
	// Example: [.example.com, 192.0.2.0/24]
	NoProxy []string `mapstructure:"noProxy" kind:"noProxy"`
}

// Policy configures the rules of package policy.
type Policy struct {
	// [Rules](policy.md#rules) that the stack breaks on purpose, and the reason for each. A waiver of a rule that the
	// stack does not break is an error.
	// Default: none
	// Example: {image-by-name: the cloud replaces its images}
	Waivers map[string]string `mapstructure:"waivers" keys:"rule" kind:"reason"`
}

// Prices are the prices of OpenStack per month.
type Prices struct {
	// Currency of the prices.
	// Default: none
	// Example: EUR
	Currency string `mapstructure:"currency" kind:"optional text a currency"`
	// Price of an instance by its flavor.
	// Default: none
	// Example: {c8.xlarge: 240.5}
	Flavors map[string]float64 `mapstructure:"flavors" keys:"text a flavor" kind:"price"`
	// Price of a GiB by its volume type. The name of Cinder's default is `default`.
	// Default: none
	// Example: {default: 0.04, ssd: 0.1}
	Volumes map[string]float64 `mapstructure:"volumes" keys:"text a volume type" kind:"price"`
	// Price of a floating IP.
	// Default: none
	// Example: 3
	FloatingIP float64 `mapstructure:"floatingIP" kind:"price"`
}

// Defaults returns the values of keys that the user does not set. Addresses, flavors and the image have no default,
// because they depend on the cloud.
func Defaults(stack string) Config {
	return Config{
		Name: stack,
		SSH:  SSH{KeyPair: true},
		Network: Network{
			Mode:         TenantNetwork,
			PodCIDR:      netip.MustParsePrefix("10.244.0.0/16"),
			ServiceCIDR:  netip.MustParsePrefix("10.96.0.0/16"),
			PortSecurity: true,
		},
		Calico:    Calico{Version: "3.28.5", Encapsulation: NoEncapsulation, BlockSize: 26},
		BGP:       BGP{ASNumber: 64512},
		DNS:       DNS{Provider: SkyDNS, Replicas: 2},
		OpenStack: OpenStack{Interface: "public", Credential: "1", LoadBalancer: NoLoadBalancer},
		Storage:   Storage{OnDestroy: Keep, Topology: true, AttachLimit: 20},
		Tenancy: Tenancy{
			Settings: tenancy.Settings{Authorizer: tenancy.RBAC, OnProjectDelete: tenancy.CloseNamespace},
			Interval: time.Minute,
			Reader:   Reader{Domain: "Default"},
		},
		Monitoring: Monitoring{RetentionDays: 15, VolumeSize: 20},
		API:        API{LoadBalancer: Keepalived},
		Kubernetes: Kubernetes{Version: "1.36.3", ProxyMode: ProxyNFTables},
		Etcd: Etcd{
			Group: Group{Count: 3}, Version: "3.6.14", Volume: Volume{Size: 20},
			HeartbeatInterval: 100 * time.Millisecond, ElectionTimeout: time.Second,
			Backup: Backup{Interval: time.Hour, Keep: 24},
		},
		ControlPlane:      NodeGroup{Group: Group{Count: 3}},
		ServerGroupPolicy: "soft-anti-affinity",
		Protect:           true,
		BootstrapTimeout:  15 * time.Minute,
	}
}

// poolDefaults returns the values of the keys that the user does not set in a pool.
func poolDefaults() Pool { return Pool{MaxUnavailable: 1} }
