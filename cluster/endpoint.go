package cluster

import (
	"fmt"
	"net/netip"
	"net/url"

	"kubernetes-openstack/internal/field"
)

// endpoint is a server outside the cluster that the machines depend on.
type endpoint struct {
	// path in the user's YAML
	path    string
	owner   string
	address netip.Addr
}

// endpoints returns Keystone and the DNS servers. Keystone is missing if its URL has a host name, because only the
// address in a URL is known.
func (c Config) endpoints() []endpoint {
	var out []endpoint
	if u, err := url.Parse(c.OpenStack.AuthURL); err == nil {
		if a, err := netip.ParseAddr(u.Hostname()); err == nil {
			out = append(out, endpoint{"openstack.authURL", "keystone", a.Unmap()})
		}
	}
	for i, a := range c.Network.DNSServers {
		out = append(out, endpoint{fmt.Sprintf("network.dnsServers[%d]", i), "dns", a})
	}
	return out
}

// validateEndpoints checks that no Service can have the address of an endpoint.
func (c Config) validateEndpoints(e *field.Errors) {
	for _, endpoint := range c.endpoints() {
		c.validateOutside(e, endpoint.path, endpoint.address)
	}
}

// validateOutside checks that a is no address of pods or Services.
func (c Config) validateOutside(e *field.Errors, path string, a netip.Addr) {
	for _, r := range c.ranges() {
		if r.path != machineRangePath && r.prefix.IsValid() && r.prefix.Contains(a) {
			e.Add(path, "%s is within %s %s, a range of the cluster itself", a, r.path, r.prefix)
		}
	}
}
