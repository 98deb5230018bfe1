//go:build e2e

package tests

import (
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// usage matches the processor time and the memory in a line of `kubectl top`.
var usage = regexp.MustCompile(`^\S+ +[0-9]+m +.*[0-9]+Mi\b`)

// testMetrics checks that metrics-server has the usage of all nodes and pods, and that a HorizontalPodAutoscaler uses
// it. It runs a copy of the sample in its own namespace.
func testMetrics(t *testing.T, api *api) {
	// top waits until `kubectl top` has the usage of a number of nodes or pods.
	top := func(t *testing.T, number int, args ...string) {
		t.Helper()
		args = append([]string{"top"}, append(args, "--no-headers")...)
		begin := time.Now()
		eventually(t, 90*time.Second, func() error {
			out, err := api.try(args...)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			for _, line := range lines {
				if err == nil && !usage.MatchString(line) {
					err = fmt.Errorf("no usage: %s", line)
				}
			}
			if err == nil && len(lines) != number {
				err = fmt.Errorf("%d lines instead of %d: %s", len(lines), number, out)
			}
			return err
		})
		t.Logf("kubectl %s after %.0f s", strings.Join(args, " "), time.Since(begin).Seconds())
	}
	const namespace = "--namespace=autoscaled"
	step(t, "kubectl top shows the usage of all nodes and of pods", func(t *testing.T) {
		top(t, 4, "nodes")
		api.kubectl(t, "create", "namespace", "autoscaled")
		api.apply(t, "hello.yaml", namespace)
		api.kubectl(t, "rollout", "status", "deployment/hello", "--timeout=90s", namespace)
		top(t, 2, "pods", "--selector=app=hello", namespace)
		t.Log("\n" + api.kubectl(t, "top", "nodes") + api.kubectl(t, "top", "pods", "--namespace=kube-system"))
	})
	step(t, "the sample grows under load from the router, and shrinks after it", func(t *testing.T) {
		service := api.field(t, ".spec.clusterIP", "service", "hello", namespace)
		api.apply(t, "autoscaled.yaml", namespace)
		api.kubectl(t, "wait", "--for=condition=ScalingActive", "horizontalpodautoscaler/hello", "--timeout=90s", namespace)
		replicas := func(number int) float64 {
			begin := time.Now()
			api.kubectl(t, "wait", fmt.Sprintf("--for=jsonpath={.spec.replicas}=%d", number), "deployment/hello",
				"--timeout=150s", namespace)
			return time.Since(begin).Seconds()
		}
		// Each request starts a process in a pod. A fixed rate leaves processor time to the tests that run in parallel.
		router := openNamespace(t, "router")
		requests := time.NewTicker(25 * time.Millisecond)
		defer requests.Stop()
		end, ended := make(chan struct{}), make(chan struct{})
		var answered atomic.Int64
		go func() {
			defer close(ended)
			for {
				select {
				case <-end:
					return
				case <-requests.C:
					if _, err := router.get("http://"+service+"/cgi-bin/whoami", time.Second); err == nil {
						answered.Add(1)
					}
				}
			}
		}()
		grown := replicas(3)
		close(end)
		<-ended
		require.Positive(t, answered.Load())
		t.Logf("3 replicas after %.0f s and %d requests, 2 replicas %.0f s after their end", grown, answered.Load(),
			replicas(2))
	})
}
