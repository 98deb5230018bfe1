//go:build e2e

package tests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/turns"
	"kubernetes-openstack/k8s"
)

// api is the stack's Kubernetes API, with the credentials of the output `kubeconfig`.
type api struct {
	client     *kubernetes.Clientset
	kubeconfig string // path of a file
	engine     *engine
}

func (e *engine) api(t testing.TB) *api {
	t.Helper()
	text := e.must("stack", "output", "--show-secrets", "kubeconfig")
	file := filepath.Join(e.t.TempDir(), "kubeconfig") // the file exists as long as the stack
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(text))
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return &api{client, file, e}
}

// kubectl runs kubectl on this host and returns its standard output. A failure ends the test.
func (a *api) kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := a.try(args...)
	require.NoError(t, err, "kubectl %s", strings.Join(args, " "))
	return out
}

// try runs kubectl and returns its standard output. It is for commands that may fail for a while, for example when the
// API's address moves. Only the error contains standard error, because kubectl prints warnings there, such as "couldn't
// get resource list for metrics.k8s.io" while metrics-server is not ready.
func (a *api) try(args ...string) (string, error) {
	return output(a.engine.shell(`exec kubectl --kubeconfig "$@"`, append([]string{a.kubeconfig}, args...)...))
}

// await repeats a kubectl command that waits, such as wait or rollout status, until it succeeds. One of its requests
// can fail while the API's address moves or this host is overloaded.
func (a *api) await(t testing.TB, args ...string) {
	t.Helper()
	eventually(t, 150*time.Second, func() error {
		_, err := a.try(append(args, "--timeout=2m")...)
		return err
	})
}

// output runs a command and returns its standard output. The error after a failure contains all that it printed.
func output(cmd *exec.Cmd) (string, error) {
	var printed strings.Builder
	cmd.Stderr = &printed
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s%s", err, out, &printed)
	}
	return string(out), err
}

// apply creates the objects of a file in testdata, with options of `kubectl apply`.
func (a *api) apply(t testing.TB, file string, options ...string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", file))
	require.NoError(t, err)
	a.kubectl(t, append([]string{"apply", "--filename", path}, options...)...)
}

// acceptsDNS checks that the API server accepts the manifest of a DNS provider, without storing it.
func (a *api) acceptsDNS(t *testing.T, provider string) {
	t.Helper()
	config, err := cluster.Decode("e2e",
		edited(t, "../Pulumi.dev.yaml", patched(t, "e2e.yaml"))["kubernetes-openstack:cluster"])
	require.NoError(t, err)
	config.DNS.Provider = provider
	manifest, err := k8s.DNSManifest(cluster.NewPlan(config))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), provider+".yaml")
	require.NoError(t, os.WriteFile(file, []byte(manifest), 0o600))
	t.Log("\n" + a.kubectl(t, "apply", "--server-side", "--force-conflicts", "--field-manager=pulumi-kubernetes",
		"--validate=strict", "--dry-run=server", "--filename", file))
}

// notReady lists the nodes that are not Ready, and reports if there are fewer nodes than number. It returns
// "" if all are Ready.
func (a *api) notReady(number int) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), turns.Patience*5*time.Second)
	defer cancel()
	nodes, err := a.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	var waiting []string
	for _, node := range nodes.Items {
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
				waiting = append(waiting, node.Name+": "+condition.Message)
			}
		}
	}
	if len(nodes.Items) < number {
		waiting = append(waiting, fmt.Sprintf("%d of %d nodes", len(nodes.Items), number))
	}
	return strings.Join(waiting, "; "), nil
}

func (a *api) waitForNodes(t testing.TB, number int, timeout time.Duration) {
	t.Helper()
	eventually(t, timeout, func() error {
		waiting, err := a.notReady(number)
		if err == nil && waiting != "" {
			err = fmt.Errorf("not Ready: %s", waiting)
		}
		return err
	})
}

// eventually calls try once a second until it succeeds. After the timeout, which turns.Patience multiplies, the test
// fails with the last error.
func eventually(t testing.TB, timeout time.Duration, try func() error) {
	t.Helper()
	timeout *= turns.Patience
	var err error
	for begin := time.Now(); time.Since(begin) < timeout; time.Sleep(time.Second) {
		if err = try(); err == nil {
			return
		}
	}
	require.NoError(t, err, "after %s", timeout)
}

// writer is a client that creates objects through the API, one after the other, until it is stopped.
type writer struct {
	api          *api
	namespace    string
	stop         chan struct{}
	done         sync.WaitGroup
	mutex        sync.Mutex
	acknowledged []string
	last         time.Time
	gap          time.Duration // longest time without an acknowledgement since the last call of longestGap
}

// startWriter starts a writer in its own namespace, which remains.
func (a *api) startWriter(t *testing.T) *writer {
	t.Helper()
	namespace, err := a.client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "writer-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	w := &writer{api: a, namespace: namespace.Name, stop: make(chan struct{}), last: time.Now()}
	w.done.Go(func() {
		for i := 0; ; i++ {
			name := fmt.Sprintf("write-%06d", i)
			for !w.write(name) {
				select {
				case <-w.stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
			select {
			case <-w.stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return w
}

// write returns true if the API acknowledged the object. An existing object counts, too, because the response
// to an earlier try was lost.
func (w *writer) write(name string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := w.api.client.CoreV1().ConfigMaps(w.namespace).Create(ctx, object, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return false
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.acknowledged = append(w.acknowledged, name)
	w.gap, w.last = max(w.gap, time.Since(w.last)), time.Now()
	return true
}

func (w *writer) longestGap() time.Duration {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	gap := max(w.gap, time.Since(w.last))
	w.gap, w.last = 0, time.Now()
	return gap
}

// waitForMore waits until the API has acknowledged a number of further objects.
func (w *writer) waitForMore(t *testing.T, number int) {
	t.Helper()
	count := func() int {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		return len(w.acknowledged)
	}
	want := count() + number
	eventually(t, time.Minute, func() error {
		if n := count(); n < want {
			return fmt.Errorf("%d of %d writes are acknowledged", n, want)
		}
		return nil
	})
}

// end stops the writer.
func (w *writer) end() {
	close(w.stop)
	w.done.Wait()
}

// check stops the writer and checks that all acknowledged objects exist.
func (w *writer) check(t *testing.T) {
	t.Helper()
	w.end()
	assert.Empty(t, w.lost(t), "acknowledged, but lost")
}

// lost returns the acknowledged objects that do not exist. It prints their number.
func (w *writer) lost(t *testing.T) []string {
	t.Helper()
	list, err := w.api.client.CoreV1().ConfigMaps(w.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	found := map[string]bool{}
	for _, item := range list.Items {
		found[item.Name] = true
	}
	lost := slices.DeleteFunc(slices.Clone(w.acknowledged), func(name string) bool { return found[name] })
	t.Logf("%d writes acknowledged, %d lost", len(w.acknowledged), len(lost))
	return lost
}
