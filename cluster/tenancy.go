package cluster

import (
	"time"

	"kubernetes-openstack/internal/tenancy"
)

// minInterval keeps the control planes from asking OpenStack without a pause: each asks for all that there is.
const minInterval = 10 * time.Second

// tenancySettings are Tenancy's, with what is the network's.
func (c Config) tenancySettings() tenancy.Settings {
	s := c.Tenancy.Settings
	s.PodCIDR = c.Network.PodCIDR
	return s
}

// validateTenancy says of what is not enabled nothing.
func (c Config) validateTenancy(e *Errors) {
	t := c.Tenancy
	if !t.Enabled {
		return
	}
	for _, err := range c.tenancySettings().Validate() {
		if err.Path != "podCIDR" { // network.podCIDR's error
			e.add("tenancy."+err.Path, "%s", err.Message)
		}
	}
	if t.Interval < minInterval {
		e.add("tenancy.interval", "must be at least %s, not %s", minInterval, t.Interval)
	}
	required(e, "tenancy.reader.username", t.Reader.Username, "the name of a user of OpenStack that reads its tenants")
	required(e, "tenancy.reader.domain", t.Reader.Domain, "the name of the user's domain")
	required(e, "tenancy.reader.password", string(t.Reader.Password), "the user's password")
	required(e, "artifacts.mirror", c.Artifacts.Mirror,
		"where tenant-sync and keystone-webhook are: tenancy.enabled, and nobody else publishes them")
}
