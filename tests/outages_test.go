//go:build e2e

package tests

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/changes"
)

// testOutages repeatedly removes the node that keeper runs on, while clients send requests to hello. Only
// data and requests on that node at that moment may be lost.
func testOutages(t *testing.T, e *engine, api *api, openstack cloud, keeper *keeper) {
	box, router := openNamespace(t, ""), openNamespace(t, "router")
	nodes := api.nodeAddresses(t)
	workers := []string{nodes["e2e-worker-0"], nodes["e2e-worker-1"]}
	slices.Sort(workers)
	service := "http://" +
		strings.TrimSpace(api.kubectl(t, "get", "service", "hello", "--output", "jsonpath={.spec.clusterIP}"))
	announced := func(r routes) bool { return slices.Equal(r[netip.MustParsePrefix(services)], workers) }

	// When a node leaves or joins, the router distributes connections anew. It moves current connections to a
	// node that has no state of them, so those connections may break.
	checkLoad := func(t *testing.T, load *load, moves int) {
		t.Helper()
		time.Sleep(3 * time.Second)
		t.Log(load.end())
		assert.Empty(t, load.lost)
		assert.LessOrEqual(t, load.broken, moves*loadClients)
		assert.Zero(t, load.late, "requests that succeeded only at the second try: %v", load.lastError)
		api.await(t, "rollout", "status", "deployment/hello")
	}
	stepExclusive(t, "draining a node loses no request, and the volume moves with its pod", func(t *testing.T) {
		const label = "node.kubernetes.io/exclude-from-external-load-balancers"
		node := keeper.node(t)
		load := box.startLoad(service)
		time.Sleep(3 * time.Second)
		api.kubectl(t, "label", "node", node, label+"=true")
		left := router.waitFor(t, time.Minute, node+" stops announcing Services", func(r routes) bool {
			return slices.Equal(r[netip.MustParsePrefix(services)],
				slices.DeleteFunc(slices.Clone(workers), func(address string) bool { return address == nodes[node] }))
		})
		begin := time.Now()
		api.kubectl(t, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=10m")
		drained := time.Since(begin)
		keeper.waitForMove(t, node)
		moved := time.Since(begin)
		api.kubectl(t, "uncordon", node)
		api.kubectl(t, "label", "node", node, label+"-")
		back := router.waitFor(t, time.Minute, node+" announces Services again", announced)
		t.Logf("%s stopped announcing Services %.1f s after it got the label; the drain took %.1f s; keeper was ready "+
			"on another node %.1f s after the drain began; the node announced Services again %.1f s after its label was removed",
			node, left.Seconds(), drained.Seconds(), moved.Seconds(), back.Seconds())
		checkLoad(t, load, 2)
	})
	stepExclusive(t, "a rolling replacement of workers and etcd, with a lost volume, loses no request and no write", func(
		t *testing.T,
	) {
		for name, credential := range openstack.credentials(t) {
			assert.False(t, credential.Unrestricted, name)
			assert.Equal(t, strings.Contains(name, "etcd-backup"), len(credential.AccessRules) > 0, name)
			if name != "e2e-1" {
				assert.Regexp(t, `^e2e-1\.etcd-backup\.[0-9a-f]{8}$`, name)
				continue
			}
			var roles []string
			for _, role := range credential.Roles {
				roles = append(roles, role.Name)
			}
			assert.ElementsMatch(t, []string{"member", "reader"}, roles)
		}
		assert.Len(t, openstack.credentials(t), 2)
		e.on(t, "e2e-etcd-0", "etcdctl put answer 42")
		e.on(t, "e2e-etcd-1", "touch /var/lib/etcd/marker")
		members := e.members(t)
		ids := map[string]string{}
		for _, name := range machines {
			ids[name] = openstack.server(t, name)
		}

		load := box.startLoad(service)
		writer := api.startWriter(t)
		writer.waitForMore(t, 10)
		openstack.loseVolumes(t, "e2e-etcd-2")
		writer.waitForMore(t, 10)
		e.configure(t, func(text string) string {
			return patched(t, "replaced.yaml")(patched(t, "abac.yaml")(patched(t, "e2e.yaml")(text)))
		})
		table := e.changes(t)
		t.Log("\n" + table.String())
		begin := time.Now()
		e.must("up", "--yes", "--skip-preview", "--refresh")
		t.Logf("replaced the machines in %.0f s, estimated %d s", time.Since(begin).Seconds(), table.Seconds)
		checkLoad(t, load, 4)
		writer.check(t)
		router.waitFor(t, time.Minute, "both workers announce Services", announced)
		listed := map[string]changes.Change{}
		for _, c := range table.Machines {
			listed[c.Machine] = c
			assert.NotEmpty(t, c.Keys, c.Machine)
		}
		assert.Len(t, listed, 5)
		for _, name := range machines {
			replaced := !strings.HasPrefix(name, "e2e-control-plane-") // etcd machines have a credential, too
			assert.Equal(t, replaced, ids[name] != openstack.server(t, name), "%s is a new instance", name)
			class := listed[name].Class
			assert.Equal(t, replaced, class == changes.Replace || class == changes.ReplaceMember, "%s: %s", name, class)
		}
		for i, name := range []string{"e2e-worker-0", "e2e-worker-1"} {
			assert.Equal(t, i+1, listed[name].Step, name)
			assert.Equal(t, []string{"pools[0].labels"}, listed[name].Keys, name)
		}
		ready := api.readySince(t)
		for _, machine := range openstack.machines(t, "e2e") {
			if machine.Name == "e2e-worker-1" {
				assert.False(t, ready["e2e-worker-0"].After(machine.Created),
					"e2e-worker-0 became Ready at %s, after e2e-worker-1 was created at %s",
					ready["e2e-worker-0"], machine.Created)
			}
		}
		// No worker got a pod before it had BGP sessions with all other nodes and the router.
		for i, worker := range []string{"e2e-worker-0", "e2e-worker-1"} {
			seen := e.on(t, worker, `journalctl --boot --output cat --unit calico-bird --unit containerd | `+
				`grep -oE '[A-Za-z]+_[0-9_]+: State changed to up|RunPodSandbox for name:..hello-'`)
			sessions, _, found := strings.Cut(seen, "RunPodSandbox")
			assert.True(t, found, "%s got no pod: %s", worker, seen)
			for _, peer := range []string{"Mesh_10_0_0_160", "Mesh_10_0_0_161",
				"Mesh_" + strings.ReplaceAll(workers[1-i], ".", "_"), "Node_10_0_0_1"} {
				assert.Contains(t, sessions, peer+": State changed to up", worker)
			}
		}
		// the member with its volume is the same, and the one with a new volume is another one; both have all data
		e.waitForEtcd(t)
		e.on(t, "e2e-etcd-1", "test -e /var/lib/etcd/marker")
		e.checkJoined(t, members, "e2e-etcd-2", begin)
		for _, name := range []string{"e2e-etcd-1", "e2e-etcd-2"} {
			assert.Contains(t, e.on(t, name, "ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 etcdctl get answer"), "42")
			assert.Contains(t, e.on(t, name, "etcdctl auth status"), "Authentication Status: true")
		}
		after := openstack.credentials(t)
		assert.Len(t, after, 2)
		assert.Contains(t, after, "e2e-2")
		for name := range after {
			assert.True(t, strings.HasPrefix(name, "e2e-2"), name)
		}
		keeper.waitForMove(t, "")
		e.must("preview", "--expect-no-changes")
	})
	tainted := func(node string, want bool) {
		t.Helper()
		eventually(t, 3*time.Minute, func() error {
			taints, err := api.try("get", "node", node, "--output", "jsonpath={.spec.taints[*].key}")
			if err == nil && strings.Contains(taints, "node.cloudprovider.kubernetes.io/shutdown") != want {
				err = fmt.Errorf("the taints of %s are %s", node, taints)
			}
			return err
		})
	}
	stepExclusive(t,
		"a node without power gets no requests, its pods move, and up starts it again", func(t *testing.T) {
			node := keeper.node(t)
			o := cutPower(t, openstack, box, router, node, nodes[node], service, func() {
				begin := time.Now()
				require.NoError(t, e.cutPower(node))
				require.NoError(t, servers.WaitForStatus(t.Context(), openstack.clients["compute"], openstack.server(t, node),
					"SHUTOFF"))
				tainted(node, true)
				detected := time.Since(begin)
				// Kubernetes does not treat a pod as terminated while its node may only be unreachable. An
				// operator who sees in Nova that the machine is off sets this taint.
				api.kubectl(t, "taint", "node", node, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
				keeper.waitForMove(t, node)
				t.Logf("the cloud controller set its taint %.0f s after Nova reported SHUTOFF; keeper was ready on another node "+
					"%.0f s after the taint out-of-service",
					detected.Seconds(), (time.Since(begin) - detected).Seconds())
			}, func() { assert.Contains(t, e.must("up", "--yes", "--skip-preview", "--refresh"), "~ 1 updated") })
			t.Log(o)
			waiting, err := api.notReady(4)
			require.NoError(t, err)
			require.Empty(t, waiting)
			tainted(node, false)
			api.kubectl(t, "taint", "node", node, "node.kubernetes.io/out-of-service-")
			eventually(t, time.Minute, func() error { _, err := box.get(service, answerTime); return err })
		})
}

// outage holds the effects of a node's power cut, as durations since the cut.
type outage struct {
	// routes is the time until the router had no more routes to the node. lastLost is the time of the last
	// lost request to a Service.
	routes, lastLost time.Duration
	requests         string
	// back is the time from the start of the restore until the router had its routes again.
	back time.Duration
}

func (o outage) String() string {
	return fmt.Sprintf("The router deleted the routes %.1f s after the power cut. The last request to a Service was lost "+
		"after %.1f s. The routes returned %.1f s after the start of the restore. %s",
		o.routes.Seconds(), o.lastLost.Seconds(), o.back.Seconds(), o.requests)
}

// cutPower cuts a machine's power under a load of requests to url. It first disconnects the machine's port,
// so that no connection is closed. Then it calls notice, in which the caller waits for effects, and restore,
// in which the caller restores the power.
func cutPower(t testing.TB, openstack cloud, box, router namespace, machine, address, url string,
	notice, restore func()) outage {
	t.Helper()
	var o outage
	load := box.startLoad(url)
	time.Sleep(3 * time.Second)
	begin := time.Now()
	openstack.cable(t, box, machine, "down")
	defer openstack.cable(t, box, machine, "up") // also after a failure
	o.routes = router.waitFor(t, 5*time.Minute, "the router has no route to "+address,
		func(r routes) bool { return !r.via(address) })
	notice()
	time.Sleep(5 * time.Second)
	o.requests = load.end()
	o.lastLost = max(0, load.lastLost()-begin.Sub(load.begin))
	begin = time.Now()
	restore()
	router.waitFor(t, 5*time.Minute, "the router has routes to "+address+" again",
		func(r routes) bool { return r.via(address) })
	o.back = time.Since(begin)
	return o
}

// changes returns the table of the next `up`, as `pulumi preview --json` has it.
func (e *engine) changes(t *testing.T) changes.Table {
	t.Helper()
	out := e.must("preview", "--json")
	var digest struct {
		Steps []struct {
			NewState struct {
				Type   string
				Inputs struct{ Changes changes.Table }
			}
		}
	}
	begin := strings.Index(out, "{\n") // after warnings
	require.GreaterOrEqual(t, begin, 0, out)
	require.NoError(t, json.NewDecoder(strings.NewReader(out[begin:])).Decode(&digest), out)
	for _, step := range digest.Steps {
		if step.NewState.Type == "teardown:index:Rollout" {
			return step.NewState.Inputs.Changes
		}
	}
	require.Fail(t, "the preview has no table", out)
	return changes.Table{}
}
