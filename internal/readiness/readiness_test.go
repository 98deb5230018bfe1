package readiness

import (
	"context"
	"encoding/json"
	"errors"
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
)

// nova is a fake Nova with one instance.
type nova struct {
	mu       sync.Mutex
	name     string
	status   string
	fault    string
	created  time.Time
	metadata map[string]string
	launched string   // in Nova's format
	refuse   int      // the status code of a request of the console, if it is not 0
	consoles []string // one for each read; the last one repeats
	reads    int
}

func (n *nova) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fault := map[string]any{"message": n.fault}
	server := map[string]any{"id": "uuid", "name": n.name, "status": n.status, "fault": fault, "created": n.created,
		"OS-SRV-USG:launched_at": n.launched}
	answer := map[string]any{}
	switch {
	case len(r.URL.String()) > 4096:
		http.Error(w, "URI too long", http.StatusRequestURITooLong)
		return
	case n.status == "":
		http.NotFound(w, r)
		return
	case r.Method == http.MethodPost && n.refuse != 0:
		n.reads++
		http.Error(w, "no console", n.refuse)
		return
	case r.Method == http.MethodPost:
		if len(n.consoles) == 0 {
			http.Error(w, "no compute", http.StatusServiceUnavailable)
			return
		}
		answer["output"] = n.consoles[min(n.reads, len(n.consoles)-1)]
		n.reads++
	case r.URL.Path == "/servers/detail":
		answer["servers"] = []any{}
		// Nova on MySQL matches | literally
		if regexp.MustCompile(strings.ReplaceAll(r.URL.Query().Get("name"), "|", `\|`)).MatchString(n.name) {
			answer["servers"] = []any{server}
		}
	default:
		answer["server"] = server
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// cloudOf returns a Cloud that uses n.
func cloudOf(t *testing.T, n *nova) *Cloud {
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	client := &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{}, Endpoint: server.URL + "/"}
	return newCloud(func() (*gophercloud.ServiceClient, error) { return client, nil }, time.Millisecond)
}

func console(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

// wait waits for the instance and returns the logged lines.
func wait(t *testing.T, n *nova, timeout time.Duration) ([]string, error) {
	t.Helper()
	var logged []string
	machine := Machine{Name: "dev-worker-0", ID: "uuid", Timeout: timeout}
	err := cloudOf(t, n).Machine(t.Context(), machine, func(line string) error {
		logged = append(logged, line)
		return nil
	})
	return logged, err
}

func TestMachineBecomesReady(t *testing.T) {
	n := &nova{status: "ACTIVE", consoles: []string{
		"",
		console("Booting", "bootstrap: boot 1", "bootstrap: artifacts: started"),
		console("Booting", "bootstrap: boot 1", "bootstrap: artifacts: started",
			"dev-worker-0 login: bootstrap: artifacts: done after 3 s"),
		console("\x1b[0;32mbootstrap: boot 1\x1b[0m", "bootstrap: artifacts: started",
			"bootstrap: artifacts: done after 3 s", "noise", "bootstrap: ready after 9 s"),
	}}
	logged, err := wait(t, n, time.Minute)
	require.NoError(t, err)
	assert.Equal(t, []string{"boot 1", "artifacts: started", "artifacts: done after 3 s", "ready after 9 s"}, logged)
}

// TestMachineThatIsReady checks that an `up` without changes reads the console once and logs nothing.
func TestMachineThatIsReady(t *testing.T) {
	n := &nova{status: "ACTIVE",
		consoles: []string{console("bootstrap: boot 1", "bootstrap: node: started", "bootstrap: ready after 9 s")}}
	logged, err := wait(t, n, time.Minute)
	require.NoError(t, err)
	assert.Empty(t, logged)
	assert.Equal(t, 1, n.reads)
}

// TestNotices checks that a notice does not delay readiness, and that each wait logs it. A notice that
// disappears before the machine is ready is not logged, and neither is one of an earlier boot.
func TestNotices(t *testing.T) {
	const session = "calico-peers: notice: no BGP session with 10.0.0.1: Connect"
	ready := console("bootstrap: other: notice: old", "bootstrap: boot 1", "bootstrap: calico-peers: done after 1 s",
		"bootstrap: "+session, "bootstrap: ready after 9 s")
	logged, err := wait(t, &nova{status: "ACTIVE", consoles: []string{ready}}, time.Minute)
	require.NoError(t, err)
	assert.Equal(t, []string{session}, logged)

	disappeared := ready + console("bootstrap: calico-peers: done after 1 s", "bootstrap: ready after 9 s")
	logged, err = wait(t, &nova{status: "ACTIVE", consoles: []string{disappeared}}, time.Minute)
	require.NoError(t, err)
	assert.Empty(t, logged)

	logged, err = wait(t, &nova{status: "ACTIVE", consoles: []string{
		console("bootstrap: boot 1"),
		console("bootstrap: boot 1", "bootstrap: "+session),
		console("bootstrap: boot 1", "bootstrap: "+session, "bootstrap: calico-peers: done after 1 s",
			"bootstrap: kubelet: notice: no swap", "bootstrap: ready after 9 s"),
	}}, time.Minute)
	require.NoError(t, err)
	assert.Equal(t, []string{"boot 1", "calico-peers: done after 1 s", "ready after 9 s", "kubelet: notice: no swap"},
		logged)
}

// TestMachineThatWasReady checks that a ready state does not count if it is from before the last boot, or
// from before a later failure.
func TestMachineThatWasReady(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"rebooted": console("bootstrap: ready after 9 s", "bootstrap: boot 2", "bootstrap: etcd: started"),
		"broken":   console("bootstrap: boot 1", "bootstrap: ready after 9 s", "bootstrap: etcd: waiting: no quorum"),
	} {
		_, err := wait(t, &nova{status: "ACTIVE", consoles: []string{text}}, 2*time.Second)
		assert.ErrorContains(t, err, "etcd is ", name)
	}
	_, err := wait(t, &nova{status: "SHUTOFF", consoles: []string{console("bootstrap: ready after 9 s")}}, 2*time.Second)
	assert.ErrorContains(t, err, "it has reported ready, but the status of its instance is not ACTIVE")
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		nova *nova
		want string
	}{
		{"a step fails", &nova{status: "ACTIVE", consoles: []string{console(
			"bootstrap: boot 1", "bootstrap: artifacts: started",
			"bootstrap: artifacts: failing: curl: (22) 404", "bootstrap: log: old",
			"bootstrap: kubelet: waiting: artifacts", "bootstrap: containerd: failing: no such file", "bootstrap: log: other",
			"bootstrap: artifacts: failing: kubelet: wrong sha256", "bootstrap: log: get https://dl.k8s.io/kubelet",
			"kernel: noise", "bootstrap: log: kubelet: wrong sha256",
		)}}, `dev-worker-0 is not ready after 2s: artifacts is failing: kubelet: wrong sha256
    get https://dl.k8s.io/kubelet
    kubelet: wrong sha256
  containerd is also failing: no such file
  more: openstack console log show uuid; on the machine: journalctl -u artifacts`},
		{"a step waits", &nova{status: "ACTIVE",
			consoles: []string{console("bootstrap: kubelet: started", "bootstrap: etcd: waiting: dev-etcd-1 does not answer")}},
			`dev-worker-0 is not ready after 2s: etcd is waiting: dev-etcd-1 does not answer
  more: openstack console log show uuid; on the machine: journalctl -u etcd`},
		{"a step takes long", &nova{status: "ACTIVE", consoles: []string{console("bootstrap: node: started")}},
			`dev-worker-0 is not ready after 2s: node is not done
  more: openstack console log show uuid; on the machine: journalctl -u kubelet`},
		{"between two steps",
			&nova{status: "ACTIVE", consoles: []string{console("bootstrap: etcd: started", "bootstrap: etcd: done after 2 s")}},
			`dev-worker-0 is not ready after 2s: the last line of its report is "etcd: done after 2 s"
  more: openstack console log show uuid; on the machine: journalctl -u cloud-init -u first-boot`},
		{"no output", &nova{status: "ACTIVE", consoles: []string{console("GRUB", "No bootable device")}},
			`dev-worker-0 is not ready after 2s: no bootstrap output; last lines of the console:
    GRUB
    No bootable device
  more: openstack console log show uuid; on the machine: journalctl -u cloud-init -u first-boot`},
		{"an instance in ERROR", &nova{status: "ERROR", fault: "No valid host"},
			"dev-worker-0: its instance uuid has the status ERROR: No valid host\n" +
				"  fix the cause, then `pulumi up` replaces the instance; more: openstack server show uuid"},
		{"a deleted instance", &nova{}, "dev-worker-0: its instance uuid no longer exists"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := wait(t, row.nova, 2*time.Second)
			assert.EqualError(t, err, row.want)
		})
	}
	_, err := wait(t, &nova{status: "ACTIVE"}, 2*time.Second)
	assert.ErrorContains(t, err, "cannot read its console")
	assert.ErrorContains(t, err, "no compute")
}

// TestEngineEnds checks that the wait for a machine ends when the engine has ended.
// TestConsoleHasNoControlCharacters checks that a compromised machine cannot write to the operator's terminal.
func TestConsoleHasNoControlCharacters(t *testing.T) {
	const hostile = "\x1b]0;title\x07\u009b31m\u202e\r\b"
	r := parse("bootstrap: boot 1\r\nbootstrap: etcd: failing: " + hostile + "x\r\nbootstrap: log: a\tb" + hostile +
		"\r\nbootstrap: node: notice: " + hostile + "\r\n")
	assert.Equal(t, []string{"boot 1", "etcd: failing:  ]0;title  31m   x", "log: a b ]0;title  31m",
		"node: notice:  ]0;title  31m"}, r.lines)
}

func TestEngineEnds(t *testing.T) {
	n := &nova{status: "ACTIVE", consoles: []string{console("bootstrap: boot 1")}}
	err := cloudOf(t, n).Machine(t.Context(), Machine{Name: "m", ID: "uuid", Timeout: time.Minute}, func(string) error {
		return errors.New("EOF")
	})
	assert.EqualError(t, err, "m: lost the connection to the Pulumi engine: EOF")
}

func TestNewLines(t *testing.T) {
	for _, row := range [][3]string{
		{"", "a b", "a b"}, {"a b", "a b c", "c"}, {"a b c", "b c d", "d"}, {"a b", "c", "c"}, {"a b", "a b", ""},
	} {
		got := newLines(strings.Fields(row[0]), strings.Fields(row[1]))
		assert.Equal(t, strings.Fields(row[2]), append([]string{}, got...), row)
	}
}

// kubeAPI starts an API server that answers /readyz and nodes with the given responses, and returns its
// kubeconfig.
func kubeAPI(t *testing.T, readyz func() (int, string), nodes func() string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			code, text := readyz()
			w.WriteHeader(code)
			fmt.Fprint(w, text)
			return
		}
		if r.URL.Path != "/api/v1/nodes" { // a token is created
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, nodes())
	}))
	t.Cleanup(server.Close)
	return kubeconfigOf(server.URL)
}

func kubeconfigOf(server string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: a, clusters: [{name: a, cluster: {server: %q}}],
		contexts: [{name: a, context: {cluster: a}}]}`, server)
}

func nodeJSON(name, providerID, ready string) string {
	return fmt.Sprintf(`{"metadata": {"name": %q}, "spec": {"providerID": %q}, "status": {"conditions": [
		{"type": "MemoryPressure", "status": "False"},
		{"type": "Ready", "status": %q, "reason": "KubeletNotReady", "message": "no CNI"}]}}`, name, providerID, ready)
}

func nodesJSON(nodes ...string) func() string {
	return func() string { return `{"items": [` + strings.Join(nodes, ",") + `]}` }
}

func ok() (int, string) { return http.StatusOK, "ok" }

func TestCluster(t *testing.T) {
	reads := 0
	kubeconfig := kubeAPI(t, func() (int, string) {
		if reads++; reads == 1 {
			return http.StatusInternalServerError, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed"
		}
		return ok()
	}, func() string {
		switch reads {
		case 2:
			return nodesJSON(nodeJSON("a", "openstack:///1", "False"))()
		case 3:
			return nodesJSON(nodeJSON("a", "openstack:///1", "True"), nodeJSON("b", "openstack:///old", "True"))()
		}
		return nodesJSON(nodeJSON("a", "openstack:///1", "True"), nodeJSON("b", "openstack:///2", "True"),
			nodeJSON("other", "", "False"))()
	})
	var logged []string
	err := newCloud(nil, time.Millisecond).Cluster(t.Context(),
		Cluster{kubeconfig, map[string]string{"a": "1", "b": "2"}, time.Minute},
		func(line string) error { logged = append(logged, line); return nil })
	require.NoError(t, err)
	assert.Equal(t, []string{
		"the Kubernetes API is not ready: /readyz: 500 Internal Server Error: [-]etcd failed: reason withheld",
		"2 of 2 nodes are not Ready: a (KubeletNotReady: no CNI), b (not registered)",
		`1 of 2 nodes are not Ready: b (its provider ID must be openstack:///2, got "openstack:///old")`,
	}, logged)
}

func TestClusterFailures(t *testing.T) {
	discard := func(string) error { return nil }
	cluster := Cluster{kubeAPI(t, ok, nodesJSON(nodeJSON("a", "openstack:///1", "Unknown"))), map[string]string{"a": "1"},
		100 * time.Millisecond}
	assert.EqualError(t, newCloud(nil, time.Millisecond).Cluster(context.Background(), cluster, discard),
		"after 100ms: 1 of 1 nodes are not Ready: a (KubeletNotReady: no CNI)\n"+
			"  more: kubectl get nodes, with the output kubeconfig")

	cluster.Kubeconfig = kubeconfigOf("http://127.0.0.1:1")
	err := newCloud(nil, time.Millisecond).Cluster(context.Background(), cluster, discard)
	assert.ErrorContains(t, err, "after 100ms: the Kubernetes API is not ready: ")
	assert.ErrorContains(t, err, "connection refused")
	assert.ErrorContains(t, err, "check that api.allowedCIDRs, api.floatingIP and api.proxy let this host connect")

	cluster.Kubeconfig = "no YAML"
	assert.Error(t, newCloud(nil, time.Millisecond).Cluster(context.Background(), cluster, discard))
}
