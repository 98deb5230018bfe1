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

// validate checks an application credential at path. roles are those of a credential that Pulumi would create.
func (a ApplicationCredential) validate(e *field.Errors, path string, roles []string) {
	switch {
	case a.ID == "" && a.Secret != "":
		e.Add(path+".applicationCredential.id", "must be set to the ID of the application credential, because its secret "+
			"is set")
	case a.ID != "" && a.Secret == "":
		e.Add(path+".applicationCredential.secret", "must be set to the secret of the application credential, because "+
			"its ID is set")
	case a.ID != "" && len(roles) > 0:
		e.Add(path+".roles", "cannot be set, because %s.applicationCredential has its own roles", path)
	}
}

func (c Config) validateOpenStack(e *field.Errors) {
	c.OpenStack.ApplicationCredential.validate(e, "openstack", c.OpenStack.Roles)
	c.Etcd.Backup.ApplicationCredential.validate(e, "etcd.backup", c.Etcd.Backup.Roles)
	if c.OpenStack.LoadBalancer == Octavia && c.Devcloud {
		e.Add("openstack.loadBalancer", "cannot be octavia on devcloud, which has no Octavia: use none")
	}
}
