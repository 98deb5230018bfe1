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

	"kubernetes-openstack/internal/field"
)

// reservedAddresses is the number of addresses at the start of a tenant network that no group may use. They include the
// gateway (1), Neutron's DHCP and service ports (2–9) and the API (10 by default).
const reservedAddresses = 16

// Validate returns all errors in the configuration. It does not check what depends on the cloud: flavors, zones, volume
// types and quotas. OpenStack rejects wrong ones when the program creates the resources.
func (c Config) Validate() field.Errors {
	var e field.Errors
	c.validateName(&e)
	if c.Region != "" {
		labelValue(&e, "region", c.Region)
	}
	c.validateImage(&e)
	c.SSH.validate(&e)
	c.validateNetwork(&e)
	c.validateCalico(&e)
	c.validateBGP(&e)
	c.validateEndpoints(&e)
	c.validateDNS(&e)
	c.validateOpenStack(&e)
	c.Storage.validate(&e)
	c.validateTenancy(&e)
	c.validateAPI(&e)
	c.validateVersions(&e)
	c.validateEtcd(&e)
	c.validateBackup(&e)
	c.validateControlPlane(&e)
	c.validatePools(&e)
	c.validateAddresses(&e)
	c.Artifacts.validate(&e)
	oneOf(&e, "serverGroupPolicy", c.ServerGroupPolicy, "soft-anti-affinity", "anti-affinity")
	if c.BootstrapTimeout <= 0 {
		e.Add("bootstrapTimeout", "must be a positive duration such as 15m, not %s", c.BootstrapTimeout)
	}
	return e
}

// validateName checks the hostnames of all machines, which are also the names of the Kubernetes Nodes.
func (c Config) validateName(e *field.Errors) {
	if !isDNSLabel(c.Name) {
		e.Add("name", invalidDNSLabel, "prod-1", c.Name)
		return
	}
	for _, g := range c.groups() {
		if host := machineID(c.Name, g.name, max(g.Count-1, 0)); len(host) > validation.DNS1123LabelMaxLength {
			e.Add("name", "must be shorter: the hostname %s has more than %d characters", host,
				validation.DNS1123LabelMaxLength)
			return
		}
	}
}

func (c Config) validateImage(e *field.Errors) {
	if (c.Image.ID == "") == (c.Image.Name == "") {
		e.Add("image", "must have exactly one of id and name")
	}
}

func (s SSH) validate(e *field.Errors) {
	if s.PublicKey == "" {
		return
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.PublicKey)); err != nil {
		e.Add("ssh.publicKey", "must be a public key in the format of authorized_keys, such as ssh-ed25519 AAAA…")
	}
}

func (c Config) validateNetwork(e *field.Errors) {
	n := c.Network
	switch n.Mode {
	case TenantNetwork:
		required(e, "network.external.id", n.External.ID, "the ID of the external network of the router")
		if c.API.FloatingIP {
			required(e, "network.external.name", n.External.Name,
				"the name of the external network, because api.floatingIP is true")
		}
		forbidden(e, "network.networkID", n.NetworkID, "when network.mode is tenant")
		forbidden(e, "network.subnetID", n.SubnetID, "when network.mode is tenant")
	case ProviderNetwork:
		required(e, "network.networkID", n.NetworkID, "the ID of the existing network")
		required(e, "network.subnetID", n.SubnetID, "the ID of the existing subnet")
		forbidden(e, "network.external.id", n.External.ID, "when network.mode is provider")
		forbidden(e, "network.external.name", n.External.Name, "when network.mode is provider")
		if len(n.DNSServers) > 0 {
			e.Add("network.dnsServers", "cannot be set when network.mode is provider, because the subnet sets DNS servers")
		}
		if c.API.FloatingIP {
			e.Add("api.floatingIP", "cannot be true when network.mode is provider, because floating IPs need a router")
		}
	default:
		oneOf(e, "network.mode", n.Mode, TenantNetwork, ProviderNetwork)
	}

	ranges := c.ranges()
	for i, a := range ranges {
		if !a.prefix.IsValid() {
			e.Add(a.path, "must be set to an IPv4 CIDR such as 10.0.0.0/24")
			continue
		}
		for _, special := range specialRanges {
			if a.prefix.Overlaps(special.prefix) {
				e.Add(a.path, "%s overlaps %s, the range of %s addresses", a.prefix, special.prefix, special.kind)
			}
		}
		for _, b := range ranges[:i] {
			if b.prefix.IsValid() && a.prefix.Overlaps(b.prefix) {
				e.Add(a.path, "%s overlaps %s %s", a.prefix, b.path, b.prefix)
			}
		}
	}
	if pairs := len(c.AddressPairs(RoleControlPlane)); pairs > maxAddressPairs {
		e.Add(ranges[len(ranges)-1].path,
			"%d allowed address pairs are needed on each control plane's port, but Neutron's limit is %d "+
				"(max_allowed_address_pair): merge ranges",
			pairs, maxAddressPairs)
	}
	if n.CIDR.IsValid() && (n.CIDR.Bits() < 8 || n.CIDR.Bits() > 27) {
		e.Add("network.cidr", "must be between /8 and /27, not /%d", n.CIDR.Bits())
	}
	// kube-apiserver rejects a range of more than 20 bits. Cluster DNS has the tenth address.
	if n.ServiceCIDR.IsValid() && (n.ServiceCIDR.Bits() < 12 || n.ServiceCIDR.Bits() > 28) {
		e.Add("network.serviceCIDR", "must be between /12 and /28, not /%d", n.ServiceCIDR.Bits())
	}
}

// specialRanges are ranges that routers do not forward. The metadata service has a link-local address.
var specialRanges = []struct {
	prefix netip.Prefix
	kind   string
}{
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/3"), "multicast and reserved"},
}

// addressRange is a range of addresses of the cluster itself.
type addressRange struct {
	// path in the user's YAML
	path   string
	prefix netip.Prefix
	// exportKind is ExportPods or ExportServices. It is empty for a range that nodes do not announce.
	exportKind string
}

// machineRangePath is the path of the machines' range.
const machineRangePath = "network.cidr"

// ranges returns all ranges of addresses of the cluster itself.
func (c Config) ranges() []addressRange {
	n := c.Network
	out := []addressRange{
		{machineRangePath, n.CIDR, ""},
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

func (c Config) validateDNS(e *field.Errors) {
	oneOf(e, "dns.provider", c.DNS.Provider, SkyDNS, CoreDNS)
	if c.DNS.Replicas < 2 {
		e.Add("dns.replicas", "must be at least 2, not %d, so that names resolve when one replica fails", c.DNS.Replicas)
	}
	seen := map[string]bool{}
	for i, stub := range c.DNS.StubDomains {
		path := fmt.Sprintf("dns.stubDomains[%d]", i)
		if len(validation.IsDNS1123Subdomain(stub.Domain)) > 0 {
			e.Add(path+".domain", "must be a domain in lower case such as corp.example.com, not %q", stub.Domain)
		} else if seen[stub.Domain] || stub.Domain == clusterDomain || strings.HasSuffix(stub.Domain, "."+clusterDomain) {
			e.Add(path+".domain", "must be unique and not within %s, got %s", clusterDomain, stub.Domain)
		}
		seen[stub.Domain] = true
		if len(stub.Servers) == 0 {
			e.Add(path+".servers", "must be set to the addresses of DNS servers")
		}
		validateServers(e, path+".servers", stub.Servers)
	}
	validateServers(e, "dns.upstreamNameservers", c.DNS.UpstreamNameservers)
}

// clusterDomain is the domain of all clusters.
const clusterDomain = "cluster.local"

// validateServers checks addresses of DNS servers with optional ports.
func validateServers(e *field.Errors, path string, servers []string) {
	for i, s := range servers {
		_, addressErr := netip.ParseAddr(s)
		_, portErr := netip.ParseAddrPort(s)
		if addressErr != nil && portErr != nil {
			e.Add(fmt.Sprintf("%s[%d]", path, i),
				"must be an IP address with an optional port such as 192.0.2.53:5353, not %q", s)
		}
	}
}

func (c Config) validateAPI(e *field.Errors) {
	oneOf(e, "api.loadBalancer", c.API.LoadBalancer, Keepalived, Octavia)
	if c.API.LoadBalancer == Octavia && c.Devcloud {
		e.Add("api.loadBalancer", "cannot be octavia on devcloud, which has no Octavia: use keepalived")
	}
	if proxy := c.API.Proxy; proxy != "" && !isURL(proxy, "http", "https", "socks5") {
		e.Add("api.proxy", "must be a URL such as http://proxy.example.com:3128, not %q", proxy)
	}
	if !c.API.Address.IsValid() {
		if c.Network.Mode == ProviderNetwork {
			e.Add("api.address", "must be set to a free address of network.cidr")
		}
		return
	}
	if cidr := c.Network.CIDR; cidr.IsValid() && !cidr.Contains(c.API.Address) {
		e.Add("api.address", "%s is not in network.cidr %s", c.API.Address, cidr)
		return
	}
	for _, g := range c.groups() {
		if g.Addresses.IsValid() && g.Addresses.Contains(c.API.Address) {
			e.Add("api.address", "%s is within %s.addresses %s: use an address outside of all groups", c.API.Address,
				g.path, g.Addresses)
		}
	}
	c.Network.validateNotReserved(e, "api.address", c.API.Address)
}

// validateNotReserved checks that a is not the gateway and not in Neutron's allocation pool of a tenant network.
func (n Network) validateNotReserved(e *field.Errors, path string, a netip.Addr) {
	if n.Mode != TenantNetwork || !n.CIDR.IsValid() {
		return
	}
	first, last := n.allocationPool()
	if gateway := n.gateway(); a == gateway || first.Compare(a) <= 0 && a.Compare(last) <= 0 {
		e.Add(path, "%s is reserved: %s–%s are for the gateway and for ports that Neutron creates", a, gateway, last)
	}
}

func (c Config) validateVersions(e *field.Errors) {
	oneOf(e, "kubernetes.proxyMode", c.Kubernetes.ProxyMode, ProxyNFTables, ProxyIPTables)
	errorsBefore := len(*e)
	kubernetes, etcd := minor(c.Kubernetes.Version), minor(c.Etcd.Version)
	supportedEtcd := etcdVersions[kubernetes]
	if supportedEtcd == nil {
		e.Add("kubernetes.version", unsupportedVersion, orList(slices.Sorted(maps.Keys(etcdVersions))),
			Defaults("").Kubernetes.Version, c.Kubernetes.Version)
	}
	switch oldest := oldestEtcdPatch[etcd]; {
	case oldest == "":
		e.Add("etcd.version", unsupportedVersion, orList(slices.Sorted(maps.Keys(oldestEtcdPatch))),
			Defaults("").Etcd.Version, c.Etcd.Version)
	case supportedEtcd != nil && !slices.Contains(supportedEtcd, etcd):
		e.Add("etcd.version", "%s is not supported with Kubernetes %s: use %s", c.Etcd.Version, c.Kubernetes.Version,
			orList(supportedEtcd))
	case older(c.Etcd.Version, oldest):
		e.Add("etcd.version", "%s has a known vulnerability: use %s or later", c.Etcd.Version, oldest)
	}
	if !slices.Contains(calicoVersions, minor(c.Calico.Version)) {
		e.Add("calico.version", unsupportedVersion, orList(calicoVersions), Defaults("").Calico.Version, c.Calico.Version)
	}
	if len(*e) > errorsBefore {
		return // unsupported versions have no checksums
	}
	seen := map[string]bool{}
	for _, role := range Roles {
		for _, a := range c.artifacts(role) {
			if a.SHA256 == "" && !seen[a.Name] {
				e.Add("artifacts.checksums."+a.Name, "must be set to the sha256 of %s %s, because none is pinned", a.Name,
					a.Version)
			}
			seen[a.Name] = true
		}
	}
}

func (c Config) validateControlPlane(e *field.Errors) {
	c.ControlPlane.validate(e, "controlPlane")
	if c.ControlPlane.Count > maxControlPlanes {
		e.Add("controlPlane.count", "must be at most %d, not %d", maxControlPlanes, c.ControlPlane.Count)
	}
	for i, taint := range c.ControlPlane.Taints {
		if taint.Key == controlPlaneTaint.Key && taint.Effect == controlPlaneTaint.Effect {
			e.Add(fmt.Sprintf("controlPlane.taints[%d]", i), "must be removed: every control plane already has this taint")
		}
	}
}

func (c Config) validateEtcd(e *field.Errors) {
	count := c.Etcd.Count
	switch {
	case count < 1 || count > 7:
		e.Add("etcd.count", "must be 1, 3, 5 or 7, not %d", count)
	case count%2 == 0:
		e.Add("etcd.count", "must be odd: %d members tolerate no more failures than %d", count, count-1)
	}
	c.Etcd.Group.validate(e, "etcd")
	if c.Etcd.Volume.Size < 1 {
		e.Add("etcd.volume.size", "must be at least 1 (GiB), not %d", c.Etcd.Volume.Size)
	}
}

func (c Config) validatePools(e *field.Errors) {
	if len(c.Pools) == 0 {
		e.Add("pools", "must have at least one pool of workers")
	}
	seen := map[string]int{}
	for i, p := range c.Pools {
		path := fmt.Sprintf("pools[%d]", i)
		switch first, duplicate := seen[p.Name]; {
		case !isDNSLabel(p.Name):
			e.Add(path+".name", invalidDNSLabel, "worker", p.Name)
		case p.Name == string(RoleEtcd) || p.Name == string(RoleControlPlane):
			e.Add(path+".name", "%q is reserved for another group of machines: use another name", p.Name)
		case strings.HasPrefix(p.Name, string(RoleControlPlane)+"-"):
			// By this prefix the cluster decides which bootstrap token may request the certificate of a node.
			e.Add(path+".name", "must not begin with %s-, which is reserved for control planes", RoleControlPlane)
		case duplicate:
			e.Add(path+".name", "%q is also the name of pools[%d]: use another name", p.Name, first)
		default:
			seen[p.Name] = i
		}
		p.validate(e, path)
		if p.MaxUnavailable < 1 {
			e.Add(path+".maxUnavailable", "must be at least 1, not %d", p.MaxUnavailable)
		}
	}
}

// validate checks a group of machines without the other groups.
func (g Group) validate(e *field.Errors, path string) {
	if g.Count < 1 && path != "etcd" {
		e.Add(path+".count", "must be at least 1, not %d", g.Count)
	}
	required(e, path+".flavor", g.Flavor, "the name of a flavor")
	if !g.Addresses.IsValid() {
		e.Add(path+".addresses", "must be set to a block of network.cidr for this group, such as 10.0.0.16/28")
	} else if size := 1 << (32 - g.Addresses.Bits()); g.Count > size {
		e.Add(path+".addresses", "%s has %d addresses for %d machines: use a larger block", g.Addresses, size, g.Count)
	}
	for i, zone := range g.Zones {
		if zone == "" {
			e.Add(fmt.Sprintf("%s.zones[%d]", path, i), "must be set to the name of an availability zone")
		}
	}
}

// validate checks a group of Kubernetes nodes without the other groups.
func (g NodeGroup) validate(e *field.Errors, path string) {
	g.Group.validate(e, path)
	for i, zone := range g.Zones {
		if zone != "" {
			labelValue(e, fmt.Sprintf("%s.zones[%d]", path, i), zone)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(g.Labels)) {
		path := fmt.Sprintf("%s.labels[%s]", path, key)
		if !isLabelKey(key) {
			e.Add(path, invalidLabelKey, key)
		} else if key == poolLabel || key == zoneLabel || key == regionLabel {
			e.Add(path, "must be removed: the program sets it from the pool's name, zones and the region")
		} else if allowed := allowedLabelKey(key); allowed != key {
			e.Add(path, "kubelet cannot set it on its own Node (NodeRestriction): use %s", allowed)
		}
		labelValue(e, path, g.Labels[key])
	}
	seen := map[Taint]string{}
	for i, taint := range g.Taints {
		path := fmt.Sprintf("%s.taints[%d]", path, i)
		if !isLabelKey(taint.Key) {
			e.Add(path+".key", invalidLabelKey, taint.Key)
		}
		labelValue(e, path+".value", taint.Value)
		oneOf(e, path+".effect", taint.Effect, "NoSchedule", "PreferNoSchedule", "NoExecute")
		withoutValue := Taint{Key: taint.Key, Effect: taint.Effect}
		if first, duplicate := seen[withoutValue]; duplicate {
			e.Add(path, "must be removed: it has the same key and effect as %s", first)
		} else {
			seen[withoutValue] = path
		}
	}
}

// allowedLabelKey returns key if the admission plugin NodeRestriction allows a kubelet to set it on its own Node. Else
// it returns a similar key that is allowed. NodeRestriction allows only two of Kubernetes' own domains, so that a node
// cannot set labels that select it for sensitive workloads.
func allowedLabelKey(key string) string {
	domain, name, found := strings.Cut(key, "/")
	if !found {
		return key
	}
	within := func(parent string) bool { return domain == parent || strings.HasSuffix(domain, "."+parent) }
	switch {
	case within("node-restriction.kubernetes.io"):
	case within("kubelet.kubernetes.io"), within("node.kubernetes.io"):
		return key
	case !within("kubernetes.io") && !within("k8s.io"):
		return key
	}
	return "node.kubernetes.io/" + name
}

// validateAddresses checks that the groups' blocks are within the network and do not overlap.
func (c Config) validateAddresses(e *field.Errors) {
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
			e.Add(path, "%s is not within network.cidr %s", block, cidr)
			continue
		case c.Network.Mode == TenantNetwork && block.Contains(address(cidr, reservedAddresses-1)),
			c.Network.Mode == TenantNetwork && block.Addr().Less(address(cidr, reservedAddresses)):
			e.Add(path, "%s overlaps the first %d addresses of network.cidr, which are reserved: begin at %s or later", block,
				reservedAddresses, address(cidr, reservedAddresses))
		case block.Addr() == cidr.Addr():
			e.Add(path, "%s contains the network address of network.cidr: use a later block", block)
		case g.Count > 0 && address(block, g.Count-1) == broadcast(cidr):
			e.Add(path, "%s gives a machine the broadcast address %s: use an earlier or larger block", block,
				broadcast(cidr))
		}
		for _, other := range groups[:i] {
			if other.Addresses.IsValid() && block.Overlaps(other.Addresses) {
				e.Add(path, "%s overlaps %s.addresses %s", block, other.path, other.Addresses)
			}
		}
	}
}

var (
	sha256Hex    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	registryName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?$`)
)

func (a Artifacts) validate(e *field.Errors) {
	if a.Mirror != "" && !isURL(a.Mirror, "http", "https") {
		e.Add("artifacts.mirror", "must be a URL such as https://mirror.example.com/releases, not %q", a.Mirror)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Checksums)) {
		path := "artifacts.checksums." + name
		if !slices.Contains(ArtifactNames(), name) {
			e.Add(path, "is not an artifact: use %s", orList(ArtifactNames()))
		} else if !sha256Hex.MatchString(a.Checksums[name]) {
			e.Add(path, "must be a sha256 of 64 lower-case hexadecimal digits")
		}
	}
	for _, registry := range slices.Sorted(maps.Keys(a.RegistryMirrors)) {
		path := fmt.Sprintf("artifacts.registryMirrors[%s]", registry)
		if !registryName.MatchString(registry) {
			e.Add(path, "must be a registry's host name, such as registry.k8s.io")
		}
		if mirror := a.RegistryMirrors[registry]; !isURL(mirror, "http", "https") {
			e.Add(path, "must be a URL such as https://mirror.example.com/registry.k8s.io, not %q", mirror)
		}
	}
}

const invalidLabelKey = "must be a valid label key such as example.com/disk, not %q"

func isLabelKey(key string) bool { return len(validation.IsQualifiedName(key)) == 0 }

func labelValue(e *field.Errors, path, value string) {
	if len(validation.IsValidLabelValue(value)) > 0 {
		e.Add(path, "must be a valid label value (up to %d letters, digits, '-', '_' and '.'), not %q",
			validation.LabelValueMaxLength, value)
	}
}

// isURL rejects white space and quotes, because templates write URLs into files without quotes.
func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && slices.Contains(schemes, u.Scheme) && u.Host != "" && !strings.ContainsAny(text, " \t\n\"'")
}

func oneOf(e *field.Errors, path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		e.Add(path, "must be %s, not %q", orList(allowed), value)
	}
}

// optionalOneOf is oneOf for an optional value.
func optionalOneOf(e *field.Errors, path, value string, allowed ...string) {
	if value != "" {
		oneOf(e, path, value, allowed...)
	}
}

// orList joins alternatives: "a, b or c".
func orList(items []string) string {
	last := len(items) - 1
	if last < 1 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:last], ", ") + " or " + items[last]
}

// unsupportedVersion takes the supported minor versions, the default version and the value.
const unsupportedVersion = "must be a version of %s, such as %s, not %q"

// invalidDNSLabel takes an example and the value.
const invalidDNSLabel = "must be a DNS label (lower-case letters, digits and '-') such as %s, not %q"

func isDNSLabel(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

func required(e *field.Errors, path, value, meaning string) {
	if value == "" {
		e.Add(path, "must be set to %s", meaning)
	}
}

func forbidden(e *field.Errors, path, value, condition string) {
	if value != "" {
		e.Add(path, "cannot be set %s", condition)
	}
}
