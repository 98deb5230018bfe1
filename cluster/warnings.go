package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kubernetes-openstack/internal/field"
)

// bootTime is the time that machines need at least on most clouds.
const bootTime = 5 * time.Minute

// defaultServerGroupMembers is Nova's default of the quota server_group_members.
const defaultServerGroupMembers = 10

// Warnings returns the settings of a valid Config that can be meant but are often mistakes.
func (c Config) Warnings() []field.Error {
	var w field.Errors
	if c.BootstrapTimeout < bootTime {
		w.Add("bootstrapTimeout", "%s is short: machines often need %s until they are ready", c.BootstrapTimeout, bootTime)
	}
	if strings.HasPrefix(strings.TrimSpace(c.SSH.PublicKey), "sk-") {
		w.Add("ssh.publicKey",
			"is the key of a security key: Nova refuses it if its Python package cryptography is older than 43")
	}
	if c.Artifacts.Password != "" && strings.HasPrefix(c.Artifacts.Mirror, "http:") {
		w.Add("artifacts.mirror", "begins with http, so artifacts.password crosses the network as plain text: use https")
	}
	if nodes := c.nodeCount(); c.DNS.Replicas > nodes {
		w.Add("dns.replicas", "%d replicas are more than one for each of the %d nodes", c.DNS.Replicas, nodes)
	}
	for _, g := range c.groups() {
		for i, zone := range g.Zones {
			if first := slices.Index(g.Zones, zone); first < i {
				w.Add(fmt.Sprintf("%s.zones[%d]", g.path, i), "%s is also %s.zones[%d]: the zone gets more machines", zone,
					g.path, first)
			}
		}
	}
	for i, p := range c.Pools {
		if p.Count > 1 && p.MaxUnavailable >= p.Count {
			w.Add(fmt.Sprintf("pools[%d].maxUnavailable", i), "an update replaces all %d machines of the pool at once", p.Count)
		}
	}
	for _, g := range c.groups() {
		if g.Count > defaultServerGroupMembers && c.ServerGroupMembers == 0 && c.ServerGroupPolicy != NoServerGroups {
			w.Add(g.path+".count", "%d machines in one server group are more than Nova's default quota of %d: set "+
				"serverGroupMembers to the quota server_group_members of the project", g.Count, defaultServerGroupMembers)
		}
	}
	const role = "load-balancer_member"
	if o := c.OpenStack; o.LoadBalancer == Octavia && len(o.Roles) > 0 && !slices.Contains(o.Roles, role) {
		w.Add("openstack.roles", "%s is missing: by Octavia's default policy, the cloud controller can create no load "+
			"balancer without it", role)
	}
	zones := c.nodeZones()
	for i, class := range c.Storage.Classes {
		if class.Zone != "" && c.Storage.Topology && len(zones) > 0 && !slices.Contains(zones, class.Zone) {
			w.Add(fmt.Sprintf("storage.classes[%d].zone", i), "no node is in %s, so no pod can use a volume of the class: "+
				"zones with nodes are %s", class.Zone, orList(zones))
		}
	}
	return w
}
