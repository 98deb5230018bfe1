package cluster

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"k8s.io/apimachinery/pkg/util/validation"
)

// reservedAddresses at the start of a tenant network are the network's own: the gateway (1), Neutron's DHCP and
// service ports (2–9), and the API (10 by default).
const reservedAddresses = 16

// blockSize is the prefix length of the address block that Calico gives each node out of the pod CIDR.
const blockSize = 26

// Validate is everything wrong with the configuration. What only the cloud knows (flavors, zones, volume types,
// quotas) is the cloud's to refuse.
func (c Config) Validate() Errors {
	var e Errors
	c.validateName(&e)
	c.validateImage(&e)
	c.SSH.validate(&e)
	c.validateNetwork(&e)
	c.validateAPI(&e)
	c.validateVersions(&e)
	c.validateEtcd(&e)
	c.ControlPlane.validate(&e, "controlPlane")
	c.validatePools(&e)
	c.validateAddresses(&e)
	c.Artifacts.validate(&e)
	if policies := []string{"soft-anti-affinity", "anti-affinity"}; !slices.Contains(policies, c.ServerGroupPolicy) {
		e.add("serverGroupPolicy", "must be one of %s, not %q", strings.Join(policies, ", "), c.ServerGroupPolicy)
	}
	return e
}

// validateName checks what becomes hostnames, and so Kubernetes node names.
func (c Config) validateName(e *Errors) {
	if !isNodeName(c.Name) {
		e.add("name", notANodeName, c.Name)
		return
	}
	for _, g := range c.groups() {
		if host := machineID(c.Name, g.name, max(g.Count-1, 0)); len(host) > validation.DNS1123LabelMaxLength {
			e.add("name", "makes hostnames like %s longer than %d characters", host, validation.DNS1123LabelMaxLength)
			return
		}
	}
}

func (c Config) validateImage(e *Errors) {
	if (c.Image.ID == "") == (c.Image.Name == "") {
		e.add("image", "must have exactly one of id and name")
	}
}

func (s SSH) validate(e *Errors) {
	if s.PublicKey == "" {
		return
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.PublicKey)); err != nil {
		e.add("ssh.publicKey", "must be a public key as in authorized_keys, such as ssh-ed25519 AAAA…")
	}
}

func (c Config) validateNetwork(e *Errors) {
	n := c.Network
	switch n.Mode {
	case TenantNetwork:
		required(e, "network.external.id", n.External.ID, "the ID of the network that the router leads to")
		if c.API.FloatingIP {
			required(e, "network.external.name", n.External.Name, "the name of the network that api.floatingIP comes from")
		}
		forbidden(e, "network.networkID", n.NetworkID, "network.mode is tenant")
		forbidden(e, "network.subnetID", n.SubnetID, "network.mode is tenant")
	case ProviderNetwork:
		required(e, "network.networkID", n.NetworkID, "the ID of the existing network")
		required(e, "network.subnetID", n.SubnetID, "the ID of the existing subnet")
		forbidden(e, "network.external.id", n.External.ID, "network.mode is provider")
		forbidden(e, "network.external.name", n.External.Name, "network.mode is provider")
		if len(n.DNSServers) > 0 {
			e.add("network.dnsServers", "cannot be set: network.mode is provider, and the subnet has its own")
		}
		if c.API.FloatingIP {
			e.add("api.floatingIP", "cannot be true: network.mode is provider, and floating IPs need a router")
		}
	default:
		e.add("network.mode", "must be %s or %s, not %q", TenantNetwork, ProviderNetwork, n.Mode)
	}

	named := []struct {
		path   string
		prefix netip.Prefix
	}{{"network.cidr", n.CIDR}, {"network.podCIDR", n.PodCIDR}, {"network.serviceCIDR", n.ServiceCIDR}}
	for i, a := range named {
		if !a.prefix.IsValid() {
			e.add(a.path, "must be set to an IPv4 CIDR such as 10.0.0.0/24")
			continue
		}
		for _, b := range named[:i] {
			if b.prefix.IsValid() && a.prefix.Overlaps(b.prefix) {
				e.add(a.path, "%s overlaps %s %s", a.prefix, b.path, b.prefix)
			}
		}
	}
	if n.CIDR.IsValid() && (n.CIDR.Bits() < 8 || n.CIDR.Bits() > 27) {
		e.add("network.cidr", "must be between /8 and /27, not /%d", n.CIDR.Bits())
	}
	// kube-apiserver refuses more than 20 bits of Service addresses; DNS lives at the tenth.
	if n.ServiceCIDR.IsValid() && (n.ServiceCIDR.Bits() < 12 || n.ServiceCIDR.Bits() > 28) {
		e.add("network.serviceCIDR", "must be between /12 and /28, not /%d", n.ServiceCIDR.Bits())
	}
	if n.PodCIDR.IsValid() {
		nodes := c.ControlPlane.Count
		for _, p := range c.Pools {
			nodes += p.Count
		}
		if blocks := 1 << max(0, blockSize-n.PodCIDR.Bits()); n.PodCIDR.Bits() > blockSize || blocks < nodes {
			e.add("network.podCIDR", "%s has too few /%d blocks for %d nodes", n.PodCIDR, blockSize, nodes)
		}
	}
}

func (c Config) validateAPI(e *Errors) {
	if !c.API.Address.IsValid() {
		if c.Network.Mode == ProviderNetwork {
			e.add("api.address", "must be set to a free address of network.cidr")
		}
		return
	}
	if cidr := c.Network.CIDR; cidr.IsValid() && !cidr.Contains(c.API.Address) {
		e.add("api.address", "%s is not in network.cidr %s", c.API.Address, cidr)
		return
	}
	for _, g := range c.groups() {
		if g.Addresses.IsValid() && g.Addresses.Contains(c.API.Address) {
			e.add("api.address", "%s is in %s.addresses %s", c.API.Address, g.path, g.Addresses)
		}
	}
	if c.Network.Mode == TenantNetwork && c.Network.CIDR.IsValid() {
		first, last := c.Network.neutronPool()
		if gateway := c.Network.gateway(); c.API.Address == gateway || first.Compare(c.API.Address) <= 0 && c.API.Address.Compare(last) <= 0 {
			e.add("api.address", "%s is the gateway's or Neutron's own: %s–%s are taken", c.API.Address, gateway, last)
		}
	}
}

func (c Config) validateVersions(e *Errors) {
	kubernetes, etcd := minor(c.Kubernetes.Version), minor(c.Etcd.Version)
	known := etcdFor[kubernetes]
	if known == nil {
		e.add("kubernetes.version", "must be a version of %s, such as %s, not %q",
			strings.Join(slices.Sorted(maps.Keys(etcdFor)), ", "), Defaults("").Kubernetes.Version, c.Kubernetes.Version)
	}
	switch floor := etcdFloor[etcd]; {
	case floor == "":
		e.add("etcd.version", "must be a version of %s, such as %s, not %q",
			strings.Join(slices.Sorted(maps.Keys(etcdFloor)), ", "), Defaults("").Etcd.Version, c.Etcd.Version)
	case known != nil && !slices.Contains(known, etcd):
		e.add("etcd.version", "%s does not go with Kubernetes %s: use %s", c.Etcd.Version, c.Kubernetes.Version, strings.Join(known, " or "))
	case older(c.Etcd.Version, floor):
		e.add("etcd.version", "%s has a known security hole: use %s or later", c.Etcd.Version, floor)
	case c.Artifacts.artifact("etcd", c.Etcd.Version).SHA256 == "":
		e.add("artifacts.checksums.etcd", "must be set: no sha256 of etcd %s is pinned", c.Etcd.Version)
	}
}

func (c Config) validateEtcd(e *Errors) {
	count := c.Etcd.Count
	switch {
	case count < 1 || count > 7:
		e.add("etcd.count", "must be 1, 3, 5 or 7, not %d", count)
	case count%2 == 0:
		e.add("etcd.count", "must be odd: %d members survive no more failures than %d", count, count-1)
	}
	c.Etcd.Group.validate(e, "etcd")
	if c.Etcd.Volume.Size < 1 {
		e.add("etcd.volume.size", "must be at least 1 (GiB), not %d", c.Etcd.Volume.Size)
	}
}

func (c Config) validatePools(e *Errors) {
	if len(c.Pools) == 0 {
		e.add("pools", "must have at least one pool of workers")
	}
	seen := map[string]int{}
	for i, p := range c.Pools {
		path := fmt.Sprintf("pools[%d]", i)
		switch first, taken := seen[p.Name]; {
		case !isNodeName(p.Name):
			e.add(path+".name", notANodeName, p.Name)
		case p.Name == string(RoleEtcd) || p.Name == string(RoleControlPlane):
			e.add(path+".name", "%q is the name of another group of machines", p.Name)
		case taken:
			e.add(path+".name", "%q is the name of pools[%d] too", p.Name, first)
		default:
			seen[p.Name] = i
		}
		p.Group.validate(e, path)
	}
}

// validate checks what a group of machines has by itself.
func (g Group) validate(e *Errors, path string) {
	if g.Count < 1 && path != "etcd" {
		e.add(path+".count", "must be at least 1, not %d", g.Count)
	}
	required(e, path+".flavor", g.Flavor, "the name of a flavor")
	if !g.Addresses.IsValid() {
		e.add(path+".addresses", "must be set to this group's own part of network.cidr, such as 10.0.0.16/28")
	} else if size := 1 << (32 - g.Addresses.Bits()); g.Count > size {
		e.add(path+".addresses", "%s has %d addresses for %d machines", g.Addresses, size, g.Count)
	}
	for i, zone := range g.Zones {
		if zone == "" {
			e.add(fmt.Sprintf("%s.zones[%d]", path, i), "must not be empty")
		}
	}
}

// validateAddresses checks the groups' blocks against the network and each other.
func (c Config) validateAddresses(e *Errors) {
	cidr := c.Network.CIDR
	if !cidr.IsValid() {
		return
	}
	groups := c.groups()
	for i, g := range groups {
		path, block := g.path+".addresses", g.Addresses
		switch {
		case !block.IsValid():
			continue
		case block.Bits() < cidr.Bits() || !cidr.Contains(block.Addr()):
			e.add(path, "%s is not inside of network.cidr %s", block, cidr)
			continue
		case c.Network.Mode == TenantNetwork && block.Contains(address(cidr, reservedAddresses-1)),
			c.Network.Mode == TenantNetwork && block.Addr().Less(address(cidr, reservedAddresses)):
			e.add(path, "%s touches the network's own first %d addresses: begin at %s or later", block, reservedAddresses, address(cidr, reservedAddresses))
		case block.Addr() == cidr.Addr():
			e.add(path, "%s begins with the network's own address", block)
		case g.Count > 0 && address(block, g.Count-1) == last(cidr):
			e.add(path, "%s: its %d. address is the network's broadcast address", block, g.Count)
		}
		for _, other := range groups[:i] {
			if other.Addresses.IsValid() && block.Overlaps(other.Addresses) {
				e.add(path, "%s overlaps %s.addresses %s", block, other.path, other.Addresses)
			}
		}
	}
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (a Artifacts) validate(e *Errors) {
	if u, err := url.Parse(a.Mirror); a.Mirror != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		e.add("artifacts.mirror", "must be a URL such as https://mirror.example.com/releases, not %q", a.Mirror)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Checksums)) {
		path := "artifacts.checksums." + name
		if !slices.Contains(ArtifactNames(), name) {
			e.add(path, "is no artifact: there are %s", strings.Join(ArtifactNames(), ", "))
		} else if !sha256Hex.MatchString(a.Checksums[name]) {
			e.add(path, "must be a sha256 of 64 hexadecimal digits")
		}
	}
}

const notANodeName = "must be lower-case letters, digits and '-' inside, as in Kubernetes node names, not %q"

func isNodeName(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

func required(e *Errors, path, value, what string) {
	if value == "" {
		e.add(path, "must be set to %s", what)
	}
}

func forbidden(e *Errors, path, value, why string) {
	if value != "" {
		e.add(path, "cannot be set: %s", why)
	}
}
