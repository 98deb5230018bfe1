package tests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/etcdsnapshot/etcdsnapshottest"
	"kubernetes-openstack/internal/readiness"
	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/internal/tenantsync"
)

// watcher is a mock infra.Watcher, whose machines are ready as soon as they exist, except for broken ones. Its
// method Tenants is a mock k8s.Syncer.
type watcher struct {
	// working are the machines that are healthy when the program starts. broken are the machines that never
	// become ready.
	working, broken []string
	// instances are the IDs of the instances that exist when the program starts.
	instances map[string]bool
	// restores maps machines to the snapshots that their instances were created to restore.
	restores map[string]string
	// noSnapshot is the error for each snapshot in the container.
	noSnapshot error

	mu      sync.Mutex
	calls   []string
	cluster readiness.Cluster
	// onMachine is called when the program waits for a machine.
	onMachine func(name string)
}

func (w *watcher) record(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, name)
}

func (w *watcher) Observe(_ context.Context, kubeconfig string, names []string) (cluster.Observation, error) {
	w.record("observe " + strings.Join(names, " "))
	if !strings.Contains(kubeconfig, "client-key-data") {
		return cluster.Observation{}, errors.New("unexpected kubeconfig: " + kubeconfig)
	}
	working := map[string]cluster.Condition{}
	for _, name := range w.working {
		working[name] = cluster.Healthy
	}
	return cluster.Observation{Machines: working, Instances: w.instances, Restores: w.restores}, nil
}

func (w *watcher) Snapshot(_ context.Context, container, name string) error {
	w.record("snapshot " + container + " " + name)
	return w.noSnapshot
}

func (w *watcher) Machine(_ context.Context, m readiness.Machine, log func(string) error) error {
	w.record("machine " + m.Name)
	if m.ID != "Instance/"+m.Name || m.Timeout == 0 || m.Kubeconfig == "" || m.Seed == "" ||
		m.Node == strings.Contains(m.Name, "etcd") {
		return fmt.Errorf("unexpected machine: %+v", m)
	}
	if w.onMachine != nil {
		w.onMachine(m.Name)
	}
	if slices.Contains(w.broken, m.Name) {
		return errors.New(m.Name + " is not ready after 15m0s: artifacts is failing: no route to host")
	}
	return log("ready after 9 s")
}

func (w *watcher) Cluster(_ context.Context, c readiness.Cluster, log func(string) error) error {
	w.record("cluster")
	w.cluster = c
	return log("all nodes are Ready")
}

func (w *watcher) Tenants(_ context.Context, kubeconfig string, cloud tenantsync.Cloud, settings tenancy.Settings,
	log func(string) error) error {
	w.record("tenants")
	if kubeconfig != w.cluster.Kubeconfig || cloud.Password == "" || !settings.PodCIDR.IsValid() {
		return fmt.Errorf("unexpected settings: %+v", settings)
	}
	return log("+ namespace shop")
}

func (r *recorder) instances() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, res := range r.resources {
		if res.TypeToken == "openstack:compute/instance:Instance" {
			names = append(names, res.Name)
		}
	}
	return names
}

// TestUpWaits checks that the program waits for the cluster after all machines are ready, and that it passes
// the ID of each node's own instance.
func TestUpWaits(t *testing.T) {
	t.Parallel()
	r, w := &recorder{}, &watcher{}
	require.NoError(t, runWith(r, "dev", stackConfig(t, "../Pulumi.dev.yaml"), w, false))
	assert.Equal(t,
		"observe dev-etcd-0 dev-etcd-1 dev-etcd-2 dev-control-plane-0 dev-control-plane-1 dev-worker-0 dev-worker-1",
		w.calls[0])
	assert.ElementsMatch(t, []string{
		"machine dev-etcd-0", "machine dev-etcd-1", "machine dev-etcd-2", "machine dev-control-plane-0",
		"machine dev-control-plane-1", "machine dev-worker-0", "machine dev-worker-1",
	}, w.calls[1:8])
	assert.Equal(t, []string{"cluster", "tenants"}, w.calls[8:], "the tenants are updated after the cluster is ready")
	assert.Equal(t, map[string]string{
		"dev-control-plane-0": "Instance/dev-control-plane-0", "dev-control-plane-1": "Instance/dev-control-plane-1",
		"dev-worker-0": "Instance/dev-worker-0", "dev-worker-1": "Instance/dev-worker-1",
	}, w.cluster.Nodes)
	assert.Contains(t, w.cluster.Kubeconfig, "server: https://10.0.0.10:6443")
	assert.Contains(t, w.cluster.Kubeconfig, "proxy-url: http://127.0.0.1:3128")
}

// TestDurations checks that an `up` records how long the machines took that it created or replaced, and no others.
func TestDurations(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	w := &watcher{
		working:   []string{"dev-etcd-0", "dev-control-plane-0", "dev-control-plane-1", "dev-worker-0"},
		instances: map[string]bool{"Instance/dev-etcd-0": true, "old": true},
	}
	require.NoError(t, runWith(r, "dev", stackConfig(t, "../Pulumi.dev.yaml"), w, false))
	inputs := r.named("teardown:index:Rollout", "dev").Inputs
	assert.Equal(t, []resource.PropertyKey{"control-plane replace", "etcd new", "worker new", "worker replace"},
		inputs["seconds"].ObjectValue().StableKeys())
	assert.True(t, inputs["config"].IsSecret())
}

// TestNewMachinesStartInParallel checks that no machine of a new cluster waits for another one, because a
// first etcd member is not ready before the others.
func TestNewMachinesStartInParallel(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	var all sync.WaitGroup
	all.Add(7)
	w := &watcher{onMachine: func(string) { all.Done(); all.Wait() }} // each is ready only when all exist
	require.NoError(t, runWith(r, "dev", stackConfig(t, "../Pulumi.dev.yaml"), w, false))
}

// TestHealthyMachinesChangeOneByOne checks that a healthy machine does not change until all machines before it
// are healthy. First come all unhealthy machines, and then the healthy ones with a lower index.
func TestHealthyMachinesChangeOneByOne(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	var mu sync.Mutex
	seen := map[string][]string{}
	w := &watcher{
		working: []string{"dev-etcd-0", "dev-etcd-1", "dev-control-plane-0", "dev-control-plane-1", "dev-worker-0",
			"dev-worker-1"},
		onMachine: func(name string) {
			mu.Lock()
			defer mu.Unlock()
			seen[name] = r.instances()
		},
	}
	require.NoError(t, runWith(r, "dev", stackConfig(t, "../Pulumi.dev.yaml"), w, false))
	for name, later := range map[string][]string{
		"dev-etcd-2":          {"dev-etcd-0", "dev-etcd-1"},
		"dev-etcd-0":          {"dev-etcd-1"},
		"dev-control-plane-0": {"dev-control-plane-1"},
		"dev-worker-0":        {"dev-worker-1"},
	} {
		for _, other := range later {
			assert.NotContains(t, seen[name], other, "was created before %s was ready", name)
		}
	}
	assert.Len(t, r.instances(), 7)
}

// TestRestoreChangesEtcdInParallel checks that a restore changes all members of etcd in parallel, because a member that
// serves the old data prevents it. After the restore, and in all other groups, machines change one at a time.
func TestRestoreChangesEtcdInParallel(t *testing.T) {
	t.Parallel()
	config := edited(t, "../Pulumi.dev.yaml", restoring(t, "dev-20270131T120000Z.db"))
	all := []string{"dev-etcd-0", "dev-etcd-1", "dev-etcd-2", "dev-control-plane-0", "dev-control-plane-1"}
	for name, row := range map[string]struct {
		restored []string // members that an earlier `up` created
		parallel bool
	}{
		"all members have the data before the restore": {nil, true},
		"an `up` was interrupted":                      {[]string{"dev-etcd-0", "dev-etcd-2"}, true},
		"the restore is complete":                      {[]string{"dev-etcd-0", "dev-etcd-1", "dev-etcd-2"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			w := &watcher{working: all, restores: map[string]string{"dev-etcd-1": "dev-20270131T110000Z.db"}}
			for _, member := range row.restored {
				w.restores[member] = "dev-20270131T120000Z.db"
			}
			var members sync.WaitGroup
			members.Add(3)
			w.onMachine = func(machine string) {
				switch {
				case machine == "dev-control-plane-0":
					assert.NotContains(t, r.instances(), "dev-control-plane-1")
				case row.parallel && strings.HasPrefix(machine, "dev-etcd-"):
					members.Done()
					members.Wait() // no member is ready before all exist
				case machine == "dev-etcd-0":
					assert.NotContains(t, r.instances(), "dev-etcd-1")
				}
			}
			require.NoError(t, runWith(r, "dev", config, w, false))
		})
	}
}

// TestRestoreOfAMissingSnapshot checks that a wrong name changes no machine. After a restore, the object may be
// deleted. A local file does not exist in the container before this `up` uploads it.
func TestRestoreOfAMissingSnapshot(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "saved.db")
	require.NoError(t, os.WriteFile(file, etcdsnapshottest.New(4), 0o600))
	members := []string{"dev-etcd-0", "dev-etcd-1", "dev-etcd-2"}
	for name, row := range map[string]struct {
		restore string
		before  []string // snapshots of the members
		preview bool
		fails   bool
	}{
		"a wrong name":               {"typo.db", []string{"", "", ""}, false, true},
		"after an interrupted up":    {"typo.db", []string{"typo.db", "", "typo.db"}, false, true},
		"the restore is complete":    {"typo.db", []string{"typo.db", "typo.db", "typo.db"}, false, false},
		"no restore":                 {`""`, []string{"a.db", "a.db", "a.db"}, false, false},
		"a local file":               {file, []string{"", "", ""}, false, false},
		"a preview needs no network": {"typo.db", []string{"", "", ""}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			w := &watcher{working: members, restores: map[string]string{}, noSnapshot: errors.New("does not exist")}
			for i, member := range members {
				w.restores[member] = row.before[i]
			}
			err := runWith(r, "dev", edited(t, "../Pulumi.dev.yaml", restoring(t, row.restore)), w, row.preview)
			if !row.fails {
				require.NoError(t, err)
				assert.NotContains(t, strings.Join(w.calls, "\n"), "snapshot")
				return
			}
			require.ErrorContains(t, err, "does not exist")
			assert.Contains(t, w.calls, "snapshot dev-etcd typo.db")
			assert.Empty(t, r.instances())
		})
	}
}

// TestMaxUnavailable checks that at most two machines of a pool are unavailable at a time if maxUnavailable
// is two. Unhealthy machines count, too. No other machines wait for the pool.
func TestMaxUnavailable(t *testing.T) {
	t.Parallel()
	config := edited(t, "../Pulumi.dev.yaml", func(stack string) string {
		return strings.Replace(stack, "- name: worker\n        count: 2\n",
			"- name: worker\n        count: 6\n        maxUnavailable: 2\n", 1)
	})
	r := &recorder{}
	var two sync.WaitGroup
	two.Add(2)
	var mu sync.Mutex
	ready := map[string]bool{}
	w := &watcher{
		working: []string{"dev-worker-0", "dev-worker-1", "dev-worker-2", "dev-worker-3", "dev-worker-4"},
		onMachine: func(name string) {
			if !strings.HasPrefix(name, "dev-worker-") {
				return
			}
			if name == "dev-worker-5" || name == "dev-worker-0" {
				two.Done()
				two.Wait()
			}
			time.Sleep(50 * time.Millisecond) // time for machines that do not wait
			mu.Lock()
			defer mu.Unlock()
			unavailable := slices.DeleteFunc(r.instances(), func(other string) bool {
				return !strings.HasPrefix(other, "dev-worker-") || ready[other]
			})
			assert.LessOrEqual(t, len(unavailable), 2, unavailable)
			ready[name] = true
		},
	}
	require.NoError(t, runWith(r, "dev", config, w, false))
	assert.Len(t, ready, 6)
}

// TestNoInstanceDependsOnAnother checks that the order of the machines is not declared to the engine. With a
// declared dependency, it would replace a machine when another one is replaced.
func TestNoInstanceDependsOnAnother(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	w := &watcher{working: []string{"dev-etcd-0", "dev-etcd-1", "dev-etcd-2"}}
	require.NoError(t, runWith(r, "dev", stackConfig(t, "../Pulumi.dev.yaml"), w, false))
	for _, res := range r.resources {
		if res.TypeToken != "openstack:compute/instance:Instance" {
			continue
		}
		for _, urn := range res.RegisterRPC.GetDependencies() {
			assert.NotContains(t, urn, "compute/instance:Instance", res.Name)
		}
		assert.True(t, res.Inputs["userData"].IsSecret(), res.Name)
	}
}

// TestMachineThatIsNotReady checks that `up` fails if a machine does not become ready. Machines after it do
// not change, and all others continue.
func TestMachineThatIsNotReady(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	w := &watcher{working: []string{"dev-etcd-0", "dev-etcd-1", "dev-etcd-2"}, broken: []string{"dev-etcd-1"}}
	err := runWith(r, "dev", stackConfig(t, "../Pulumi.dev.yaml"), w, false)
	assert.ErrorContains(t, err, "dev-etcd-1 is not ready")
	assert.NotContains(t, w.calls, "cluster")
	assert.ElementsMatch(t, []string{
		"dev-etcd-0", "dev-etcd-1", "dev-control-plane-0", "dev-control-plane-1", "dev-worker-0", "dev-worker-1",
	}, r.instances())
}
