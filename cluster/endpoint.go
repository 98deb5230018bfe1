package cluster

import (
	"net/netip"

	"kubernetes-openstack/internal/field"
)

// endpoint is a server outside the cluster that the machines depend on.
type endpoint struct {
	owner   string
	address netip.Addr
}

// endpoints returns Keystone and the DNS servers. Keystone is missing if its URL has a host name, because only the
// address in a URL is known.
func (c Config) endpoints() []endpoint {
	var out []endpoint
	if a, ok := hostAddress(c.OpenStack.AuthURL); ok {
		out = append(out, endpoint{"keystone", a})
	}
	for _, a := range c.Network.DNSServers {
		out = append(out, endpoint{"dns", a})
	}
	return out
}

// validateOutside checks that the cluster uses no address of another host.
func (c Config) validateOutside(e *field.Errors, hosts []place) {
	for _, h := range hosts {
		path, a := h.path, h.prefix.Addr()
		for _, r := range c.ranges() {
			if r.path != machineRangePath && r.prefix.IsValid() && r.prefix.Contains(a) {
				e.Add(path, "%s is within %s %s, a range of the cluster itself: use another address or range", a, r.path,
					r.prefix)
			}
		}
		for _, g := range c.groups() {
			if g.Addresses.IsValid() && g.Addresses.Contains(a) {
				e.Add(path, "%s is within %s.addresses %s, the addresses of machines: use the address of another host", a,
					g.path, g.Addresses)
			}
		}
		if c.Network.CIDR.IsValid() && a == c.apiAddress() {
			e.Add(path, "%s is the address of the Kubernetes API (api.address): use the address of another host", a)
		}
		c.Network.validateHost(e, path, a)
		c.Network.validateNotReserved(e, path, a)
	}
}

// validateNetworks checks the networks of one address.
func (c Config) validateNetworks(e *field.Errors, networks []place) {
	for _, n := range networks {
		if n.prefix.IsSingleIP() {
			c.Network.validateHost(e, n.path, n.prefix.Addr())
		}
	}
}

// validateHost checks that a is not the network address and not the broadcast address of the machines' subnet.
func (n Network) validateHost(e *field.Errors, path string, a netip.Addr) {
	if !n.CIDR.IsValid() {
		return
	}
	const message = "%s is the %s address of network.cidr %s: use the address of a host"
	switch a {
	case n.CIDR.Addr():
		e.Add(path, message, a, "network", n.CIDR)
	case broadcast(n.CIDR):
		e.Add(path, message, a, "broadcast", n.CIDR)
	}
}

// validateNotReserved checks that a is not the gateway and not in Neutron's allocation pool of a tenant network.
func (n Network) validateNotReserved(e *field.Errors, path string, a netip.Addr) {
	if n.Mode != TenantNetwork || !n.CIDR.IsValid() {
		return
	}
	first, last := n.allocationPool()
	if gateway := n.gateway(); a == gateway || first.Compare(a) <= 0 && a.Compare(last) <= 0 {
		e.Add(path, "%s is reserved: %s–%s are for the gateway and for ports that Neutron creates: use another "+
			"address", a, gateway, last)
	}
}
