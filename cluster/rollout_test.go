package cluster

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// observed parses an observation such as "serving test-etcd-0 test-etcd-1? test-etcd-2!@a.db". The machines are
// healthy, unknown if they end in "?", broken if they end in "!", and down if they are not listed. The last one was
// created to restore a.db.
func observed(text string) Observation {
	o := Observation{Machines: map[string]Condition{}, Restores: map[string]string{}}
	for _, word := range strings.Fields(text) {
		id, restore, _ := strings.Cut(word, "@")
		o.Restores[strings.TrimRight(id, "?!")] = restore
		if id == "serving" {
			o.Serving = true
		} else if broken, ok := strings.CutSuffix(id, "!"); ok {
			o.Machines[broken] = Broken
		} else if unknown, ok := strings.CutSuffix(id, "?"); ok {
			o.Machines[unknown] = Unknown
		} else {
			o.Machines[id] = Healthy
		}
	}
	return o
}

// rollout returns a line for each turn: the machine, and the machines that it waits for.
func rollout(p Plan, observation string) []string {
	var lines []string
	for _, turn := range p.Rollout(observed(observation)) {
		lines = append(lines, strings.TrimSpace(turn.ID+" < "+strings.Join(turn.WaitFor, " ")))
	}
	return lines
}

func TestRollout(t *testing.T) {
	object := valid(t)
	set(object, "pools.0.count", 5)
	set(object, "pools.0.maxUnavailable", 2)
	all := NewPlan(decoded(t, object))
	etcd, pool, controlPlane := all, all, all
	etcd.Machines, pool.Machines = all.WithRole(RoleEtcd), all.WithRole(RoleWorker)
	controlPlane.Machines = all.WithRole(RoleControlPlane)
	for _, row := range []struct {
		name     string
		plan     Plan
		observed string
		want     []string
	}{
		{"a new cluster changes in parallel", etcd, "",
			[]string{"test-etcd-0 <", "test-etcd-1 <", "test-etcd-2 <"}},
		{"healthy machines change one at a time", etcd, "serving test-etcd-0 test-etcd-1 test-etcd-2",
			[]string{"test-etcd-0 <", "test-etcd-1 < test-etcd-0", "test-etcd-2 < test-etcd-0 test-etcd-1"}},
		{"a machine that is down comes first", etcd, "test-etcd-0 test-etcd-1",
			[]string{"test-etcd-2 <", "test-etcd-0 < test-etcd-2", "test-etcd-1 < test-etcd-2 test-etcd-0"}},
		{"a broken machine comes first", etcd, "serving test-etcd-0 test-etcd-1 test-etcd-2!",
			[]string{"test-etcd-2 <", "test-etcd-0 < test-etcd-2", "test-etcd-1 < test-etcd-2 test-etcd-0"}},
		{"an unknown member comes before the healthy ones, and they wait for it", etcd,
			"serving test-etcd-0 test-etcd-1 test-etcd-2?",
			[]string{"test-etcd-2 <", "test-etcd-0 < test-etcd-2", "test-etcd-1 < test-etcd-2 test-etcd-0"}},
		{"unknown members change one at a time", etcd, "test-etcd-0? test-etcd-1? test-etcd-2?",
			[]string{"test-etcd-0 <", "test-etcd-1 < test-etcd-0", "test-etcd-2 < test-etcd-0 test-etcd-1"}},
		{"members that never came up change in parallel", etcd, "test-etcd-0! test-etcd-1! test-etcd-2!",
			[]string{"test-etcd-0 <", "test-etcd-1 <", "test-etcd-2 <"}},
		{"all reports are wrong, because the API serves", etcd, "serving test-etcd-0! test-etcd-1! test-etcd-2!",
			[]string{"test-etcd-0 <", "test-etcd-1 < test-etcd-0", "test-etcd-2 < test-etcd-0 test-etcd-1"}},
		{"a majority of reports may be wrong", etcd, "test-etcd-0 test-etcd-1! test-etcd-2!",
			[]string{"test-etcd-1 <", "test-etcd-2 < test-etcd-1", "test-etcd-0 < test-etcd-1 test-etcd-2"}},
		{"no broken member changes while another one is down", etcd, "serving test-etcd-0 test-etcd-1!",
			[]string{"test-etcd-2 <", "test-etcd-1 < test-etcd-2", "test-etcd-0 < test-etcd-2 test-etcd-1"}},
		{"one control plane remains", controlPlane, "serving test-control-plane-0! test-control-plane-1!",
			[]string{"test-control-plane-0 <", "test-control-plane-1 < test-control-plane-0"}},
		{"two machines of a pool may be unavailable", pool,
			"test-a-0 test-a-1 test-a-2 test-a-3 test-a-4",
			[]string{"test-a-0 <", "test-a-1 <", "test-a-2 < test-a-0", "test-a-3 < test-a-0 test-a-1",
				"test-a-4 < test-a-0 test-a-1 test-a-2"}},
		{"unhealthy machines of a pool count as unavailable", pool, "serving test-a-0 test-a-1 test-a-2 test-a-3!",
			[]string{"test-a-3 <", "test-a-4 <", "test-a-0 < test-a-3", "test-a-1 < test-a-3 test-a-4",
				"test-a-2 < test-a-3 test-a-4 test-a-0"}},
		{"machines that the plan does not have are ignored", pool, "test-a-5 test-etcd-0",
			[]string{"test-a-0 <", "test-a-1 <", "test-a-2 <", "test-a-3 <", "test-a-4 <"}},
	} {
		t.Run(row.name, func(t *testing.T) { assert.Equal(t, row.want, rollout(row.plan, row.observed)) })
	}
}

// TestRolloutOfARestore checks that all members of etcd change in parallel, whatever their conditions, until all have
// been created for the restore. The other groups change as usual.
func TestRolloutOfARestore(t *testing.T) {
	object := backups(t, nil)
	for _, row := range []struct {
		name, restore, observed string
		parallel                bool
	}{
		{"healthy members", "a.db", "serving test-etcd-0 test-etcd-1 test-etcd-2", true},
		{"unknown members", "./a.db", "test-etcd-0? test-etcd-1? test-etcd-2?", true},
		{"wrong reports, because the API serves", "a.db", "serving test-etcd-0! test-etcd-1! test-etcd-2!", true},
		{"after another restore", "b.db", "serving test-etcd-0@a.db test-etcd-1@a.db test-etcd-2@a.db", true},
		{"the `up` was interrupted after one member", "a.db", "test-etcd-0!@a.db test-etcd-1 test-etcd-2", true},
		{"the `up` was interrupted before the last member", "a.db", "test-etcd-0!@a.db test-etcd-1!@a.db test-etcd-2", true},
		{"the restore is complete", "a.db", "serving test-etcd-0@a.db test-etcd-1@a.db test-etcd-2@a.db", false},
		{"the key is removed", "", "serving test-etcd-0@a.db test-etcd-1@a.db test-etcd-2@a.db", false},
		{"the key is removed before the restore is complete", "", "test-etcd-0?@a.db test-etcd-1 test-etcd-2", false},
		{"a new cluster from a snapshot", "a.db", "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			set(object, "etcd.restore", row.restore)
			p := NewPlan(decoded(t, object))
			const others = " test-control-plane-0 test-control-plane-1 test-a-0 test-a-1"
			waits := map[string]int{}
			for _, turn := range p.Rollout(observed(row.observed + others)) {
				waits[turn.Group] += len(turn.WaitFor)
			}
			assert.Equal(t, row.parallel, waits["etcd"] == 0)
			assert.Equal(t, 1, waits["control-plane"])
			assert.Equal(t, 1, waits["a"])
		})
	}
}

// TestRolloutOfGroups checks that no group waits for another one. The unhealthy machines of all groups come first.
func TestRolloutOfGroups(t *testing.T) {
	assert.Equal(t, []string{
		"test-etcd-1 <", "test-control-plane-0 <",
		"test-etcd-0 < test-etcd-1", "test-etcd-2 < test-etcd-1 test-etcd-0",
		"test-control-plane-1 < test-control-plane-0",
		"test-a-0 <", "test-a-1 < test-a-0",
	}, rollout(NewPlan(small(t)),
		"test-etcd-0 test-etcd-2 test-control-plane-1 test-a-0 test-a-1"))
}

// TestRolloutKeepsQuorum checks rollouts with wrong reports about machines that work, of a cluster whose API serves or
// that has at least one healthy report. At any time, a majority of etcd and one control plane are neither down nor
// changing.
func TestRolloutKeepsQuorum(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	plans := map[[2]int]Plan{}
	for range 2000 {
		counts := [2]int{1 + 2*random.IntN(3), 1 + random.IntN(4)}
		count := map[Role]int{RoleEtcd: counts[0], RoleControlPlane: counts[1]}
		p, planned := plans[counts]
		if !planned {
			object := valid(t)
			set(object, "etcd.count", count[RoleEtcd])
			set(object, "controlPlane.count", count[RoleControlPlane])
			p = NewPlan(decoded(t, object))
			plans[counts] = p
		}
		limit := map[Role]int{RoleEtcd: (count[RoleEtcd] - 1) / 2, RoleControlPlane: count[RoleControlPlane] - 1}
		o := Observation{Machines: map[string]Condition{}, Serving: random.IntN(2) == 0}
		down, healthy := map[Role]int{}, map[Role]bool{}
		for _, m := range p.Machines {
			if down[m.Role] < limit[m.Role] && random.IntN(4) == 0 {
				down[m.Role]++
				continue
			}
			o.Machines[m.ID] = Broken + Condition(random.IntN(3))
			healthy[m.Role] = healthy[m.Role] || o.Machines[m.ID] > Broken
		}
		ready := map[string]bool{}
		for turns := p.Rollout(o); len(turns) > 0; {
			var changing []string
			unavailable := map[Role]int{}
			turns = slices.DeleteFunc(turns, func(turn Turn) bool {
				begins := !slices.ContainsFunc(turn.WaitFor, func(id string) bool { return !ready[id] })
				if begins {
					changing = append(changing, turn.ID)
				}
				if begins || o.Machines[turn.ID] == Down {
					unavailable[turn.Role]++
				}
				return begins
			})
			for role, n := range limit {
				if o.Serving || healthy[role] {
					// a single machine is unavailable while it changes
					assert.LessOrEqual(t, unavailable[role], max(1, n), "%s of %v", role, o)
				}
			}
			if !assert.NotEmpty(t, changing) {
				return
			}
			for _, id := range changing {
				ready[id] = true
			}
		}
	}
}
