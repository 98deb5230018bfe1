//go:build e2e

package tests

import (
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
)

// given is what makes the comparison one-sided, and is printed with it.
const given = `Both have the same flavors, image, network, addresses, mirror and binaries, and their etcd machines differ in the volume's ID alone.
kubeadm is spared:
  Pulumi: its resources are plain API calls, as many at a time as do not need each other
  server groups, the key pair and the API's virtual address, which is its first control plane's
  kube-proxy, CoreDNS, HAProxy, the etcd gateway and keepalived
  its certificate authority, which is there already, and its own wait of 5 s between two looks at who it joins
  a cold cache: it comes second`

// BenchmarkCluster makes a cluster and then, in its place, another with kubeadm; it prints how long each took from nothing
// to Ready nodes, and when what was there. Run it with -benchtime 1x.
func BenchmarkCluster(b *testing.B) {
	const name = "bench"
	e := newEngine(b, name, cloudEnv, unchanged)
	openstack := connect(b, e.getenv("OS_CLIENT_CONFIG_FILE"))
	openstack.sweep(b, name) // what a run left that was killed
	b.Cleanup(func() { openstack.sweep(b, name) })
	config, err := cluster.Decode(name, stackConfig(b, "../Pulumi.dev.yaml")["kubernetes-openstack:cluster"])
	require.NoError(b, err)
	plan := cluster.NewPlan(config)
	e.run(b, "go build -o /dev/null .") // what is compiled once is in Go's cache

	begin := time.Now()
	e.must("up", "--yes", "--skip-preview")
	end := time.Now()
	kubeconfig := e.must("stack", "output", "--show-secrets", "kubeconfig")
	ours := openstack.timeline(b, e, name, clientOf(b, kubeconfig, ""), begin, end)
	k := newKubeadm(b, openstack, plan, exportedState(b, e))
	e.must("destroy", "--yes", "--skip-preview")

	b.Cleanup(func() {
		if b.Failed() {
			k.log(b, e)
		}
	})
	begin = time.Now()
	require.NoError(b, k.create(b.Context()))
	client := clientOf(b, kubeconfig, fmt.Sprintf("https://%s:%d", k.floatingIP, cluster.APIPort))
	k.wait(b, client)
	theirs := openstack.timeline(b, e, name, client, begin, time.Now())

	b.Logf("\n%s\n%s\n%s", compare(ours, theirs), k.sizes(), given)
	b.ReportMetric(0, "ns/op") // of both and more
	b.ReportMetric(ours.total(), "s/ours")
	b.ReportMetric(theirs.total(), "s/kubeadm")
	b.ReportMetric(theirs.total()/ours.total(), "kubeadm/ours")
}

// clientOf is whom a kubeconfig makes, at another server if one is given.
func clientOf(b *testing.B, kubeconfig, server string) *kubernetes.Clientset {
	b.Helper()
	config, err := clientcmd.Load([]byte(kubeconfig))
	require.NoError(b, err)
	overrides := &clientcmd.ConfigOverrides{}
	overrides.ClusterInfo.Server = server
	rest, err := clientcmd.NewDefaultClientConfig(*config, overrides).ClientConfig()
	require.NoError(b, err)
	client, err := kubernetes.NewForConfig(rest)
	require.NoError(b, err)
	return client
}

// moments are a cluster's on its way, in order, in seconds from its beginning.
type moments []moment

type moment struct {
	what    string
	seconds float64
}

const (
	firstRequested = "the first instance is requested"
	allReady       = "all nodes are Ready"
)

func (m moments) total() float64 { return m[len(m)-1].seconds }

func (m moments) at(what string) float64 {
	return m[slices.IndexFunc(m, func(m moment) bool { return m.what == what })].seconds
}

// timeline asks afterwards, for whoever looks on takes time from a cluster on its way, those who have it on record to the
// second: Neutron, Nova, each machine's systemd and Kubernetes.
func (c cloud) timeline(b *testing.B, e *engine, name string, client *kubernetes.Clientset, begin, end time.Time) moments {
	b.Helper()
	var network, requested, running, installed, etcd, api, ready []time.Time

	pages, err := networks.List(c.clients["network"], networks.ListOpts{Name: name}).AllPages(b.Context())
	require.NoError(b, err)
	ofNetworks, err := networks.ExtractNetworks(pages)
	require.NoError(b, err)
	for _, n := range ofNetworks {
		network = append(network, n.CreatedAt)
	}
	pages, err = servers.List(c.clients["compute"], servers.ListOpts{Name: "^" + name + "-"}).AllPages(b.Context())
	require.NoError(b, err)
	machines, err := servers.ExtractServers(pages)
	require.NoError(b, err)
	for _, machine := range machines {
		requested, running = append(requested, machine.Created), append(running, machine.LaunchedAt)
		active := func(unit string) time.Time {
			text := strings.TrimSpace(e.on(b, machine.Name, "systemctl show --timestamp=unix --property=ActiveEnterTimestamp --value "+unit))
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
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady {
				ready = append(ready, condition.LastTransitionTime.Time)
			}
		}
	}
	since := func(what string, find func([]time.Time, func(a, b time.Time) int) time.Time, times []time.Time) moment {
		return moment{what, max(0, find(times, time.Time.Compare).Sub(begin).Seconds())} // their seconds are whole
	}
	earliest, latest := slices.MinFunc[[]time.Time], slices.MaxFunc[[]time.Time]
	return moments{
		since("the network is there", earliest, network),
		since(firstRequested, earliest, requested),
		since("all instances run", latest, running),
		since("all binaries are installed", latest, installed),
		since("all etcd members are up", latest, etcd),
		since("an API server serves", earliest, api),
		since("a first node is Ready", earliest, ready),
		since(allReady, latest, ready),
		since("and that is known, all in all", latest, []time.Time{end}),
	}
}

// compare is the table of both, and what it comes to.
func compare(ours, theirs moments) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%-36s %8s %8s\n", "Seconds until", "ours", "kubeadm")
	for i, m := range ours {
		fmt.Fprintf(&out, "%-36s %8.0f %8.0f\n", m.what, m.seconds, theirs[i].seconds)
	}
	row := func(what string, ours, theirs float64) {
		fmt.Fprintf(&out, "%-36s %8.0f %8.0f   kubeadm takes %.2f times as long\n", what, ours, theirs, theirs/ours)
	}
	row("From nothing to all known as Ready", ours.total(), theirs.total())
	row("From first request to all Ready", ours.at(allReady)-ours.at(firstRequested), theirs.at(allReady)-theirs.at(firstRequested))
	return out.String()
}

// state is a stack's, with its secrets.
type state struct {
	Deployment struct {
		Resources []struct {
			URN, Type       string
			Inputs, Outputs map[string]any
		}
	}
}

func exportedState(b *testing.B, e *engine) (s state) {
	b.Helper()
	require.NoError(b, json.Unmarshal([]byte(e.must("stack", "export", "--show-secrets")), &s))
	return s
}

// texts are an input of every resource of a type, or an output where it has no such input, by the resources' names.
func (s state) texts(b *testing.B, token, property string) map[string]string {
	b.Helper()
	texts := map[string]string{}
	for _, resource := range s.Deployment.Resources {
		if resource.Type != token {
			continue
		}
		value, ok := resource.Inputs[property]
		if !ok {
			value = resource.Outputs[property]
		}
		if secret, ok := value.(map[string]any); ok {
			require.NoError(b, json.Unmarshal([]byte(secret["plaintext"].(string)), &value))
		}
		texts[resource.URN[strings.LastIndex(resource.URN, "::")+2:]] = value.(string)
	}
	return texts
}

// userData is what Nova has of the machines, by name: the gzip in its base64.
func (s state) userData(b *testing.B) map[string][]byte {
	b.Helper()
	all := map[string][]byte{}
	for name, text := range s.texts(b, "openstack:compute/instance:Instance", "userData") {
		packed, err := base64.StdEncoding.DecodeString(text)
		require.NoError(b, err)
		all[name] = packed
	}
	return all
}
