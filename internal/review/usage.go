package review

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"kubernetes-openstack/cluster"
)

// unit is what a quota or a price is for. Name is a flavor or a type of volumes.
type unit struct{ kind, name string }

// Kinds of units, in the order of the table.
const (
	instances  = "instances"
	volumes    = "volumes"
	gigabytes  = "GiB of volumes"
	ports      = "ports"
	rules      = "rules of security groups"
	secGroups  = "security groups"
	groups     = "server groups"
	floatingIP = "floating IPs"
	balancers  = "load balancers"
)

var unitKinds = []string{instances, volumes, gigabytes, ports, rules, secGroups, groups, floatingIP, balancers}

func (u unit) String() string {
	switch {
	case u.name == "":
		return u.kind
	case u.kind == instances:
		return u.kind + " of flavor " + u.name
	}
	return u.kind + " of type " + u.name
}

// usage is the number of each unit.
type usage map[unit]int

// add adds what a resource uses, n times.
func (u usage) add(s *state, n int) {
	if s == nil {
		return
	}
	switch s.Type {
	case instanceType:
		u[unit{instances, ""}] += n
		u[unit{instances, s.text("flavorName")}] += n
		devices, _ := s.Inputs["blockDevices"].([]any)
		for _, device := range devices {
			root := state{}
			root.Inputs, _ = device.(map[string]any)
			u[unit{volumes, ""}] += n
			u[unit{gigabytes, root.text("volumeType")}] += n * root.number("volumeSize")
		}
	case volumeType:
		u[unit{volumes, ""}] += n
		u[unit{gigabytes, s.text("volumeType")}] += n * s.number("size")
	case "openstack:networking/port:Port":
		u[unit{ports, ""}] += n
	case "openstack:networking/secGroupRule:SecGroupRule":
		u[unit{rules, ""}] += n
	case "openstack:networking/secGroup:SecGroup":
		u[unit{secGroups, ""}] += n
	case "openstack:compute/serverGroup:ServerGroup":
		u[unit{groups, ""}] += n
	case "openstack:networking/floatingIp:FloatingIp":
		u[unit{floatingIP, ""}] += n
	case "openstack:loadbalancer/loadBalancer:LoadBalancer":
		u[unit{balancers, ""}] += n
	}
}

// usageOf returns what a plan uses, without what its users create: load balancers, and volumes of claims.
func usageOf(plan cluster.Plan) usage {
	u := usage{
		{instances, ""}:                    len(plan.Machines),
		{volumes, ""}:                      plan.Etcd.Count,
		{gigabytes, plan.Etcd.Volume.Type}: plan.Etcd.Count * plan.Etcd.Volume.Size,
		{ports, ""}:                        len(plan.Machines),
		{rules, ""}:                        len(plan.Rules),
		{secGroups, ""}:                    len(cluster.Roles),
		{groups, ""}:                       len(plan.ServerGroups()),
	}
	for _, m := range plan.Machines {
		u[unit{instances, m.Flavor}]++
		if root := m.RootVolume; root.Size > 0 {
			u[unit{volumes, ""}]++
			u[unit{gigabytes, root.Type}] += root.Size
		}
	}
	switch plan.API.LoadBalancer {
	case cluster.Keepalived:
		u[unit{ports, ""}]++ // of the API's address
	case cluster.Octavia:
		u[unit{balancers, ""}]++
	}
	if plan.API.FloatingIP {
		u[unit{floatingIP, ""}]++
	}
	return u
}

// units returns all units of two usages, sorted.
func units(a, b usage) []unit {
	var out []unit
	for _, u := range []usage{a, b} {
		for key := range u {
			if !slices.Contains(out, key) {
				out = append(out, key)
			}
		}
	}
	slices.SortFunc(out, func(a, b unit) int {
		if order := slices.Index(unitKinds, a.kind) - slices.Index(unitKinds, b.kind); order != 0 {
			return order
		}
		return strings.Compare(a.name, b.name)
	})
	return out
}

// cost returns the cost of a usage per month, and the units that have no price in the configuration.
func (u usage) cost(prices cluster.Prices) (sum float64, unpriced []string) {
	for _, key := range units(u, nil) {
		price, known := 0.0, true
		switch {
		case key.kind == instances && key.name != "":
			price, known = prices.Flavors[key.name]
		case key.kind == gigabytes:
			price, known = prices.Volumes[cmp.Or(key.name, "default")]
		case key.kind == floatingIP:
			price = prices.FloatingIP
		}
		if !known {
			unpriced = append(unpriced, key.String())
		}
		sum += price * float64(u[key])
	}
	return sum, unpriced
}

// costs returns the cost of a stack per month and its change, or "" without prices.
func (r Review) costs() string {
	if len(r.prices.Flavors)+len(r.prices.Volumes) == 0 || r.total == nil {
		return ""
	}
	total, _ := r.total.cost(r.prices)
	change, _ := r.change.cost(r.prices)
	change = math.Round(change*100)/100 + 0 // +0.00, and not -0.00, after errors of rounding
	return strings.TrimSpace(fmt.Sprintf("%.2f (%+.2f) %s", total, change, r.prices.Currency))
}
