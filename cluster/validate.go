package cluster

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"kubernetes-openstack/internal/field"
)

// reservedAddresses is the number of addresses at the start of a tenant network that no group may use. They include the
// gateway (1), Neutron's DHCP and service ports (2–9) and the API (10 by default).
const reservedAddresses = 16

// validate returns all errors in the configuration except known ones: first those of single values, then those of
// values that do not fit together. It does not check what depends on the cloud: flavors, zones, volume types, quotas.
// OpenStack rejects wrong ones when the program creates the resources. A wrong value has one error. validate removes
// wrong values from c.
func (c *Config) validate(known field.Errors) field.Errors {
	values := c.checkValues(known)
	var e field.Errors
	c.validateName(&e)
	c.validateImage(&e)
	c.validateNetwork(&e)
	c.validateCalico(&e)
	c.validateBGP(&e)
	c.validateOutside(&e, values.hosts)
	c.validateNetworks(&e, values.networks)
	c.validateDNS(&e)
	c.validateOpenStack(&e)
	c.Storage.validate(&e)
	c.Proxy.validate(&e)
	c.validateTenancy(&e)
	c.validateMonitoring(&e)
	c.validateAPI(&e)
	c.validateVersions(&e)
	c.Artifacts.validate(&e)
	c.validateEtcd(&e)
	c.validateBackup(&e)
	c.validateControlPlane(&e)
	c.validatePools(&e)
	c.validateAddresses(&e)
	earlier := slices.Concat(known, values.errs)
	for _, err := range e {
		samePath := func(other field.Error) bool { return other.Path == err.Path }
		if !earlier.Covers(err.Path) && !earlier.Within(err.Path) && !slices.ContainsFunc(values.errs, samePath) {
			values.errs = append(values.errs, err)
		}
	}
	return values.errs
}

// validateName checks the hostnames of all machines, which are also the names of the Kubernetes Nodes.
func (c Config) validateName(e *field.Errors) {
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
	for _, g := range c.groups() {
		if g.RootVolume.Size > 0 && c.Image.ID == "" && c.Image.Name != "" {
			e.Add("image.name", "must be replaced by image.id, because %s.rootVolume is set: Cinder needs the ID of the image",
				g.path)
			return
		}
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
		if !n.PortSecurity {
			e.Add("network.portSecurity", "cannot be false when network.mode is tenant, because the new network has port "+
				"security")
		}
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
	}

	ranges := c.ranges()
	for i, a := range ranges {
		for _, b := range ranges[:i] {
			if a.prefix.IsValid() && b.prefix.IsValid() && a.prefix.Overlaps(b.prefix) {
				e.Add(a.path, "%s overlaps %s %s", a.prefix, b.path, b.prefix)
			}
		}
	}
	if pairs := len(c.AddressPairs(RoleControlPlane)); pairs > maxAddressPairs && n.PortSecurity {
		e.Add(ranges[len(ranges)-1].path,
			"%d allowed address pairs are needed on each control plane's port, but Neutron's limit is %d "+
				"(max_allowed_address_pair): merge ranges",
			pairs, maxAddressPairs)
	}
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

// maxNameservers is the maximum number of upstream name servers of each provider. For CoreDNS it is also that of the
// servers of a stub domain.
var maxNameservers = map[string]int{SkyDNS: 3, CoreDNS: 15}

func (c Config) validateDNS(e *field.Errors) {
	limit := func(path string, servers []string) {
		if most := maxNameservers[c.DNS.Provider]; most > 0 && len(servers) > most {
			e.Add(path, "must have at most %d DNS servers, the maximum of %s, not %d", most, c.DNS.Provider, len(servers))
		}
	}
	limit("dns.upstreamNameservers", c.DNS.UpstreamNameservers)
	first := map[string]int{}
	for i, stub := range c.DNS.StubDomains {
		path := fmt.Sprintf("dns.stubDomains[%d]", i)
		if other, twice := first[stub.Domain]; twice && stub.Domain != "" {
			e.Add(path+".domain", "%s is also the domain of dns.stubDomains[%d]: list all servers in one item", stub.Domain,
				other)
		} else {
			first[stub.Domain] = i
		}
		if len(stub.Servers) == 0 {
			e.Add(path+".servers", "must be set to the addresses of DNS servers")
		}
		if c.DNS.Provider == CoreDNS {
			limit(path+".servers", stub.Servers)
		}
		addresses := reverseZone(stub.Domain)
		if addresses.Overlaps(c.Network.ServiceCIDR) || addresses.Overlaps(c.Network.PodCIDR) {
			e.Add(path+".domain", "must be a domain without addresses of Services (%s) and pods (%s), not %s",
				c.Network.ServiceCIDR, c.Network.PodCIDR, stub.Domain)
		}
	}
}

// reverseZone returns the addresses that a domain such as 10.in-addr.arpa has the names of. For other domains, the
// prefix is invalid.
func reverseZone(domain string) netip.Prefix {
	labels, ok := strings.CutSuffix("."+domain, ".in-addr.arpa")
	parts := strings.Split(labels, ".")[1:]
	if !ok || len(parts) > 4 {
		return netip.Prefix{}
	}
	slices.Reverse(parts)
	var octets [4]byte
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return netip.Prefix{}
		}
		octets[i] = byte(n)
	}
	return netip.PrefixFrom(netip.AddrFrom4(octets), 8*len(parts))
}

func (c Config) validateAPI(e *field.Errors) {
	if c.API.LoadBalancer == Octavia && c.Devcloud {
		e.Add("api.loadBalancer", "cannot be octavia on devcloud, which has no Octavia: use keepalived")
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
	c.Network.validateHost(e, "api.address", c.API.Address)
	c.Network.validateNotReserved(e, "api.address", c.API.Address)
}

// validateVersions checks that the versions fit together, and that each artifact has a checksum.
func (c Config) validateVersions(e *field.Errors) {
	kubernetes, etcd := c.Kubernetes.Version, c.Etcd.Version
	if kubernetes == "" || etcd == "" || c.Calico.Version == "" {
		return // versions that are not supported have no checksums
	}
	if supported := etcdVersions[minor(kubernetes)]; !slices.Contains(supported, minor(etcd)) {
		e.Add("etcd.version", "%s is not supported with Kubernetes %s: use %s", etcd, kubernetes, orList(supported))
		return
	}
	if oldest := oldestEtcdPatch[minor(etcd)]; older(etcd, oldest) {
		e.Add("etcd.version", "%s has a known vulnerability: use %s or later", etcd, oldest)
		return
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

// validate checks that the mirror, its user and the password are set together.
func (a Artifacts) validate(e *field.Errors) {
	if a.Username != "" || a.Password != "" {
		required(e, "artifacts.mirror", a.Mirror,
			"the URL of the mirror, because artifacts.username or artifacts.password is set")
		required(e, "artifacts.username", a.Username, "the name of the user of artifacts.mirror")
		required(e, "artifacts.password", string(a.Password), "the password of artifacts.username")
	}
	if strings.Contains(a.Username, ":") {
		e.Add("artifacts.username", "must have no ':', which separates a user name from its password, not %q", a.Username)
	}
}

// toleratedTaint is the key of the only taint that the cluster's own controllers tolerate, in addition to
// controlPlaneTaint. They run only on control planes.
const toleratedTaint = "CriticalAddonsOnly"

func (c Config) validateControlPlane(e *field.Errors) {
	c.ControlPlane.validate(e, "controlPlane")
	for i, taint := range c.ControlPlane.Taints {
		path := fmt.Sprintf("controlPlane.taints[%d]", i)
		switch {
		case taint.Key == controlPlaneTaint.Key && taint.Effect == controlPlaneTaint.Effect:
			e.Add(path, "must be removed: every control plane already has this taint")
		case taint.Key != "" && taint.Key != toleratedTaint && (taint.Effect == noSchedule || taint.Effect == noExecute):
			e.Add(path, "%s:%s must be removed, or have the effect PreferNoSchedule or the key %s: the cluster's own "+
				"controllers run on control planes and do not tolerate it", taint.Key, taint.Effect, toleratedTaint)
		}
	}
}

func (c Config) validateEtcd(e *field.Errors) {
	switch count := c.Etcd.Count; {
	case count > reservedMachines:
		e.Add("etcd.count", "must be 1, 3, 5 or %d, not %d", reservedMachines, count)
	case count > 0 && count%2 == 0:
		e.Add("etcd.count", "must be odd: %d members tolerate no more failures than %d", count, count-1)
	default:
		c.Etcd.Group.validate(e, "etcd")
	}
	if least := 5 * c.Etcd.HeartbeatInterval; 0 < c.Etcd.ElectionTimeout && c.Etcd.ElectionTimeout < least {
		e.Add("etcd.electionTimeout", "must be at least %s, five times etcd.heartbeatInterval, not %s", least,
			c.Etcd.ElectionTimeout)
	}
	c.Etcd.validateVolumeZones(e)
}

func (c Config) validatePools(e *field.Errors) {
	if len(c.Pools) == 0 {
		e.Add("pools", "must have at least one pool of workers")
	}
	seen := map[string]int{}
	for i, p := range c.Pools {
		path := fmt.Sprintf("pools[%d]", i)
		switch first, duplicate := seen[p.Name]; {
		case p.Name == "":
		case p.Name == string(RoleEtcd) || p.Name == string(RoleControlPlane):
			e.Add(path+".name", "%q is reserved for another group of machines: use another name", p.Name)
		case strings.HasPrefix(p.Name, string(RoleControlPlane)+"-"):
			// By this prefix node-approver knows the control planes, which may have reserved addresses.
			e.Add(path+".name", "must not begin with %s-, which is reserved for control planes", RoleControlPlane)
		case duplicate:
			e.Add(path+".name", "%q is also the name of pools[%d]: use another name", p.Name, first)
		default:
			seen[p.Name] = i
		}
		p.validate(e, path)
	}
}

// validate checks a group of machines without the other groups.
func (g Group) validate(e *field.Errors, path string) {
	if g.RootVolume.Type != "" && g.RootVolume.Size == 0 {
		e.Add(path+".rootVolume.size", "must be set to the size in GiB, because %s.rootVolume.type is set", path)
	}
	if !g.Addresses.IsValid() {
		return
	}
	if size := 1 << (32 - g.Addresses.Bits()); g.Count > size {
		e.Add(path+".addresses", "%s has %d addresses for %d machines: use a larger block", g.Addresses, size, g.Count)
	}
}

// validate checks a group of Kubernetes nodes without the other groups.
func (g NodeGroup) validate(e *field.Errors, path string) {
	g.Group.validate(e, path)
	for _, key := range slices.Sorted(maps.Keys(g.Labels)) {
		path := fmt.Sprintf("%s.labels[%s]", path, key)
		if key == poolLabel || key == zoneLabel || key == regionLabel {
			e.Add(path, "must be removed: the program sets it from the pool's name, zones and the region")
		} else if allowed := allowedLabelKey(key); allowed != key {
			e.Add(path, "kubelet cannot set it on its own Node (NodeRestriction): use %s", allowed)
		}
	}
	seen := map[Taint]string{}
	for i, taint := range g.Taints {
		path := fmt.Sprintf("%s.taints[%d]", path, i)
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
