package cluster

// Turn is the place of one machine in a rollout.
type Turn struct {
	Machine
	// WaitFor lists the machines that must be ready before this one changes: the first machines of its group in the order
	// of the rollout.
	WaitFor []string
}

// Rollout returns the order in which an `up` changes the machines. healthy contains the IDs of the healthy machines.
//
// Missing and unhealthy machines come first and change in parallel. No capacity is lost with them, and the first etcd
// member becomes ready only together with the others. A healthy machine waits for the machines before it in its group.
// So at most MaxUnavailable machines of a group are unavailable at a time. The limit is one for etcd and for the
// control plane, because etcd would lose its quorum otherwise.
func (p Plan) Rollout(healthy map[string]bool) []Turn {
	var turns []Turn
	groups := map[string][]string{} // IDs of the machines so far
	for _, isHealthy := range []bool{false, true} {
		for _, m := range p.Machines {
			if healthy[m.ID] != isHealthy {
				continue
			}
			before := groups[m.Group]
			turn := Turn{Machine: m}
			if n := len(before) - (m.MaxUnavailable - 1); isHealthy && n > 0 {
				turn.WaitFor = before[:n:n]
			}
			turns = append(turns, turn)
			groups[m.Group] = append(before, m.ID)
		}
	}
	return turns
}
