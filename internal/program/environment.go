package program

import (
	"strings"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/field"
	"kubernetes-openstack/internal/openstack"
)

// checkEnvironment compares the configuration with the login of the OpenStack provider. Without a login, for example in
// a preview, nothing contradicts.
func checkEnvironment(config cluster.Config, environment openstack.Environment) (warnings, errs field.Errors) {
	provider, clients := environment.Provider, environment.Clients
	switch {
	case clients.Name != "" && clients.Name != provider.Name:
		errs.Add("region", "is %s in %s, but %s in %s: use one of them", provider.Name, provider.From, clients.Name,
			clients.From)
	case provider.Name == "" || provider.Name == config.Region:
	case config.Region == "":
		warnings.Add("region", "is not set, but %s is %s: the resources are in this region, and the cluster's controllers "+
			"use the first region in Keystone's catalogue. If the cloud has several regions, set region to %[2]s. This "+
			"replaces the nodes, because the region is also their label", provider.From, provider.Name)
	default:
		errs.Add("region", "must be the region of the login, which is %s (%s), not %s: Pulumi would create the resources in "+
			"another region than the cluster's controllers", provider.Name, provider.From, config.Region)
	}
	if environment.ApplicationCredential {
		warnAboutCredential(&warnings, "openstack", "the cluster's controllers", config.OpenStack.ApplicationCredential,
			config.OpenStack.CredentialRoles())
		if config.Etcd.Backup.Container != "" {
			warnAboutCredential(&warnings, "etcd.backup", "the etcd machines", config.Etcd.Backup.ApplicationCredential,
				config.Etcd.Backup.CredentialRoles())
		}
	}
	return warnings, errs
}

// warnAboutCredential adds a warning if Keystone can refuse to create an application credential. Its message in the
// middle of an `up` would have no advice. The login can be unrestricted, or the credential can exist from an earlier
// `up` by a user with a password, so this is no error.
func warnAboutCredential(warnings *field.Errors, path, owner string, existing cluster.ApplicationCredential,
	roles []string) {
	if existing.ID == "" {
		warnings.Add(path+".applicationCredential", "is not set, and the login uses an application credential. Unless it is "+
			"unrestricted, Keystone refuses to create another one for %s (403 Forbidden). Create one as a user with a "+
			"password: `openstack application credential create --role %s NAME`, and set its id and its secret here", owner,
			strings.Join(roles, " --role "))
	}
}
