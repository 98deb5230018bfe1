package cluster

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	"kubernetes-openstack/internal/field"
)

// CredentialName returns the name of the application credential.
func (c Config) CredentialName() string { return c.Name + "-" + c.OpenStack.Credential }

// CredentialRoles returns the roles that the controllers need to attach and manage volumes and, if Octavia is enabled,
// load balancers. The names are OpenStack's defaults (keystone-manage bootstrap, Octavia's default policy).
//
// member implies reader, but not in the token of an application credential (Keystone bug 2030061, observed in 22.0.0).
// Without reader, a request to change a resource fails too, because the service must first read the resource.
func (o OpenStack) CredentialRoles() []string {
	switch {
	case len(o.Roles) > 0:
		return o.Roles
	case o.LoadBalancer == Octavia:
		return []string{"member", "reader", "load-balancer_member"}
	}
	return []string{"member", "reader"}
}

func (c Config) validateOpenStack(e *field.Errors) {
	o := c.OpenStack
	if !isURL(o.AuthURL, "http", "https") {
		e.Add("openstack.authURL",
			"must be the URL at which machines reach Keystone, such as https://keystone.example.com:5000/v3, not %q", o.AuthURL)
	}
	oneOf(e, "openstack.interface", o.Interface, "public", "internal", "admin")
	if o.CACertificate != "" && !isCertificates(o.CACertificate) {
		e.Add("openstack.caCertificate", "must contain only certificates in PEM format: -----BEGIN CERTIFICATE-----")
	}
	if !isDNSLabel(o.Credential) {
		e.Add("openstack.credential", invalidDNSLabel, "2027-01", o.Credential)
	}
	for i, role := range o.Roles {
		required(e, fmt.Sprintf("openstack.roles[%d]", i), role, "the name of a role")
	}
	oneOf(e, "openstack.loadBalancer", o.LoadBalancer, NoLoadBalancer, Octavia)
	if o.LoadBalancer == Octavia && c.Devcloud {
		e.Add("openstack.loadBalancer", "cannot be octavia on devcloud, which has no Octavia: use none")
	}
}

// isCertificates reports whether text contains certificates in PEM format and nothing else.
func isCertificates(text string) bool {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return false
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil || block.Type != "CERTIFICATE" {
			return false
		}
		if len(slices.DeleteFunc(slices.Clone(rest), func(b byte) bool { return b == '\n' })) == 0 {
			return true
		}
	}
}
