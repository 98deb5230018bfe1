package cluster

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
)

// CredentialName is the application credential's.
func (c Config) CredentialName() string { return c.Name + "-" + c.OpenStack.Credential }

// CredentialRoles are those that the controllers need: to attach volumes and to manage them, and load
// balancers where there are any. All are OpenStack's own names (keystone-manage bootstrap, Octavia's
// default policy). member implies reader, but not in a credential's token (Keystone's bug 2030061, seen in
// 22.0.0), and who may not look may change nothing.
func (o OpenStack) CredentialRoles() []string {
	switch {
	case len(o.Roles) > 0:
		return o.Roles
	case o.LoadBalancer == Octavia:
		return []string{"member", "reader", "load-balancer_member"}
	}
	return []string{"member", "reader"}
}

func (c Config) validateOpenStack(e *Errors) {
	o := c.OpenStack
	if !isURL(o.AuthURL, "http", "https") {
		e.add("openstack.authURL",
			"must be Keystone's URL as the machines reach it, such as https://keystone.example.com:5000/v3, not %q", o.AuthURL)
	}
	oneOf(e, "openstack.interface", o.Interface, "public", "internal", "admin")
	if o.CACertificate != "" && !isCertificates(o.CACertificate) {
		e.add("openstack.caCertificate", "must be certificates in PEM form: -----BEGIN CERTIFICATE-----")
	}
	if !isNodeName(o.Credential) {
		e.add("openstack.credential", "must be lower-case letters, digits and '-' inside, such as 2027-01, not %q",
			o.Credential)
	}
	for i, role := range o.Roles {
		required(e, fmt.Sprintf("openstack.roles[%d]", i), role, "the name of a role")
	}
	oneOf(e, "openstack.loadBalancer", o.LoadBalancer, NoLoadBalancer, Octavia)
	if o.LoadBalancer == Octavia && c.Devcloud {
		e.add("openstack.loadBalancer", "cannot be octavia: devcloud has none")
	}
}

// isCertificates tells whether text is certificates in PEM form and nothing else.
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
