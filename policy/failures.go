package policy

import (
	"fmt"
	"maps"
	"slices"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/field"
)

// failures are the rules about the start of machines and the failures that a cluster tolerates. Rules about zones are
// silent if Nova chooses the zones, because the plan does not have Nova's choice.
var failures = []Rule{
	{
		ID: "no-resolver", Level: Error,
		When: "`network.dnsServers` is not set in a tenant network",
		Reason: "With OVN, Neutron's DHCP then gives machines no resolver. They cannot download their programs, and " +
			"`pulumi up` fails after `bootstrapTimeout`.",
		Remedy: "Set `network.dnsServers`, which changes no machine.",
		Check: func(s Stack, e *field.Errors) {
			if s.Network.Mode == cluster.TenantNetwork && len(s.Network.DNSServers) == 0 {
				e.Add("network.dnsServers", "is not set")
			}
		},
	},
	{
		ID: "etcd-members", Level: Warning,
		When: "`etcd.count` is less than 3, or even",
		Reason: "etcd needs a majority of its members. One member tolerates no failure, and an even number tolerates no " +
			"more failures than one member less.",
		Remedy: "Set `etcd.count` to 3 or 5.",
		Check: func(s Stack, e *field.Errors) {
			// validation refuses an even number in a configuration, but a plan can have one
			if n := s.Etcd.Count; n < 3 || n%2 == 0 {
				e.Add("etcd.count", "%d tolerates %d lost", n, (n-1)/2)
			}
		},
	},
	{
		ID: "etcd-majority-in-one-zone", Level: Warning,
		When:   "a zone of `etcd.zones` has so many members that the others are no majority",
		Reason: "If this zone fails, etcd loses its majority, and the Kubernetes API stops.",
		Remedy: "List at least three zones in `etcd.zones`.",
		Check: func(s Stack, e *field.Errors) {
			members := s.WithRole(cluster.RoleEtcd)
			zones := byZone(members)
			for _, zone := range slices.Sorted(maps.Keys(zones)) {
				if n := zones[zone]; len(members) > 1 && n > (len(members)-1)/2 {
					e.Add("etcd.zones", "%s has %d of %d members", zone, n, len(members))
				}
			}
		},
	},
	{
		ID: "control-plane-single", Level: Warning,
		When:   "`controlPlane.count` is 1",
		Reason: "While this machine fails or is replaced, the cluster has no Kubernetes API.",
		Remedy: "Set `controlPlane.count` to at least 2.",
		Check: func(s Stack, e *field.Errors) {
			if s.ControlPlane.Count < 2 {
				e.Add("controlPlane.count", "is %d", s.ControlPlane.Count)
			}
		},
	},
	{
		ID: "control-planes-in-one-zone", Level: Warning,
		When:   "`controlPlane.zones` has only one zone",
		Reason: "If this zone fails, the cluster has no Kubernetes API.",
		Remedy: "List at least two zones in `controlPlane.zones`.",
		Check: func(s Stack, e *field.Errors) {
			machines := s.WithRole(cluster.RoleControlPlane)
			for zone, n := range byZone(machines) {
				if n > 1 && n == len(machines) {
					e.Add("controlPlane.zones", "%s has all %d control planes", zone, n)
				}
			}
		},
	},
	{
		ID: "pool-replaced-at-once", Level: Warning,
		When:   "`maxUnavailable` of a pool is not less than its `count`, which is more than 1",
		Reason: "A change of the pool stops all its pods at the same time.",
		Remedy: "Set `pools[].maxUnavailable` to less than `pools[].count`.",
		Check: func(s Stack, e *field.Errors) {
			for i, pool := range s.Pools {
				if pool.Count > 1 && pool.MaxUnavailable >= pool.Count {
					e.Add(fmt.Sprintf("pools[%d].maxUnavailable", i), "%d are all machines of the pool", pool.Count)
				}
			}
		},
	},
}

// byZone returns the number of machines in each zone that the configuration names.
func byZone(machines []cluster.Machine) map[string]int {
	zones := map[string]int{}
	for _, m := range machines {
		if m.Zone != "" {
			zones[m.Zone]++
		}
	}
	return zones
}
