// Package changes explains what an `up` does to each machine: the table of `pulumi preview`. It is pure.
//
// The engine decides which instances are created or replaced. The package compares the configuration with the one of
// the last complete `up`, and finds the keys that cause it.
package changes

import (
	"maps"
	"net/netip"
	"slices"

	"kubernetes-openstack/cluster"
)

// Class is what happens to a machine.
type Class string

// The classes.
const (
	// InPlace changes the metadata, the port or the volume of a machine that keeps running.
	InPlace Class = "in place"
	Replace Class = "drain and replace"
	// ReplaceMember replaces the machine of a member of etcd. The member keeps its volume.
	ReplaceMember Class = "replace etcd member"
	New           Class = "new"
	Remove        Class = "remove"
	// Refused means that the program ends before the change.
	Refused Class = "refused"
)

// Change is what an `up` does to one machine.
type Change struct {
	Machine string `json:"machine"`
	Class   Class  `json:"class"`
	// Keys are those of the configuration that cause the change. There are none for a new cluster, and for a cause outside
	// of the configuration: another version of this program, a renewed certificate or `pulumi up --replace`.
	Keys []string `json:"keys,omitempty"`
	// Step is the order in the group of the machine: those of step 2 change after those of step 1 are ready. Machines are
	// removed in the last step of the stack. It is 0 for a refused change.
	Step int `json:"step,omitempty"`
	// AtATime is how many machines of the group change in parallel.
	AtATime int `json:"atATime,omitempty"`
	// Seconds is the estimate until the machine is ready, from the last `up`. It is 0 if it is unknown.
	Seconds int `json:"seconds,omitempty"`
}

// Table lists the machines that change: etcd, then control planes, then workers.
type Table struct {
	Machines []Change `json:"machines"`
	// Seconds is the estimate for all machines. Groups change in parallel. It is 0 if it is unknown.
	Seconds int `json:"seconds,omitempty"`
}

// Decision is what the engine does with the instance of a machine.
type Decision int

// The decisions. For a new machine, the engine also creates the port. A replacement gets the existing port.
const (
	Keeps Decision = iota
	Replaces
	Creates
)

// Explain compares a plan with the configuration of the last complete `up`, or with nil if there is none. decisions are
// by machine. took is from the last `up`.
func Explain(before *cluster.Config, plan cluster.Plan, decisions map[string]Decision, took cluster.Durations) Table {
	c := comparison{plan: view{plan: plan}, found: map[kind][]string{}}
	if before != nil {
		c.before.plan = cluster.NewPlan(*before)
		for _, d := range plan.Since(*before) {
			c.without = append(c.without, view{key: d.Key, plan: cluster.NewPlan(d.Without)})
		}
	}
	var changes []Change
	addresses := map[netip.Addr]bool{}
	for _, m := range plan.Machines {
		addresses[m.Address] = true
		if class := c.class(m, decisions[m.ID]); class != "" {
			changes = append(changes, Change{Machine: m.ID, Class: class, Keys: c.keys(m, class)})
		}
	}
	for _, m := range c.before.plan.Machines {
		if _, stays := c.plan.machines()[m.ID]; !stays && !addresses[m.Address] { // else its pool has another name
			changes = append(changes, Change{Machine: m.ID, Class: Remove, Keys: c.keys(m, Remove)})
		}
	}
	t := Table{Machines: changes}
	t.schedule(plan, c.before.plan, took)
	return t
}

// schedule sets the order and the estimates, and sorts the table.
func (t *Table) schedule(plan, before cluster.Plan, took cluster.Durations) {
	rows := map[string]*Change{}
	for i := range t.Machines {
		rows[t.Machines[i].Machine] = &t.Machines[i]
	}
	observed := cluster.Observation{
		Machines: map[string]cluster.Condition{}, Restores: map[string]string{}, Serving: true,
	}
	for _, m := range plan.Machines {
		if row := rows[m.ID]; row == nil || row.Class != New {
			observed.Machines[m.ID], observed.Restores[m.ID] = cluster.Healthy, before.Etcd.Restore
		}
	}
	// done is the state after the first machines of a group in the order of the rollout are ready
	type done struct{ step, seconds int }
	groups := map[string][]done{}
	last, known := done{}, true
	for _, turn := range plan.Rollout(observed) {
		group := groups[turn.Group]
		if group == nil {
			group = []done{{}}
		}
		now := group[len(turn.WaitFor)]
		row := rows[turn.ID]
		switch {
		case row == nil:
		case row.Class == InPlace:
			row.Step = 1
		default:
			row.Step = now.step + 1
			row.Seconds = took.Estimate(turn.Role, row.Class != New)
			known = known && row.Seconds > 0
			now = done{row.Step, now.seconds + row.Seconds}
		}
		all := group[len(group)-1]
		all = done{max(all.step, now.step), max(all.seconds, now.seconds)}
		groups[turn.Group] = append(group, all)
		last = done{max(last.step, all.step), max(last.seconds, all.seconds)}
	}
	if known {
		t.Seconds = last.seconds
	}
	machines := map[string]cluster.Machine{}
	for _, m := range slices.Concat(before.Machines, plan.Machines) {
		machines[m.ID] = m
	}
	type turn struct {
		group string
		class Class
		step  int
	}
	parallel, most := map[turn]int{}, map[turn]int{} // most has step 0
	of := func(c Change, step int) turn { return turn{machines[c.Machine].Group, c.Class, step} }
	for i := range t.Machines {
		c := &t.Machines[i]
		if c.Class == Remove {
			c.Step = last.step + 1
		}
		parallel[of(*c, c.Step)]++
		most[of(*c, 0)] = max(most[of(*c, 0)], parallel[of(*c, c.Step)])
	}
	for i, c := range t.Machines {
		t.Machines[i].AtATime = most[of(c, 0)]
	}
	slices.SortStableFunc(t.Machines, func(a, b Change) int {
		return slices.Index(cluster.Roles, machines[a.Machine].Role) - slices.Index(cluster.Roles, machines[b.Machine].Role)
	})
}

// comparison compares the plan with the last complete `up`. before is empty if there is none.
type comparison struct {
	before, plan view
	// without are the plans without the change of one key each.
	without []view
	// found caches the keys of equal machines.
	found map[kind][]string
}

// kind is all that can distinguish machines with the same changes. A pool of thousands of machines has few kinds.
type kind struct {
	class                         Class
	group, zone, serverGroup      string
	existed                       bool
	zoneBefore, serverGroupBefore string
}

// class returns what happens to a machine of the plan, or "" if it stays as it is.
func (c *comparison) class(m cluster.Machine, decision Decision) Class {
	before, existed := c.before.machines()[m.ID]
	switch {
	case decision == Creates:
		return New
	case decision == Replaces && !existed && c.before.lacks(m): // an `up` that failed has created only its port
		return New
	case decision == Replaces && m.Role == cluster.RoleEtcd:
		return ReplaceMember
	case decision == Replaces:
		return Replace
	case existed && c.before.adjustable(before) != c.plan.adjustable(m):
		return InPlace
	}
	return ""
}

// keys returns the keys whose change causes the change of a machine: without it, the machine would be another one.
func (c *comparison) keys(m cluster.Machine, class Class) []string {
	before, existed := c.before.machines()[m.ID]
	k := kind{class, m.Group, m.Zone, m.ServerGroup, existed, before.Zone, before.ServerGroup}
	if keys, known := c.found[k]; known {
		return keys
	}
	unique := map[string]bool{}
	for i := range c.without {
		if c.differs(m, class, &c.without[i]) {
			unique[c.without[i].key] = true
		}
	}
	keys := slices.Sorted(maps.Keys(unique))
	c.found[k] = keys
	return keys
}

// differs returns true if a machine would not change in the same way without the change of one key.
func (c *comparison) differs(m cluster.Machine, class Class, without *view) bool {
	now, exists := c.plan.machines()[m.ID]
	other, existsWithout := without.machines()[m.ID]
	switch {
	case exists != existsWithout:
		return true
	case class == New || class == Remove:
		return false
	case class == InPlace:
		return c.plan.adjustable(now) != without.adjustable(other)
	}
	return c.plan.instance(now) != without.instance(other)
}
