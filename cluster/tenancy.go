package cluster

import (
	"time"

	"kubernetes-openstack/internal/field"
	"kubernetes-openstack/internal/tenancy"
)

// minInterval limits the load on OpenStack, because each control plane lists all projects, users and roles every time.
const minInterval = 10 * time.Second

// tenancySettings returns the settings of Tenancy together with the pod CIDR of the network.
func (c Config) tenancySettings() tenancy.Settings {
	s := c.Tenancy.Settings
	s.PodCIDR = c.Network.PodCIDR
	return s
}

// validateTenancy checks the settings only if tenancy is enabled.
func (c Config) validateTenancy(e *field.Errors) {
	t := c.Tenancy
	if !t.Enabled {
		return
	}
	for _, err := range c.tenancySettings().Validate() {
		if err.Path != "podCIDR" { // validateNetwork reports it
			e.Add("tenancy."+err.Path, "%s", err.Message)
		}
	}
	if t.Interval < minInterval {
		e.Add("tenancy.interval", "must be at least %s, not %s", minInterval, t.Interval)
	}
	required(e, "tenancy.reader.username", t.Reader.Username,
		"the name of the OpenStack user that reads projects, users and roles")
	required(e, "tenancy.reader.domain", t.Reader.Domain, "the name of the domain of tenancy.reader.username")
	required(e, "tenancy.reader.password", string(t.Reader.Password), "the password of tenancy.reader.username")
}
