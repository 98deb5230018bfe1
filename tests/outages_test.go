//go:build e2e

package tests

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	// node that does not know them, so those connections may break.
	losesNothing := func(t *testing.T, load *load, moves int) {
		t.Helper()
		time.Sleep(3 * time.Second)
		t.Log(load.end())
		assert.Empty(t, load.lost)
		assert.LessOrEqual(t, load.broken, moves*loadClients)
		assert.Zero(t, load.late, "requests that were only answered at a second try: %v", load.why)
		api.kubectl(t, "rollout", "status", "deployment/hello", "--timeout=90s")
	}
	stepAlone(t, "a node that is drained loses no request, and its volume follows its pod", func(t *testing.T) {
		const label = "node.kubernetes.io/exclude-from-external-load-balancers"
		node := keeper.node(t)
		load := box.startLoad(service)
		time.Sleep(3 * time.Second)
		api.kubectl(t, "label", "node", node, label+"=true")
		left := router.until(t, time.Minute, node+" leaves the announcement", func(r routes) bool {
			return slices.Equal(r[netip.MustParsePrefix(services)],
				slices.DeleteFunc(slices.Clone(workers), func(address string) bool { return address == nodes[node] }))
		})
		begin := time.Now()
		api.kubectl(t, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s")
		drained := time.Since(begin)
		keeper.leaves(t, node)
		moved := time.Since(begin)
		api.kubectl(t, "uncordon", node)
		api.kubectl(t, "label", "node", node, label+"-")
		back := router.until(t, time.Minute, node+" announces again", announced)
		t.Logf("%s left the announcement %.1f s after it was labelled, was drained after %.1f s more, keeper ready "+
			"elsewhere %.1f s after the drain began; announces again %.1f s after its label was taken off",
			node, left.Seconds(), drained.Seconds(), moved.Seconds(), back.Seconds())
		losesNothing(t, load, 2)
	})
	stepAlone(t, "a rolling replacement of the machines, with another credential, loses no request", func(t *testing.T) {
		before := openstack.credentials(t)
		require.Len(t, before, 1)
		assert.Equal(t, "e2e-1", before[0].Name)
		assert.False(t, before[0].Unrestricted)
		var roles []string
		for _, role := range before[0].Roles {
			roles = append(roles, role.Name)
		}
		assert.ElementsMatch(t, []string{"member", "reader"}, roles)
		e.on(t, "e2e-etcd-0", "etcdctl put answer 42")
		e.on(t, "e2e-etcd-1", "touch /var/lib/etcd/marker")
		members := e.on(t, "e2e-etcd-0", "etcdctl member list")
		made := map[string]string{}
		for _, name := range machines {
			made[name] = openstack.server(t, name)
		}

		load := box.startLoad(service)
		time.Sleep(3 * time.Second)
		e.configure(t, func(text string) string {
			return patched(t, "replaced.yaml")(patched(t, "abac.yaml")(patched(t, "e2e.yaml")(text)))
		})
		begin := time.Now()
		e.must("up", "--yes", "--skip-preview", "--replace", e.urn("openstack:compute/instance:Instance", "e2e-etcd-1"))
		t.Logf("replaced after %.0f s", time.Since(begin).Seconds())
		losesNothing(t, load, 4)
		router.until(t, time.Minute, "both workers announce", announced)
		for _, name := range machines {
			replaced := slices.Contains([]string{"e2e-etcd-1", "e2e-worker-0", "e2e-worker-1"}, name)
			assert.Equal(t, replaced, made[name] != openstack.server(t, name), "%s is another machine", name)
		}
		ready := api.readySince(t)
		for _, machine := range openstack.machines(t, "e2e") {
			if machine.Name == "e2e-worker-1" {
				assert.False(t, ready["e2e-worker-0"].After(machine.Created), "e2e-worker-0 was Ready at %s, and this made at %s",
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
		// etcd has the same member with the same data
		e.waitForEtcd(t)
		e.on(t, "e2e-etcd-1", "test -e /var/lib/etcd/marker")
		assert.Equal(t, members, e.on(t, "e2e-etcd-0", "etcdctl member list"))
		assert.Contains(t, e.on(t, "e2e-etcd-1", "ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 etcdctl get answer"), "42")
		assert.Contains(t, e.on(t, "e2e-etcd-1", "etcdctl auth status"), "Authentication Status: true")
		after := openstack.credentials(t)
		require.Len(t, after, 1)
		assert.Equal(t, "e2e-2", after[0].Name)
		keeper.leaves(t, "")
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
	stepAlone(t,
		"a node without power gets no requests, its pods run elsewhere, and up starts it again", func(t *testing.T) {
			node := keeper.node(t)
			o := cutPower(t, openstack, box, router, node, nodes[node], service, func() {
				begin := time.Now()
				_ = e.ssh(node, "systemctl poweroff --force --force").Run() // nothing is closed or unmounted
				require.NoError(t, servers.WaitForStatus(t.Context(), openstack.clients["compute"], openstack.server(t, node),
					"SHUTOFF"))
				tainted(node, true)
				known := time.Since(begin)
				// Kubernetes does not treat a pod as terminated while its node may only be unreachable. An
				// operator who sees in Nova that the machine is off sets this taint.
				api.kubectl(t, "taint", "node", node, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
				keeper.leaves(t, node)
				t.Logf("OpenStack's controller knew of it %.0f s after Nova did; keeper was ready elsewhere %.0f s after it was "+
					"said that the machine is off",
					known.Seconds(), (time.Since(begin) - known).Seconds())
			}, func() { assert.Contains(t, e.must("up", "--yes", "--skip-preview", "--refresh"), "~ 1 updated") })
			t.Log(o)
			waiting, err := api.notReady(4)
			require.NoError(t, err)
			require.Empty(t, waiting)
			tainted(node, false)
			api.kubectl(t, "taint", "node", node, "node.kubernetes.io/out-of-service-")
			eventually(t, time.Minute, func() error { _, err := box.get(service, 2*time.Second); return err })
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
	return fmt.Sprintf("the router sent nothing to it %.1f s after its power was cut; the last request to a Service was "+
		"lost after %.1f s (%s); its routes were back %.1f s after it was to be started again",
		o.routes.Seconds(), o.lastLost.Seconds(), o.requests, o.back.Seconds())
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
	o.routes = router.until(t, 5*time.Minute, "the router sends nothing to "+address,
		func(r routes) bool { return !r.via(address) })
	notice()
	time.Sleep(5 * time.Second)
	o.requests = load.end()
	o.lastLost = max(0, load.lastLost()-begin.Sub(load.begin))
	begin = time.Now()
	restore()
	router.until(t, 5*time.Minute, "the router sends to "+address+" again", func(r routes) bool { return r.via(address) })
	o.back = time.Since(begin)
	return o
}
