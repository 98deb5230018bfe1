//go:build e2e

package tests

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"kubernetes-openstack/cluster"
)

// BenchmarkNetwork creates a cluster with control planes as route reflectors. It prints when the data
// centre's router and its clients notice that a node starts or stops. It also prints the number of DNS
// answers per second, and the number of BGP sessions of a large cluster. Run it with -benchtime 1x.
func BenchmarkNetwork(b *testing.B) {
	const name = "bench"
	edit := func(text string) string { return patched(b, "reflectors.yaml")(patched(b, "e2e.yaml")(text)) }
	e := newEngine(b, name, cloudEnv, edit)
	openstack := connect(b, e.getenv("OS_CLIENT_CONFIG_FILE"))
	openstack.sweep(b, name) // deletes resources of a killed run
	b.Cleanup(func() { openstack.sweep(b, name) })
	box, router := openNamespace(b, ""), openNamespace(b, "router")

	routed := router.watchRoutes(b)
	if out, err := e.try("up", "--yes", "--skip-preview"); err != nil {
		b.Fatalf("%v\n%s\n%s", err, out, e.logs(openstack.machines(b, name)))
	}
	first := routed()
	api := e.api(b)
	nodes := api.nodeAddresses(b)
	var out strings.Builder
	fmt.Fprintf(&out, "\n%-44s %10s %10s\n", "Seconds until the router has a route, since", "requested", "booted")
	row := func(name string, route, requested, booted time.Time) {
		require.False(b, route.IsZero(), "%s has no route", name)
		fmt.Fprintf(&out, "%-44s %10.1f %10.1f\n", name, route.Sub(requested).Seconds(), route.Sub(booted).Seconds())
		b.ReportMetric(route.Sub(booted).Seconds(), "s/"+strings.ReplaceAll(name, " ", "-"))
	}
	for _, machine := range openstack.machines(b, name) {
		if strings.Contains(machine.Name, "-worker-") {
			row(machine.Name, first[nodes[machine.Name]], machine.Created, e.booted(b, machine.Name))
		}
	}

	api.apply(b, "hello.yaml")
	api.await(b, "rollout", "status", "deployment/hello")
	config, err := cluster.Decode(name, edited(b, "../Pulumi.dev.yaml", edit)["kubernetes-openstack:cluster"])
	require.NoError(b, err)
	require.Equal(b, cluster.NewPlan(config).Sessions(), e.sessions(b, nodes))
	pods := api.helloPods(b)
	require.Len(b, pods, 2)
	api.kubectl(b, "exec", pods[0].Name, "--", "timeout", "2", "wget", "-q", "-O-", pods[1].Status.PodIP+":8080")
	const worker = name + "-worker-0"
	address := nodes[worker]
	openstack.stop(b, worker)
	router.waitFor(b, time.Minute, "the router has no route to "+worker, func(r routes) bool { return !r.via(address) })
	routed = router.watchRoutes(b)
	begin := time.Now()
	openstack.start(b, worker)
	router.waitFor(b, 5*time.Minute, "the router has a route to "+worker, func(r routes) bool { return r.via(address) })
	e.waitForMachine(b, worker)
	api.waitForNodes(b, len(nodes), 3*time.Minute)
	restarted := routed() // the monitor has recorded the route by now
	row(worker+" restarted", restarted[address], begin, e.booted(b, worker))

	url := "http://" + strings.TrimSpace(api.kubectl(b, "get", "service", "hello", "--output",
		"jsonpath={.spec.clusterIP}"))
	o := cutPower(b, openstack, box, router, worker, address, url, func() {
		eventually(b, 2*time.Minute, func() error {
			if waiting, err := api.notReady(len(nodes)); err != nil || waiting == "" {
				return fmt.Errorf("%s is Ready: %w", worker, err)
			}
			return nil
		})
	}, func() { openstack.cable(b, box, worker, "up") })
	api.waitForNodes(b, len(nodes), 2*time.Minute)
	fmt.Fprintf(&out, "\nFailover of %s:\n%s\n", worker, o)
	b.ReportMetric(o.routes.Seconds(), "s/failover")

	api.createServices(b)
	fmt.Fprintf(&out, "\nDNS from outside: answers/s over 10 s, over UDP from %d ports, at most %d outstanding queries\n"+
		"           one name, %s names of Services\n", dnsClients, dnsOutstanding, manyServices)
	for _, provider := range []string{cluster.SkyDNS, cluster.CoreDNS} {
		e.configure(b, func(text string) string { return merged(b, "dns: {provider: "+provider+"}")(edit(text)) })
		e.must("up", "--yes", "--skip-preview")
		one := e.dnsRate(b, api, "echo "+hello+" A", "-l 10")
		const all = `seq -f "service-%.0f.many.svc.cluster.local A" ` + manyServices
		e.dnsRate(b, api, all, "-n 1") // each name has an answer
		many := e.dnsRate(b, api, all, "-l 10")
		fmt.Fprintf(&out, "  %-8s %8.0f %8.0f\n", provider, one, many)
		b.ReportMetric(one, "answers/s-"+provider)
		b.ReportMetric(many, "answers/s-many-"+provider)
	}

	mesh, reflected := sessions(b)
	fmt.Fprintf(&out,
		"\nBGP sessions of a cluster with 5,000 nodes, without those to routers:\n  mesh: %d, %d at each node\n"+
			"  three route reflectors: %d, %d at each of them\n",
		mesh.Total, mesh.Most, reflected.Total, reflected.Most)
	record(b, out.String())
	b.ReportMetric(0, "ns/op") // the time per operation has no meaning
	e.must("destroy", "--yes", "--skip-preview")
}

// The clients that dnsperf simulates.
const dnsClients, dnsOutstanding = 8, 100

// manyServices is the number of Services service-1, service-2, … in the namespace many.
const manyServices = "10000"

// createServices creates manyServices Services with ClusterIPs.
func (a *api) createServices(b *testing.B) {
	b.Helper()
	begin := time.Now()
	config, err := clientcmd.BuildConfigFromFlags("", a.kubeconfig)
	require.NoError(b, err)
	config.QPS, config.ContentType = -1, runtime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(config)
	require.NoError(b, err)
	a.kubectl(b, "create", "namespace", "many")
	number, err := strconv.Atoi(manyServices)
	require.NoError(b, err)
	var group errgroup.Group
	group.SetLimit(8)
	for i := range number {
		group.Go(func() error {
			_, err := client.CoreV1().Services("many").Create(b.Context(), &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("service-%d", i+1)},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
			}, metav1.CreateOptions{})
			return err
		})
	}
	require.NoError(b, group.Wait())
	b.Logf("%d Services created in %.0f s", number, time.Since(begin).Seconds())
}

// dnsRate returns the number of answers per second that the router receives. queries is a shell command that prints
// them, and limit limits the run. Each query must have an address as its answer.
func (e *engine) dnsRate(b *testing.B, api *api, queries, limit string) float64 {
	b.Helper()
	server := strings.TrimSpace(api.kubectl(b, "get", "service", "kube-dns", "--namespace=kube-system", "--output",
		"jsonpath={.spec.clusterIP}"))
	output := e.on(b, "router", fmt.Sprintf("%s >/tmp/queries; dnsperf -s %s -d /tmp/queries %s -c %d -q %d", queries,
		server, limit, dnsClients, dnsOutstanding))
	b.Log(output)
	require.Regexp(b, `Response codes: +NOERROR \d+ \(100\.00%\)`, output)
	found := regexp.MustCompile(`Queries per second: +([\d.]+)`).FindStringSubmatch(output)
	require.NotNil(b, found, output)
	rate, err := strconv.ParseFloat(found[1], 64)
	require.NoError(b, err)
	return rate
}

// sessions returns the number of BGP sessions of the development stack with 5,000 nodes: in a mesh, and with
// three control planes as route reflectors.
func sessions(b *testing.B) (mesh, reflected cluster.Sessions) {
	b.Helper()
	c, err := cluster.Decode("large", stackConfig(b, "../Pulumi.dev.yaml")["kubernetes-openstack:cluster"])
	require.NoError(b, err)
	c.BGP.Peers = nil
	c.ControlPlane.Count = 3
	c.Pools[0].Count, c.Pools[0].Addresses = 5000-c.ControlPlane.Count, netip.MustParsePrefix("10.0.32.0/19")
	mesh = cluster.NewPlan(c).Sessions()
	c.BGP.RouteReflectors = string(cluster.RoleControlPlane)
	return mesh, cluster.NewPlan(c).Sessions()
}

// sessions counts the established BGP sessions of the nodes' BIRDs, with route reflectors and with the
// router.
func (e *engine) sessions(t testing.TB, nodes map[string]string) cluster.Sessions {
	t.Helper()
	var found cluster.Sessions
	ends := 0
	for node := range nodes {
		names := strings.Fields(e.on(t, node,
			`birdcl show protocols | awk '$2 == "BGP" && $6 == "Established" { print $1 }'`))
		found.Most = max(found.Most, len(names))
		for _, name := range names {
			require.NotContains(t, name, "Mesh_", node)
			if strings.HasSuffix(name, "_"+strings.ReplaceAll(routerAddress, ".", "_")) {
				found.Total++
			} else {
				ends++
			}
		}
	}
	found.Total += ends / 2
	return found
}

// booted returns the time when a machine's systemd started.
func (e *engine) booted(t testing.TB, machine string) time.Time {
	t.Helper()
	text := strings.TrimSpace(e.on(t, machine, "systemctl show --timestamp=us+utc --property=UserspaceTimestamp --value"))
	at, err := time.Parse("Mon 2006-01-02 15:04:05.000000 MST", text)
	require.NoError(t, err)
	return at
}

// watchRoutes records changes of routes until first is called. first returns the time of the first route to
// each next hop.
func (n namespace) watchRoutes(t testing.TB) (first func() map[string]time.Time) {
	t.Helper()
	var out bytes.Buffer
	monitor := exec.Command("ip", "-timestamp", "-tshort", "-oneline", "-4", "monitor", "route")
	monitor.Stdout = &out
	require.NoError(t, n.do(monitor.Start))
	t.Cleanup(func() { _ = monitor.Process.Kill() })
	return func() map[string]time.Time {
		_ = monitor.Process.Kill()
		_ = monitor.Wait()
		times := map[string]time.Time{}
		for line := range strings.Lines(out.String()) {
			stamp, route, _ := strings.Cut(strings.TrimPrefix(line, "["), "] ")
			at, err := time.ParseInLocation("2006-01-02T15:04:05.000000", stamp, time.Local)
			require.NoError(t, err, line)
			if strings.HasPrefix(route, "Deleted ") {
				continue
			}
			for _, hop := range regexp.MustCompile(`via (\S+)`).FindAllStringSubmatch(route, -1) {
				if _, seen := times[hop[1]]; !seen {
					times[hop[1]] = at
				}
			}
		}
		return times
	}
}
