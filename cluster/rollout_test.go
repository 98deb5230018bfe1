package cluster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// rollout returns a line for each turn: the machine, and the machines that it waits for.
func rollout(p Plan, healthy ...string) []string {
	set := map[string]bool{}
	for _, id := range healthy {
		set[id] = true
	}
	var lines []string
	for _, turn := range p.Rollout(set) {
		lines = append(lines, strings.TrimSpace(turn.ID+" < "+strings.Join(turn.WaitFor, " ")))
	}
	return lines
}

func TestRollout(t *testing.T) {
	object := valid(t)
	set(object, "pools.0.count", 5)
	set(object, "pools.0.maxUnavailable", 2)
	etcd := NewPlan(decoded(t, object))
	pool := etcd
	etcd.Machines, pool.Machines = etcd.WithRole(RoleEtcd), etcd.WithRole(RoleWorker)
	for _, row := range []struct {
		name    string
		plan    Plan
		healthy []string
		want    []string
	}{
		{"a new cluster changes in parallel", etcd, nil,
			[]string{"test-etcd-0 <", "test-etcd-1 <", "test-etcd-2 <"}},
		{"healthy machines change one at a time", etcd, []string{"test-etcd-0", "test-etcd-1", "test-etcd-2"},
			[]string{"test-etcd-0 <", "test-etcd-1 < test-etcd-0", "test-etcd-2 < test-etcd-0 test-etcd-1"}},
		{"an unhealthy machine comes first", etcd, []string{"test-etcd-0", "test-etcd-1"},
			[]string{"test-etcd-2 <", "test-etcd-0 < test-etcd-2", "test-etcd-1 < test-etcd-2 test-etcd-0"}},
		{"two machines of a pool may be unavailable", pool,
			[]string{"test-a-0", "test-a-1", "test-a-2", "test-a-3", "test-a-4"},
			[]string{"test-a-0 <", "test-a-1 <", "test-a-2 < test-a-0", "test-a-3 < test-a-0 test-a-1",
				"test-a-4 < test-a-0 test-a-1 test-a-2"}},
		{"unhealthy machines of a pool count as unavailable", pool, []string{"test-a-0", "test-a-1", "test-a-2"},
			[]string{"test-a-3 <", "test-a-4 <", "test-a-0 < test-a-3", "test-a-1 < test-a-3 test-a-4",
				"test-a-2 < test-a-3 test-a-4 test-a-0"}},
		{"machines that the plan does not have are ignored", pool, []string{"test-a-5", "test-etcd-0"},
			[]string{"test-a-0 <", "test-a-1 <", "test-a-2 <", "test-a-3 <", "test-a-4 <"}},
	} {
		t.Run(row.name, func(t *testing.T) { assert.Equal(t, row.want, rollout(row.plan, row.healthy...)) })
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
		"test-etcd-0", "test-etcd-2", "test-control-plane-1", "test-a-0", "test-a-1"))
}
