//go:build e2e

package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// usage matches the columns of CPU and memory in a line of `kubectl top`. Nodes also have percentages.
const usage = ` +\d+m +(\d+% +)?\d+Mi *(\d+% *)?`

// metricsRequest returns a request for usage to the metrics API, for example for nodes or namespaces/NAME/pods.
func metricsRequest(client kubernetes.Interface, path string) *rest.Request {
	return client.CoreV1().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1", path)
}

// waitForMetrics waits until metrics-server has the usage of at least a number of nodes or pods. kubectl would use much
// more CPU for each try. path is as in metricsRequest.
func (a *api) waitForMetrics(t *testing.T, path string, number int) {
	t.Helper()
	begin := time.Now()
	eventually(t, 90*time.Second, func() error {
		text, err := metricsRequest(a.client, path).DoRaw(t.Context())
		if err != nil {
			return err
		}
		var list struct{ Items []json.RawMessage }
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
		if len(list.Items) < number {
			return fmt.Errorf("usage of %d instead of %d: %s", len(list.Items), number, text)
		}
		return nil
	})
	t.Logf("usage of %s after %.0f s", path, time.Since(begin).Seconds())
}

// testMetrics checks that kubectl top shows the usage of all nodes and of pods, and that a HorizontalPodAutoscaler uses
// it. It runs a copy of the sample in its own namespace.
func testMetrics(t *testing.T, api *api) {
	const name = "autoscaled"
	const namespace = "--namespace=" + name
	// The sample has a pod on each worker. The third pod of the copy shares a worker. A request to whoami costs 1.2 ms of
	// CPU time, and startLoad sends up to 40 per second to both pods. So each uses 10m to 24m under load, and 1m without.
	// On a machine on which each process start costs 6 ms, it uses 7m without load.
	sample, err := os.ReadFile("testdata/hello.yaml")
	require.NoError(t, err)
	text := replaced(t, "DoNotSchedule", "ScheduleAnyway")(string(sample))
	text = replaced(t, "          ports:\n", "          resources: {requests: {cpu: 20m}}\n          ports:\n")(text)
	file := filepath.Join(t.TempDir(), "hello.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))

	step(t, "kubectl top shows the usage of all nodes and of pods", func(t *testing.T) {
		api.kubectl(t, "create", "namespace", name)
		api.kubectl(t, "apply", "--filename", file, namespace)
		api.waitForMetrics(t, "nodes", 4)
		api.waitForMetrics(t, "namespaces/"+name+"/pods", 2)
		for want, args := range map[int][]string{4: {"top", "nodes"}, 2: {"top", "pods", namespace}} {
			line := regexp.MustCompile(`^\S+` + usage + `$`)
			eventually(t, time.Minute, func() error { // until both replicas of metrics-server have all values
				out, err := api.try(append(args, "--no-headers")...)
				found := 0
				for text := range strings.Lines(out) {
					if line.MatchString(strings.TrimSpace(text)) {
						found++
					}
				}
				if err == nil && found != want {
					err = fmt.Errorf("%d lines with usage instead of %d: %s", found, want, out)
				}
				return err
			})
		}
		t.Log("\n" + api.kubectl(t, "top", "nodes") + api.kubectl(t, "top", "pods", "--all-namespaces"))
	})
	step(t, "a HorizontalPodAutoscaler scales the sample up under load, and down after it", func(t *testing.T) {
		api.apply(t, "autoscaler.yaml", namespace)
		api.await(t, "wait", "--for=condition=ScalingActive", "horizontalpodautoscaler/hello", namespace)
		// seconds waits until fields of the Deployment have a number.
		seconds := func(number int, fields ...string) float64 {
			begin := time.Now()
			for _, field := range fields {
				api.await(t, "wait", fmt.Sprintf("--for=jsonpath={.%s}=%d", field, number), "deployment/hello", namespace)
			}
			return time.Since(begin).Seconds()
		}
		seconds(2, "spec.replicas", "status.replicas", "status.availableReplicas")
		service := "http://" + api.field(t, ".spec.clusterIP", "service", "hello", namespace)
		load := openNamespace(t, "").startLoad(service + "/cgi-bin/whoami")
		up := seconds(3, "spec.replicas", "status.replicas")
		t.Log(load.end())
		t.Logf("3 pods %.0f s after the start of the load, 2 pods %.0f s after its end", up,
			seconds(2, "spec.replicas", "status.replicas"))
	})
	api.kubectl(t, "delete", "namespace", name, "--wait=false") // later steps drain nodes
}
