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

// Validate is everything wrong with the configuration. What only the cloud knows (flavors, zones, volume types,
// quotas) is the cloud's to refuse.
func (c Config) Validate() Errors {
	var e Errors
	c.validateName(&e)
	if c.Region != "" {
		labelValue(&e, "region", c.Region)
	}
	c.validateImage(&e)
	c.SSH.validate(&e)
	c.validateNetwork(&e)
	c.validateCalico(&e)
	c.validateBGP(&e)
	c.validateDNS(&e)
	c.validateOpenStack(&e)
	c.Storage.validate(&e)
	c.validateTenancy(&e)
	c.validateAPI(&e)
	c.validateVersions(&e)
	c.validateEtcd(&e)
	c.validateControlPlane(&e)
	c.validatePools(&e)
	c.validateAddresses(&e)
	c.Artifacts.validate(&e)
	if policies := []string{"soft-anti-affinity", "anti-affinity"}; !slices.Contains(policies, c.ServerGroupPolicy) {
		e.add("serverGroupPolicy", "must be one of %s, not %q", strings.Join(policies, ", "), c.ServerGroupPolicy)
	}
	if c.BootstrapTimeout <= 0 {
		e.add("bootstrapTimeout", "must be longer than nothing, such as 15m")
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
		oneOf(e, "network.mode", n.Mode, TenantNetwork, ProviderNetwork)
	}

	ranges := c.ranges()
	for i, a := range ranges {
		if !a.prefix.IsValid() {
			e.add(a.path, "must be set to an IPv4 CIDR such as 10.0.0.0/24")
			continue
		}
		for _, never := range notRouted {
			if a.prefix.Overlaps(never) {
				e.add(a.path, "%s overlaps %s, which is never routed", a.prefix, never)
			}
		}
		for _, b := range ranges[:i] {
			if b.prefix.IsValid() && a.prefix.Overlaps(b.prefix) {
				e.add(a.path, "%s overlaps %s %s", a.prefix, b.path, b.prefix)
			}
		}
	}
	if pairs := len(c.AddressPairs(RoleControlPlane)); pairs > maxAddressPairs {
		e.add(ranges[len(ranges)-1].path,
			"is one of %d addresses and ranges that a node's port must let through, and Neutron lets it be %d "+
				"(max_allowed_address_pair): put ranges together",
			pairs, maxAddressPairs)
	}
	if n.CIDR.IsValid() && (n.CIDR.Bits() < 8 || n.CIDR.Bits() > 27) {
		e.add("network.cidr", "must be between /8 and /27, not /%d", n.CIDR.Bits())
	}
	// kube-apiserver refuses more than 20 bits of Service addresses; DNS lives at the tenth.
	if n.ServiceCIDR.IsValid() && (n.ServiceCIDR.Bits() < 12 || n.ServiceCIDR.Bits() > 28) {
		e.add("network.serviceCIDR", "must be between /12 and /28, not /%d", n.ServiceCIDR.Bits())
	}
}

// notRouted are the metadata service's and other link-local addresses, a machine's own, multicast and beyond.
var notRouted = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
}

// addressRange is a range of addresses that the cluster has for itself.
type addressRange struct {
	// path into the user's YAML
	path   string
	prefix netip.Prefix
	// export is what it is to peers (pods or services), empty where it is not announced.
	export string
}

const machinesRange = "network.cidr"

func (c Config) ranges() []addressRange {
	n := c.Network
	out := []addressRange{
		{machinesRange, n.CIDR, ""},
		{"network.podCIDR", n.PodCIDR, ExportPods},
		{"network.serviceCIDR", n.ServiceCIDR, ExportServices},
	}
	for i, p := range n.ServiceExternalIPs {
		out = append(out, addressRange{fmt.Sprintf("network.serviceExternalIPs[%d]", i), p, ExportServices})
	}
	for i, p := range n.ServiceLoadBalancerIPs {
		out = append(out, addressRange{fmt.Sprintf("network.serviceLoadBalancerIPs[%d]", i), p, ExportServices})
	}
	return out
}

func (r addressRange) contains(p netip.Prefix) bool {
	return r.prefix.IsValid() && p.IsValid() && r.prefix.Bits() <= p.Bits() && r.prefix.Contains(p.Addr())
}

func (c Config) validateDNS(e *Errors) {
	oneOf(e, "dns.provider", c.DNS.Provider, SkyDNS, CoreDNS)
	if c.DNS.Provider == SkyDNS && c.Devcloud {
		e.add("dns.provider", "cannot be skydns: devcloud has no image of it")
	}
	if c.DNS.Replicas < 2 {
		e.add("dns.replicas", "must be at least 2, not %d: names resolve while one is away", c.DNS.Replicas)
	}
}

func (c Config) validateAPI(e *Errors) {
	oneOf(e, "api.loadBalancer", c.API.LoadBalancer, Keepalived, Octavia)
	if c.API.LoadBalancer == Octavia && c.Devcloud {
		e.add("api.loadBalancer", "cannot be octavia: devcloud has none")
	}
	if proxy := c.API.Proxy; proxy != "" && !isURL(proxy, "http", "https", "socks5") {
		e.add("api.proxy", "must be a URL such as http://proxy.example.com:3128, not %q", proxy)
	}
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
	c.Network.validateNotNeutrons(e, "api.address", c.API.Address)
}

// validateNotNeutrons checks that an address is none that Neutron has in a tenant network.
func (n Network) validateNotNeutrons(e *Errors, path string, a netip.Addr) {
	if n.Mode != TenantNetwork || !n.CIDR.IsValid() {
		return
	}
	first, last := n.neutronPool()
	if gateway := n.gateway(); a == gateway || first.Compare(a) <= 0 && a.Compare(last) <= 0 {
		e.add(path, "%s is the gateway's or Neutron's own: %s–%s are taken", a, gateway, last)
	}
}

func (c Config) validateVersions(e *Errors) {
	oneOf(e, "kubernetes.proxyMode", c.Kubernetes.ProxyMode, ProxyNFTables, ProxyIPTables)
	before := len(*e)
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
		e.add("etcd.version", "%s does not go with Kubernetes %s: use %s", c.Etcd.Version, c.Kubernetes.Version,
			strings.Join(known, " or "))
	case older(c.Etcd.Version, floor):
		e.add("etcd.version", "%s has a known security hole: use %s or later", c.Etcd.Version, floor)
	}
	if !slices.Contains(calicoVersions, minor(c.Calico.Version)) {
		e.add("calico.version", "must be a version of %s, such as %s, not %q",
			strings.Join(calicoVersions, ", "), Defaults("").Calico.Version, c.Calico.Version)
	}
	if len(*e) > before {
		return // nobody pins what is no version
	}
	seen := map[string]bool{}
	for _, role := range Roles {
		for _, a := range c.artifacts(role) {
			if a.SHA256 == "" && !seen[a.Name] {
				e.add("artifacts.checksums."+a.Name, "must be set: no sha256 of %s %s is pinned", a.Name, a.Version)
			}
			seen[a.Name] = true
		}
	}
}

func (c Config) validateControlPlane(e *Errors) {
	c.ControlPlane.validate(e, "controlPlane")
	if c.ControlPlane.Count > maxControlPlanes {
		e.add("controlPlane.count", "must be at most %d, not %d", maxControlPlanes, c.ControlPlane.Count)
	}
	for i, taint := range c.ControlPlane.Taints {
		if taint.Key == controlPlaneTaint.Key && taint.Effect == controlPlaneTaint.Effect {
			e.add(fmt.Sprintf("controlPlane.taints[%d]", i), "every control plane has this one anyway: leave it out")
		}
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
		case strings.HasPrefix(p.Name, string(RoleControlPlane)+"-"):
			// by their names the cluster tells whose certificate a control plane's token may ask for
			e.add(path+".name", "must not begin with %s-, as only control planes' hostnames do", RoleControlPlane)
		case taken:
			e.add(path+".name", "%q is the name of pools[%d] too", p.Name, first)
		default:
			seen[p.Name] = i
		}
		p.validate(e, path)
		if p.MaxUnavailable != nil && *p.MaxUnavailable < 1 {
			e.add(path+".maxUnavailable", "must be at least 1, not %d: nothing could be replaced", *p.MaxUnavailable)
		}
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

// validate checks what a group of Kubernetes nodes has by itself.
func (g NodeGroup) validate(e *Errors, path string) {
	g.Group.validate(e, path)
	for i, zone := range g.Zones {
		if zone != "" {
			labelValue(e, fmt.Sprintf("%s.zones[%d]", path, i), zone)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(g.Labels)) {
		path := fmt.Sprintf("%s.labels[%s]", path, key)
		if !isLabelKey(key) {
			e.add(path, notALabelKey, key)
		} else if key == poolLabel || key == zoneLabel || key == regionLabel {
			e.add(path, "is set by us: %s, %s, %s follow from the pool's name, its zones and region", poolLabel, zoneLabel,
				regionLabel)
		} else if right := selfLabel(key); right != key {
			e.add(path, "kubelet may not give it to its own Node: %s would be right", right)
		}
		labelValue(e, path, g.Labels[key])
	}
	seen := map[Taint]string{}
	for i, taint := range g.Taints {
		path := fmt.Sprintf("%s.taints[%d]", path, i)
		if !isLabelKey(taint.Key) {
			e.add(path+".key", notALabelKey, taint.Key)
		}
		labelValue(e, path+".value", taint.Value)
		oneOf(e, path+".effect", taint.Effect, "NoSchedule", "PreferNoSchedule", "NoExecute")
		same := Taint{Key: taint.Key, Effect: taint.Effect}
		if first, taken := seen[same]; taken {
			e.add(path, "has the key and the effect of %s too: a Node has one value for both", first)
		} else {
			seen[same] = path
		}
	}
}

// selfLabel is key where NodeRestriction lets a kubelet give it to its own Node, and what would be right where not: all
// of Kubernetes' own domains but two are closed to it, so that no node makes itself one that more is entrusted to.
func selfLabel(key string) string {
	domain, name, found := strings.Cut(key, "/")
	if !found {
		return key
	}
	inside := func(parent string) bool { return domain == parent || strings.HasSuffix(domain, "."+parent) }
	switch {
	case inside("node-restriction.kubernetes.io"):
	case inside("kubelet.kubernetes.io"), inside("node.kubernetes.io"):
		return key
	case !inside("kubernetes.io") && !inside("k8s.io"):
		return key
	}
	return "node.kubernetes.io/" + name
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
			e.add(path, "%s touches the network's own first %d addresses: begin at %s or later", block, reservedAddresses,
				address(cidr, reservedAddresses))
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

var (
	sha256Hex    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	registryName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?$`)
)

func (a Artifacts) validate(e *Errors) {
	if a.Mirror == "" {
		e.add("artifacts.mirror",
			"must be set to the URL of a mirror with the programs of this repository, because nobody else publishes them")
	} else if !isURL(a.Mirror, "http", "https") {
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
	for _, registry := range slices.Sorted(maps.Keys(a.RegistryMirrors)) {
		path := fmt.Sprintf("artifacts.registryMirrors[%s]", registry)
		if !registryName.MatchString(registry) {
			e.add(path, "is no registry: write it as images' names begin, such as registry.k8s.io")
		}
		if mirror := a.RegistryMirrors[registry]; !isURL(mirror, "http", "https") {
			e.add(path, "must be a URL such as https://mirror.example.com/registry.k8s.io, not %q", mirror)
		}
	}
}

const notALabelKey = "must be a label's key such as example.com/disk, not %q"

func isLabelKey(key string) bool { return len(validation.IsQualifiedName(key)) == 0 }

func labelValue(e *Errors, path, value string) {
	if len(validation.IsValidLabelValue(value)) > 0 {
		e.add(path, "must be a label's value: up to %d letters, digits, '-', '_' and '.', not %q",
			validation.LabelValueMaxLength, value)
	}
}

// isURL is for URLs that are written into files as one word.
func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && slices.Contains(schemes, u.Scheme) && u.Host != "" && !strings.ContainsAny(text, " \t\n\"'")
}

func oneOf(e *Errors, path, value string, right ...string) {
	if !slices.Contains(right, value) {
		e.add(path, "must be %s, not %q", strings.Join(right, " or "), value)
	}
}

// optionalOneOf is oneOf for what may be left out.
func optionalOneOf(e *Errors, path, value string, right ...string) {
	if value != "" {
		oneOf(e, path, value, right...)
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
