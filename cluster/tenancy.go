package cluster

import (
	"kubernetes-openstack/internal/field"
	"kubernetes-openstack/internal/tenancy"
)

// tenancySettings returns the settings of Tenancy together with the pod CIDR of the network.
func (c Config) tenancySettings() tenancy.Settings {
	s := c.Tenancy.Settings
	s.PodCIDR = c.Network.PodCIDR
	return s
}

// validateTenancy checks that tenancy has a reader if it is enabled.
func (c Config) validateTenancy(e *field.Errors) {
	if r := c.Tenancy.Reader; c.Tenancy.Enabled {
		required(e, "tenancy.reader.username", r.Username,
			"the name of the OpenStack user that reads projects, users and roles")
		required(e, "tenancy.reader.domain", r.Domain, "the name of the domain of tenancy.reader.username")
		required(e, "tenancy.reader.password", string(r.Password), "the password of tenancy.reader.username")
	}
}
