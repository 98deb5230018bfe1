//go:build e2e

package tests

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
)

// given describes the conditions of the comparison, and is printed with it.
const given = `The same program, engine and providers declare both clusters, so they have the same machines, network,
mirror and binaries, and wait for the same certificates. tests/kubeadm differs only in the nodes' user-data.
kubeadm's cluster has no Calico (each node has its own pod network), kube-proxy, CoreDNS, HAProxy or
keepalived. It also does not have kubeadm's pause of 5 s between two discovery requests.`

// BenchmarkCluster creates a cluster, and then another one with kubeadm in its place. For both it prints the
// total time until all nodes are Ready, and the times of the steps between. For ours it also prints the
// floor. Run it with -benchtime 1x.
func BenchmarkCluster(b *testing.B) {
	ours, theirs := timeCluster(b, own), timeCluster(b, "tests/kubeadm")

	record(b, fmt.Sprintf("%s\n%s\n%s", compare(ours, theirs), compareSizes(ours.sizes, theirs.sizes), given))
	b.ReportMetric(0, "ns/op") // of both clusters together
	b.ReportMetric(ours.total(), "s/ours")
	b.ReportMetric(theirs.total(), "s/kubeadm")
	b.ReportMetric(theirs.total()/ours.total(), "kubeadm/ours")
}

// own is the folder of this repository's project.
const own = "."

// timed holds the measurements of one cluster.
type timed struct {
	moments
	floor float64        // seconds; only of our cluster
	sizes map[string]int // bytes of each machine's user-data by name
}

// timeCluster creates a project's cluster, measures it, and destroys it.
func timeCluster(b *testing.B, project string) timed {
	const name = "bench"
	e := newProjectEngine(b, project, name, cloudEnv, patched(b, "tenant.yaml"))
	openstack := connect(b, e.getenv("OS_CLIENT_CONFIG_FILE"))
	openstack.sweep(b, name) // deletes resources of a killed run
	b.Cleanup(func() { openstack.sweep(b, name) })
	// both start with warm caches: Go's build cache, and the page cache with the files of the engine and the
	// machines
	e.must("preview")
	e.run(b, `find "$1" -type f -exec cat {} + >/dev/null`, dirs.Mirror())

	begin := time.Now()
	if out, err := e.try("up", "--yes", "--skip-preview"); err != nil {
		b.Fatalf("%s: %v\n%s\n%s", project, err, out, e.logs(openstack.machines(b, name)))
	}
	end := time.Now()
	client := clientOf(b, e.must("stack", "output", "--show-secrets", "kubeconfig"))
	result := timed{moments: openstack.timeline(b, e, name, client, begin, end), sizes: userDataSizes(b, e)}
	if project == own {
		result.floor = openstack.restart(b, name, client)
	}
	e.must("destroy", "--yes", "--skip-preview")
	return result
}

// restart stops all machines and starts them together. It returns the seconds until all nodes are Ready.
// This is the floor, because each machine already has all software, images and certificates.
func (c cloud) restart(b *testing.B, name string, client *kubernetes.Clientset) float64 {
	b.Helper()
	nodes, err := client.CoreV1().Nodes().List(b.Context(), metav1.ListOptions{})
	require.NoError(b, err)
	boots := map[string]string{} // by node, before the stop
	for _, node := range nodes.Items {
		boots[node.Name] = node.Status.NodeInfo.BootID
	}
	machines := c.machines(b, name)
	for _, machine := range machines {
		require.NoError(b, servers.Stop(b.Context(), c.clients["compute"], machine.ID).ExtractErr())
	}
	for _, machine := range machines {
		require.NoError(b, servers.WaitForStatus(b.Context(), c.clients["compute"], machine.ID, "SHUTOFF"))
	}
	begin := time.Now()
	for _, machine := range machines {
		require.NoError(b, servers.Start(b.Context(), c.clients["compute"], machine.ID).ExtractErr())
	}
	eventually(b, 5*time.Minute, func() error {
		soon, cancel := context.WithTimeout(b.Context(), 5*time.Second)
		defer cancel()
		nodes, err := client.CoreV1().Nodes().List(soon, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, node := range nodes.Items {
			if since, ready := readySince(node); !ready || node.Status.NodeInfo.BootID == boots[node.Name] {
				return fmt.Errorf("%s has not rebooted, its condition Ready is from %s", node.Name, since)
			}
		}
		return nil
	})
	return time.Since(begin).Seconds()
}

// readySince returns the time when a node's condition Ready last changed, and true if the node is Ready.
func readySince(node corev1.Node) (since time.Time, ready bool) {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.LastTransitionTime.Time, condition.Status == corev1.ConditionTrue
		}
	}
	return time.Time{}, false
}

// logs returns the logs of the machines.
func (e *engine) logs(machines []servers.Server) string {
	var all strings.Builder
	for _, m := range machines {
		out, err := e.ssh(m.Name,
			"journalctl --no-pager --lines 60 -u artifacts -u etcd -u containerd -u kubeadm -u kubelet").CombinedOutput()
		fmt.Fprintf(&all, "%s: %v\n%s\n", m.Name, err, out)
	}
	return all.String()
}

// clientOf returns a client for a kubeconfig. It verifies a server name that every API server's certificate
// has, because kubeadm's certificate does not have the floating IP.
func clientOf(b *testing.B, kubeconfig string) *kubernetes.Clientset {
	b.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	require.NoError(b, err)
	config.ServerName = "kubernetes"
	client, err := kubernetes.NewForConfig(config)
	require.NoError(b, err)
	return client
}

// moments are the steps of a cluster's creation, in order, in seconds since its start.
type moments []moment

type moment struct {
	name    string
	seconds float64
}

const (
	firstRequested = "first instance requested"
	allReady       = "all nodes Ready"
)

func (m moments) total() float64 { return m[len(m)-1].seconds }

func (m moments) at(name string) float64 {
	return m[slices.IndexFunc(m, func(m moment) bool { return m.name == name })].seconds
}

// timeline collects the times of the steps after the `up`, because a measurement during the `up` would slow
// it down. The sources record times to the second: Neutron, Nova, each machine's systemd, and Kubernetes.
func (c cloud) timeline(b *testing.B, e *engine, name string, client *kubernetes.Clientset,
	begin, end time.Time) moments {
	b.Helper()
	var network, requested, running, installed, etcd, api, ready []time.Time

	pages, err := networks.List(c.clients["network"], networks.ListOpts{Name: name}).AllPages(b.Context())
	require.NoError(b, err)
	ofNetworks, err := networks.ExtractNetworks(pages)
	require.NoError(b, err)
	for _, n := range ofNetworks {
		network = append(network, n.CreatedAt)
	}
	for _, machine := range c.machines(b, name) {
		requested, running = append(requested, machine.Created), append(running, machine.LaunchedAt)
		active := func(unit string) time.Time {
			text := strings.TrimSpace(e.on(b, machine.Name,
				"systemctl show --timestamp=unix --property=ActiveEnterTimestamp --value "+unit))
			seconds, err := strconv.ParseInt(strings.TrimPrefix(text, "@"), 10, 64)
			require.NoError(b, err, "%s of %s: %q", unit, machine.Name, text)
			return time.Unix(seconds, 0)
		}
		installed = append(installed, active("artifacts.service"))
		if strings.HasPrefix(machine.Name, name+"-etcd-") {
			etcd = append(etcd, active("etcd.service"))
		}
	}
	first, err := client.CoreV1().Namespaces().Get(b.Context(), "kube-system", metav1.GetOptions{})
	require.NoError(b, err)
	api = append(api, first.CreationTimestamp.Time)
	nodes, err := client.CoreV1().Nodes().List(b.Context(), metav1.ListOptions{})
	require.NoError(b, err)
	for _, node := range nodes.Items {
		since, _ := readySince(node)
		ready = append(ready, since)
	}
	since := func(name string, find func([]time.Time, func(a, b time.Time) int) time.Time, times []time.Time) moment {
		return moment{name, max(0, find(times, time.Time.Compare).Sub(begin).Seconds())} // times are whole seconds
	}
	earliest, latest := slices.MinFunc[[]time.Time], slices.MaxFunc[[]time.Time]
	return moments{
		since("network created", earliest, network),
		since(firstRequested, earliest, requested),
		since("all instances active", latest, running),
		since("all binaries installed", latest, installed),
		since("all etcd members healthy", latest, etcd),
		since("first API server ready", earliest, api),
		since("first node Ready", earliest, ready),
		since(allReady, latest, ready),
		since("up done, ours with DNS, CSI, metrics", latest, []time.Time{end}),
	}
}

// machines returns the instances of a cluster.
func (c cloud) machines(t testing.TB, name string) []servers.Server {
	t.Helper()
	pages, err := servers.List(c.clients["compute"], servers.ListOpts{Name: "^" + name + "-"}).AllPages(t.Context())
	require.NoError(t, err)
	machines, err := servers.ExtractServers(pages)
	require.NoError(t, err)
	return machines
}

// compare returns the table of both clusters' times, with their ratios and the floor.
func compare(ours, theirs timed) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%-36s %8s %8s\n", "Seconds until", "ours", "kubeadm")
	for i, m := range ours.moments {
		fmt.Fprintf(&out, "%-36s %8.0f %8.0f\n", m.name, m.seconds, theirs.moments[i].seconds)
	}
	row := func(name string, ours, theirs float64) {
		fmt.Fprintf(&out, "%-36s %8.0f %8.0f   kubeadm takes %.2f times as long\n", name, ours, theirs, theirs/ours)
	}
	row("From start to end of up", ours.total(), theirs.total())
	row("From first request to all Ready", ours.at(allReady)-ours.at(firstRequested),
		theirs.at(allReady)-theirs.at(firstRequested))
	fmt.Fprintf(&out, "%-36s %8.0f            all nodes Ready after a restart with all software\n", "Floor",
		ours.floor)
	return out.String()
}

// compareSizes returns the table of the largest user-data of each role.
func compareSizes(ours, theirs map[string]int) string {
	largest := func(sizes map[string]int, role cluster.Role) (size int) {
		for name, n := range sizes {
			if strings.Contains(name, "-"+string(role)+"-") {
				size = max(size, n)
			}
		}
		return size
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%-36s %8s %8s\n", "Bytes of user-data, gzipped", "ours", "kubeadm")
	for _, role := range cluster.Roles {
		fmt.Fprintf(&out, "%-36s %8d %8d\n", role, largest(ours, role), largest(theirs, role))
	}
	return out.String()
}

// userDataSizes returns the size of each machine's user-data by name, in bytes of gzip.
func userDataSizes(b *testing.B, e *engine) map[string]int {
	b.Helper()
	var state struct {
		Deployment struct {
			Resources []struct {
				URN, Type string
				Inputs    struct{ UserData struct{ Plaintext string } }
			}
		}
	}
	require.NoError(b, json.Unmarshal([]byte(e.must("stack", "export", "--show-secrets")), &state))
	sizes := map[string]int{}
	for _, r := range state.Deployment.Resources {
		if r.Type != "openstack:compute/instance:Instance" {
			continue
		}
		var text string
		require.NoError(b, json.Unmarshal([]byte(r.Inputs.UserData.Plaintext), &text))
		packed, err := base64.StdEncoding.DecodeString(text)
		require.NoError(b, err)
		sizes[r.URN[strings.LastIndex(r.URN, "::")+2:]] = len(packed)
	}
	return sizes
}
