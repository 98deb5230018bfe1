package cluster

import "kubernetes-openstack/internal/field"

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
	if c.OpenStack.LoadBalancer == Octavia && c.Devcloud {
		e.Add("openstack.loadBalancer", "cannot be octavia on devcloud, which has no Octavia: use none")
	}
}
