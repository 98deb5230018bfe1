package readiness

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
)

// fleet is a fake Nova with several instances by their IDs, which are their names if these are empty.
type fleet map[string]*nova

func (f fleet) cloud(t *testing.T) *Cloud {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if parts := strings.Split(r.URL.Path, "/"); parts[2] != "detail" {
			f[parts[2]].ServeHTTP(w, r)
			return
		}
		servers := []any{}
		name := regexp.MustCompile(strings.ReplaceAll(r.URL.Query().Get("name"), "|", `\|`))
		for id, n := range f {
			if called := cmp.Or(n.name, id); name.MatchString(called) {
				servers = append(servers, map[string]any{"id": id, "name": called, "status": n.status, "created": n.created,
					"metadata": n.metadata})
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"servers": servers})
	}))
	t.Cleanup(server.Close)
	client := &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{}, Endpoint: server.URL + "/"}
	return newCloud(func() (*gophercloud.ServiceClient, error) { return client, nil }, time.Millisecond)
}

const offline = "http://127.0.0.1:1"

// TestObserve checks the condition of an instance for each status, console and Node.
func TestObserve(t *testing.T) {
	ready := console("bootstrap: boot 1", "bootstrap: etcd: started", "bootstrap: ready after 1 s")
	failing := console("bootstrap: boot 1", "bootstrap: artifacts: failing: 404")
	waiting := console("bootstrap: boot 1", "bootstrap: ready after 1 s", "bootstrap: etcd: waiting: no quorum")
	active := func(consoles ...string) *nova { return &nova{status: "ACTIVE", consoles: consoles} }
	for name, row := range map[string]struct {
		nova *nova
		want cluster.Condition
	}{
		"ready":                            {active(ready), cluster.Healthy},
		"no output after a live migration": {active(""), cluster.Unknown},
		"output pushed the report out":     {active(console("kernel: noise")), cluster.Unknown},
		"only the end of a report is left": {active(console("bootstrap: etcd: done after 2 s", "noise")), cluster.Unknown},
		"a step waits for a moment":        {active(waiting, waiting, waiting, ready), cluster.Healthy},
		"it reboots": {active(console("bootstrap: boot 2", "bootstrap: etcd: started")),
			cluster.Unknown},
		"a step waits, perhaps for the API that does not serve": {active(waiting), cluster.Unknown},
		"a step fails":           {active(failing), cluster.Broken},
		"Nova has no connection": {&nova{status: "ACTIVE"}, cluster.Unknown},
		"Nova refuses with 400":  {&nova{status: "ACTIVE", refuse: 400}, cluster.Unknown},
		"Nova refuses with 403":  {&nova{status: "ACTIVE", refuse: 403}, cluster.Unknown},
		"Nova refuses with 404":  {&nova{status: "ACTIVE", refuse: 404}, cluster.Unknown},
		"it migrates":            {&nova{status: "MIGRATING", consoles: []string{""}}, cluster.Unknown},
		"it is off":              {&nova{status: "SHUTOFF", consoles: []string{ready}}, cluster.Down},
		"it is in ERROR":         {&nova{status: "ERROR", consoles: []string{ready}}, cluster.Down},
		"it is being built":      {&nova{status: "BUILD", consoles: []string{""}}, cluster.Down},
		"a new machine boots": {&nova{status: "ACTIVE", consoles: []string{""}, created: time.Now().Add(-time.Minute)},
			cluster.Broken},
		"a new machine is ready": {&nova{status: "ACTIVE", consoles: []string{ready}, created: time.Now()}, cluster.Healthy},
	} {
		t.Run(name, func(t *testing.T) {
			f := fleet{"dev-etcd-0": row.nova, "dev-etcd-00": active(ready)}
			got, err := f.cloud(t).Observe(t.Context(), kubeconfigOf(offline), []string{"dev-etcd-0", "dev-etcd-1"})
			require.NoError(t, err)
			assert.False(t, got.Serving)
			assert.Equal(t, row.want, got.Machines["dev-etcd-0"])
			assert.NotContains(t, got.Machines, "dev-etcd-1", "it has no instance")
			assert.NotContains(t, got.Machines, "dev-etcd-00", "it is not ours")
			if row.nova.refuse != 0 {
				assert.Equal(t, 1, row.nova.reads, "another request is useless")
			}
		})
	}
}

func TestObserveManyMachines(t *testing.T) {
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("%s-worker-%d", strings.Repeat("x", 50), i))
	}
	f := fleet{many[999]: {status: "ACTIVE", consoles: []string{""}}}
	got, err := f.cloud(t).Observe(t.Context(), kubeconfigOf(offline), many)
	require.NoError(t, err)
	assert.Equal(t, map[string]cluster.Condition{many[999]: cluster.Unknown}, got.Machines)

	_, err = cloudOf(t, &nova{}).Observe(t.Context(), kubeconfigOf(offline), []string{"dev-etcd-0"})
	assert.Error(t, err)
	got, err = fleet{}.cloud(t).Observe(t.Context(), "no kubeconfig", []string{"dev-etcd-0"})
	require.NoError(t, err)
	assert.Empty(t, got.Machines, "a new cluster")
}

// TestObserveTwoInstances checks that an instance that was not created for a restore counts, although another one with
// the same name was.
func TestObserveTwoInstances(t *testing.T) {
	ready := console("bootstrap: boot 1", "bootstrap: ready after 1 s")
	plan := cluster.Plan{Machines: []cluster.Machine{{ID: "dev-etcd-0", Role: cluster.RoleEtcd}}}
	plan.Etcd.Restore = "a.db"
	for _, test := range []struct {
		restores []string
		want     bool
	}{
		{[]string{"a.db", "a.db", "a.db"}, false},
		{[]string{"a.db", "b.db", "a.db"}, true},
		{[]string{"a.db", "", "a.db"}, true},
		{[]string{"b.db", "b.db", "a.db"}, true},
	} {
		f := fleet{}
		for i, restore := range test.restores {
			f[fmt.Sprint(i)] = &nova{name: "dev-etcd-0", status: "ACTIVE", consoles: []string{ready},
				metadata: map[string]string{"restore": restore}}
		}
		got, err := f.cloud(t).Observe(t.Context(), kubeconfigOf(offline), []string{"dev-etcd-0"})
		require.NoError(t, err)
		assert.Equal(t, test.want, plan.Restoring(got), test.restores)
	}
}

// TestObserveAPI checks that a Ready Node is healthy, whatever its console reports, and that its console is not
// read. A Node of another instance is no evidence.
func TestObserveAPI(t *testing.T) {
	failing := console("bootstrap: boot 1", "bootstrap: artifacts: failing: 404")
	f := fleet{}
	for _, name := range []string{"dev-a-0", "dev-a-1", "dev-a-2", "dev-etcd-0"} {
		f[name] = &nova{status: "ACTIVE", consoles: []string{failing}}
	}
	var lock sync.Mutex
	code := http.StatusOK
	f["dev-a-3"] = &nova{status: "ACTIVE", consoles: []string{
		console("bootstrap: boot 1", "bootstrap: ready after 1 s", "bootstrap: node: failing: not Ready")}}
	f["dev-etcd-0"].metadata = map[string]string{"cluster": "dev", "restore": "a.db"}
	kubeconfig := kubeAPI(t, func() (int, string) {
		lock.Lock()
		defer lock.Unlock()
		return code, "[-]etcd failed"
	}, nodesJSON(
		nodeJSON("dev-a-0", "openstack:///dev-a-0", "True"), nodeJSON("dev-a-1", "openstack:///old", "True"),
		nodeJSON("dev-a-2", "openstack:///dev-a-2", "Unknown")))
	names := []string{"dev-a-0", "dev-a-1", "dev-a-2", "dev-a-3", "dev-etcd-0"}
	got, err := f.cloud(t).Observe(t.Context(), kubeconfig, names)
	require.NoError(t, err)
	assert.Equal(t, cluster.Observation{
		Serving: true,
		Machines: map[string]cluster.Condition{
			"dev-a-0": cluster.Healthy, "dev-a-1": cluster.Broken, "dev-a-2": cluster.Broken, "dev-a-3": cluster.Broken,
			"dev-etcd-0": cluster.Broken,
		},
		Instances: map[string]bool{
			"dev-a-0": true, "dev-a-1": true, "dev-a-2": true, "dev-a-3": true, "dev-etcd-0": true,
		},
		Restores: map[string]string{"dev-a-0": "", "dev-a-1": "", "dev-a-2": "", "dev-a-3": "", "dev-etcd-0": "a.db"},
	}, got)
	assert.Zero(t, f["dev-a-0"].reads)

	code = http.StatusInternalServerError
	got, err = f.cloud(t).Observe(t.Context(), kubeconfig, names)
	require.NoError(t, err)
	assert.False(t, got.Serving)
	assert.Equal(t, cluster.Broken, got.Machines["dev-a-0"])
	assert.Equal(t, cluster.Unknown, got.Machines["dev-a-3"], "it was ready, and may only lack the API")
}

// TestRolloutWithWrongConsoles checks the order of etcd in a cluster that serves, when all consoles are empty, report
// a failing step, or cannot be read. Each member waits for the others.
func TestRolloutWithWrongConsoles(t *testing.T) {
	plan := cluster.Plan{}
	f := fleet{}
	var names []string
	for i := range 3 {
		m := cluster.Machine{ID: fmt.Sprint("dev-etcd-", i), Group: "etcd", Role: cluster.RoleEtcd, MaxUnavailable: 1}
		plan.Machines = append(plan.Machines, m)
		names = append(names, m.ID)
	}
	for name, each := range map[string]func() *nova{
		"empty": func() *nova { return &nova{consoles: []string{""}} },
		"failing": func() *nova {
			return &nova{consoles: []string{console("bootstrap: boot 1", "bootstrap: etcd: failing: x")}}
		},
		"refused": func() *nova { return &nova{refuse: http.StatusNotFound} },
	} {
		for _, id := range names {
			f[id] = each()
			f[id].status = "ACTIVE"
		}
		o, err := f.cloud(t).Observe(t.Context(), kubeAPI(t, ok, nodesJSON()), names)
		require.NoError(t, err)
		var waiting []int
		for _, turn := range plan.Rollout(o) {
			waiting = append(waiting, len(turn.WaitFor))
		}
		assert.Equal(t, []int{0, 1, 2}, waiting, name)
	}
}

// TestNoConsoleOutput checks that the API decides on a cloud without console output, without a wait.
func TestNoConsoleOutput(t *testing.T) {
	ready := nodesJSON(nodeJSON("dev-worker-0", "openstack:///uuid", "True"))
	old := time.Now().Add(-time.Hour)
	for name, row := range map[string]struct {
		nova  *nova
		node  bool
		nodes func() string
		want  string
	}{
		"a node":                 {&nova{status: "ACTIVE", refuse: 404}, true, ready, ""},
		"a node after migration": {&nova{status: "ACTIVE", consoles: []string{""}}, true, ready, ""},
		"a member of etcd":       {&nova{status: "ACTIVE", refuse: 403, created: old}, false, ready, ""},
		"a new member of etcd": {&nova{status: "ACTIVE", refuse: 400, created: time.Now()}, false, ready,
			"without reports on the console, the Kubernetes API decides: without reports, a member of etcd counts as ready " +
				"3m0s after its creation"},
		"an old member of etcd with other output": {&nova{status: "ACTIVE", consoles: []string{"noise"}, created: old},
			false, ready, ""},
		"a member of etcd that does not boot": {&nova{status: "ACTIVE", consoles: []string{"kernel panic"},
			created: time.Now()}, false, ready, "counts as ready 3m1s after its creation"},
		"a member of etcd whose creation took long": {&nova{status: "ACTIVE", consoles: []string{""}, created: old,
			launched: time.Now().UTC().Format("2006-01-02T15:04:05.000000")}, false, ready,
			"counts as ready 3m0s after its creation"},
		"a node of another instance": {&nova{status: "ACTIVE", refuse: 404}, true,
			nodesJSON(nodeJSON("dev-worker-0", "openstack:///old", "True")),
			`must be openstack:///uuid, got "openstack:///old"`},
		"a report decides": {&nova{status: "ACTIVE",
			consoles: []string{console("bootstrap: boot 1", "bootstrap: node: started")}}, true, ready, "node is not done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if row.want != "" {
				timeout = time.Second
			}
			machine := Machine{Name: "dev-worker-0", ID: "uuid", Node: row.node, Kubeconfig: kubeAPI(t, ok, row.nodes),
				Timeout: timeout}
			begin := time.Now()
			err := cloudOf(t, row.nova).Machine(t.Context(), machine, func(string) error { return nil })
			if row.want != "" {
				assert.ErrorContains(t, err, row.want)
				return
			}
			require.NoError(t, err)
			assert.Less(t, time.Since(begin), 10*time.Second)
		})
	}
}
