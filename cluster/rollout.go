package cluster

import "slices"

// Condition is the condition of a machine before an `up` changes the first machine.
type Condition int

const (
	// Down means that no instance runs. The creation of a new one takes no capacity.
	Down Condition = iota
	// Broken means that an instance runs, and that its machine is not ready: for a while it reports a step that fails or
	// waits, or it is new and has not reported that it is ready.
	Broken
	// Unknown means that an instance runs, and that nothing shows whether its machine is healthy. So it may be.
	Unknown
	// Healthy means that its machine reported that it is ready, or that its Node is Ready.
	Healthy
)

// Observation is the condition of a cluster before an `up` changes the first machine.
type Observation struct {
	// Machines maps the IDs of machines to their conditions.
	Machines map[string]Condition
	// Serving is true if the Kubernetes API is ready. Then etcd has its quorum, and a control plane is healthy.
	Serving bool
	// Instances has the IDs of all instances, also of those that do not run.
	Instances map[string]bool
	// Restores maps the IDs of machines to the snapshots that their instances were created to restore.
	Restores map[string]string
}

// Turn is the place of one machine in a rollout.
type Turn struct {
	Machine
	// WaitFor lists the machines that must be ready before this one changes: the first machines of its group in the order
	// of the rollout.
	WaitFor []string
}

// Rollout returns the order in which an `up` changes the machines.
//
// The machines of inParallel come first and change in parallel. Each other machine waits for the machines before it in
// its group, in the order of their conditions. So at most MaxUnavailable machines of a group are
// unavailable at a time. The limit is one for etcd and for the control plane, because etcd would lose its quorum
// otherwise. A restore is the exception: all members of etcd change in parallel.
func (p Plan) Rollout(o Observation) []Turn {
	var turns []Turn
	groups := map[string][]string{} // IDs of the machines so far
	first := p.inParallel(o)
	rank := func(m Machine) int {
		if first[m.ID] {
			return 0
		}
		return int(o.Machines[m.ID])
	}
	for _, m := range slices.SortedStableFunc(slices.Values(p.Machines), func(a, b Machine) int {
		return rank(a) - rank(b)
	}) {
		before := groups[m.Group]
		turn := Turn{Machine: m}
		if n := len(before) - (m.MaxUnavailable - 1); !first[m.ID] && n > 0 {
			turn.WaitFor = before[:n:n]
		}
		turns = append(turns, turn)
		groups[m.Group] = append(before, m.ID)
	}
	return turns
}

// Restoring returns true if the plan has a snapshot to restore, and an instance of etcd was not created to restore it.
// Then its data is that before the restore. The result stays true until all members have changed, also if an `up` is
// interrupted. A plan without a snapshot restores nothing, so its members change one at a time.
func (p Plan) Restoring(o Observation) bool {
	name := p.Etcd.Restore
	return name != "" && slices.ContainsFunc(p.WithRole(RoleEtcd), func(m Machine) bool {
		_, exists := o.Machines[m.ID]
		return exists && o.Restores[m.ID] != name
	})
}

// inParallel returns the machines that change first and in parallel: those that are down, and those that are broken. No
// capacity is lost with them, and the first etcd member becomes ready only together with the others.
//
// A restore needs all members of etcd at once, because a member that still serves the old data prevents it.
//
// A report about a broken machine can be wrong. So broken members of etcd are among them only as long as a majority of
// the members remains, and broken control planes only as long as one remains. This limit does not apply to a cluster
// that nothing shows to work: its API is not ready, and no machine of the group is healthy.
func (p Plan) inParallel(o Observation) map[string]bool {
	first := map[string]bool{}
	restoring := p.Restoring(o)
	for _, role := range Roles {
		machines := p.WithRole(role)
		limit, healthy := 0, false
		for _, m := range machines {
			switch condition := o.Machines[m.ID]; {
			case restoring && role == RoleEtcd:
				first[m.ID] = true
			case condition == Down:
				first[m.ID] = true
				limit--
			case condition != Broken:
				healthy = true
			}
		}
		switch n := len(machines); {
		case role == RoleWorker, !healthy && !o.Serving:
			limit = n
		case role == RoleEtcd:
			limit += (n - 1) / 2
		default:
			limit += n - 1
		}
		for _, m := range machines {
			if o.Machines[m.ID] == Broken && limit > 0 {
				first[m.ID] = true
				limit--
			}
		}
	}
	return first
}
