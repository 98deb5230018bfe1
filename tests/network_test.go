//go:build e2e

package tests

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Addresses of the data centre that the stack e2e uses (testdata/e2e.yaml).
const (
	routerAddress = "10.0.0.1"
	services      = "10.97.0.0/16"
	dnsAddress    = "10.97.0.10"
	// outside is the address of devcloud's box, a host beyond the router.
	outside  = "172.31.250.1"
	hello    = "hello.default.svc.cluster.local"
	metadata = "169.254.169.254"
	// in network.serviceExternalIPs; each for one suite, because suites run in parallel
	externalIP        = "10.98.0.129"
	tenantsExternalIP = "10.98.0.130"
)

// testNetwork returns steps that check the network of a cluster in which the Deployment hello runs. They
// check it from the cluster's pods and from the data centre's router. The steps of traffic disturb only
// hello. The steps of disturbances disconnect other pods. Both restore the previous state.
func testNetwork(t *testing.T, e *engine, api *api, openstack cloud) (traffic, disturbances func(*testing.T)) {
	box, router := openNamespace(t, ""), openNamespace(t, "router")
	nodes := api.nodeAddresses(t)
	workers := []string{nodes["e2e-worker-0"], nodes["e2e-worker-1"]}
	slices.Sort(workers)
	name := func(address string) string { // returns the name of the node with this address, or the address
		for node, own := range nodes {
			if own == address {
				return node
			}
		}
		return address
	}
	pods := api.helloPods(t)
	require.Len(t, pods, 2)
	here, there := pods[0], pods[1]
	require.NotEqual(t, here.Spec.NodeName, there.Spec.NodeName)
	service := strings.TrimSpace(api.kubectl(t, "get", "service", "hello", "--output", "jsonpath={.spec.clusterIP}"))
	whoami := func(address string) string { return "http://" + address + "/cgi-bin/whoami" }
	ofPod := func(pod corev1.Pod) string { return whoami(pod.Status.PodIP + ":8080") }
	inPod := func(pod corev1.Pod, command ...string) (string, error) {
		out, err := api.try(append([]string{"exec", pod.Name, "--"}, command...)...)
		return strings.TrimSpace(out), err
	}
	fromPod := func(pod corev1.Pod, url string) (string, error) {
		return inPod(pod, "timeout", answerSeconds, "wget", "-q", "-O-", url)
	}
	fromRouter := func(url string) (string, error) { return router.get(url, answerTime) }
	announced := func(r routes) bool { return slices.Equal(r[netip.MustParsePrefix(services)], workers) }

	traffic = func(t *testing.T) {
		step(t, "workers announce the Services and their pods to the router, and control planes do not", func(t *testing.T) {
			router.waitFor(t, time.Minute, "both workers announce "+services, announced)
			now, err := router.routes()
			require.NoError(t, err)
			for _, pod := range pods {
				assert.Equal(t, []string{nodes[pod.Spec.NodeName]}, now.of(pod.Status.PodIP),
					"where the router sends packets to %s", pod.Status.PodIP)
			}
			t.Log("\n" + e.on(t, "router", "birdc show protocols; birdc show route; ip route"))
		})

		step(t, "source addresses are kept, except for Services from outside", func(t *testing.T) {
			// sourceAt repeats a request until the wanted pod answers, because a Service chooses any pod. It
			// returns the source address that the pod receives.
			sourceAt := func(pod corev1.Pod, request func() (string, error)) string {
				t.Helper()
				for range 40 {
					answer, err := request()
					require.NoError(t, err, answer)
					if address, ok := strings.CutPrefix(answer, pod.Name+" "); ok {
						return address
					}
				}
				require.Fail(t, pod.Name+" does not answer")
				return ""
			}
			on := func(machine, url string) func() (string, error) {
				return func() (string, error) {
					return strings.TrimSpace(e.on(t, machine, "curl -sS --fail --max-time "+answerSeconds+" "+url)), nil
				}
			}
			pod := func(pod corev1.Pod, url string) func() (string, error) {
				return func() (string, error) { return fromPod(pod, url) }
			}
			fromOutside := func(url string) func() (string, error) {
				return func() (string, error) { return box.get(url, answerTime) }
			}
			const kept, proxy = "kept", "replaced by kube-proxy of the node that the router chose"
			port, source := box.accept(t, outside)
			_, err := inPod(here, "nc", "-w", answerSeconds, outside, fmt.Sprint(port))
			require.NoError(t, err)

			table := fmt.Sprintf("\n%-48s %-22s %s\n", "from → to", "source address", "translation")
			for _, row := range []struct {
				path, source string
				want         []string
				translation  string
			}{
				{"pod → pod of another node", sourceAt(there, pod(here, ofPod(there))), []string{here.Status.PodIP}, kept},
				{"the reverse direction", sourceAt(here, pod(there, ofPod(here))), []string{there.Status.PodIP}, kept},
				{"pod → ClusterIP, pod of another node", sourceAt(there, pod(here, whoami(service))), []string{here.Status.PodIP},
					kept},
				{"pod → ClusterIP → itself", sourceAt(here, pod(here, whoami(service))), []string{nodes[here.Spec.NodeName]},
					"replaced by kube-proxy of its node"},
				{"node → pod of another node", sourceAt(there, on(here.Spec.NodeName, ofPod(there))),
					[]string{nodes[here.Spec.NodeName]}, kept},
				{"node → ClusterIP, pod of another node", sourceAt(there, on(here.Spec.NodeName, whoami(service))),
					[]string{nodes[here.Spec.NodeName]}, kept},
				{"router → pod", sourceAt(here, func() (string, error) { return fromRouter(ofPod(here)) }), []string{routerAddress},
					kept},
				{"router → ClusterIP", sourceAt(here, func() (string, error) { return fromRouter(whoami(service)) }), workers,
					proxy},
				{"host beyond the router → pod", sourceAt(here, fromOutside(ofPod(here))), []string{outside}, kept},
				{"host beyond the router → ClusterIP", sourceAt(here, fromOutside(whoami(service))), workers, proxy},
				{"pod → host beyond the router", receive(t, source), []string{here.Status.PodIP}, kept},
			} {
				assert.Contains(t, row.want, row.source, row.path)
				table += fmt.Sprintf("%-48s %-22s %s\n", row.path, row.source, row.translation)
			}
			t.Log(table)
		})

		step(t, "the router spreads connections to a ClusterIP over the workers", func(t *testing.T) {
			counts := map[string]int{} // kube-proxy replaces the source address by its node's address
			for range 200 {
				answer, err := fromRouter(whoami(service))
				require.NoError(t, err)
				_, node, _ := strings.Cut(answer, " ")
				counts[name(node)]++
			}
			t.Logf("200 connections by node: %v", counts)
			assert.Equal(t, []string{"e2e-worker-0", "e2e-worker-1"}, slices.Sorted(maps.Keys(counts)))
		})

		step(t, "the router reaches a Service by its external IP", func(t *testing.T) {
			external := externalService("external", externalIP, 80)
			external.Spec.Selector = map[string]string{"app": "hello"}
			external.Spec.Ports[0].TargetPort = intstr.FromInt32(8080)
			services := api.client.CoreV1().Services("default")
			_, err := services.Create(t.Context(), external, metav1.CreateOptions{})
			require.NoError(t, err)
			eventually(t, time.Minute, func() error {
				_, err := fromRouter("http://" + externalIP)
				return err
			})
			require.NoError(t, services.Delete(t.Context(), external.Name, metav1.DeleteOptions{}))
		})

		// The step "SkyDNS answers a pod and the router…" has the other queries.
		step(t, "the router connects to a Service by its name", func(t *testing.T) {
			address := strings.TrimSpace(e.on(t, "router", "dig +short @"+dnsAddress+" "+hello))
			curl := fmt.Sprintf("curl -sS --fail --max-time %s --resolve %s:80:%s http://%[2]s", answerSeconds, hello, address)
			assert.Contains(t, e.on(t, "router", curl), "hello-")
		})

		step(t, "NetworkPolicies restrict pods and the router", func(t *testing.T) {
			clients := map[string]func() (string, error){
				"a pod":                        func() (string, error) { return fromPod(here, ofPod(there)) },
				"the router":                   func() (string, error) { return fromRouter(ofPod(there)) },
				"the router, by the ClusterIP": func() (string, error) { return fromRouter(whoami(service)) },
			}
			// onlyConnects waits until only the named clients can connect.
			onlyConnects := func(names ...string) {
				t.Helper()
				begin := time.Now()
				eventually(t, time.Minute, func() error {
					for name, request := range clients {
						if _, err := request(); (err == nil) != slices.Contains(names, name) {
							return fmt.Errorf("%s: %v", name, err)
						}
					}
					return nil
				})
				t.Logf("only %v connect after %.1f s", names, time.Since(begin).Seconds())
			}
			all := slices.Collect(maps.Keys(clients))
			onlyConnects(all...)
			api.apply(t, "friends.yaml")
			onlyConnects()
			api.kubectl(t, "label", "pod", here.Name, "example.com/friend=yes")
			onlyConnects("a pod")
			api.kubectl(t, "label", "pod", here.Name, "example.com/friend-")
			api.apply(t, "router.yaml")
			// A request to the ClusterIP passes only on the pod's node. The other node forwards packets with
			// its own source address.
			delete(clients, "the router, by the ClusterIP")
			onlyConnects("the router")
			api.kubectl(t, "delete", "networkpolicy", "friends", "router")
			onlyConnects(slices.Collect(maps.Keys(clients))...)
		})

		step(t, "nodes can connect to the metadata service, and pods cannot", func(t *testing.T) {
			node := here.Spec.NodeName
			connect := func() error {
				_, err := inPod(here, "nc", "-w", answerSeconds, metadata, "80")
				return err
			}
			closed := func() error {
				if connect() == nil {
					return fmt.Errorf("%s connects to %s", here.Name, metadata)
				}
				return nil
			}
			require.NoError(t, closed())
			e.on(t, node, "curl -sS --fail --max-time "+answerSeconds+" http://"+metadata+"/openstack/latest/meta_data.json")
			// no other firewall rule blocks access
			e.on(t, node, "systemctl stop metadata-filter && nft delete table inet metadata-filter")
			eventually(t, 10*time.Second, connect)
			e.on(t, node, "systemctl start metadata-filter")
			require.NoError(t, closed())
			e.on(t, node, "nft delete table inet metadata-filter")
			eventually(t, 20*time.Second, closed)
		})
	}
	disturbances = func(t *testing.T) {
		step(t, "Neutron drops packets to pods without allowed address pairs", func(t *testing.T) {
			port := openstack.port(t, here.Spec.NodeName)
			require.NotEmpty(t, port.AllowedAddressPairs)
			allow := func(pairs []ports.AddressPair) {
				_, err := ports.Update(t.Context(), openstack.clients["network"], port.ID,
					ports.UpdateOpts{AllowedAddressPairs: &pairs}).Extract()
				require.NoError(t, err)
			}
			defer allow(port.AllowedAddressPairs)
			allow([]ports.AddressPair{})
			eventually(t, time.Minute, func() error {
				if answer, err := fromRouter(ofPod(here)); err == nil {
					return fmt.Errorf("%s answers", answer)
				}
				return nil
			})
			_, err := fromRouter(ofPod(here))
			t.Logf("without address pairs: router → pod of %s: %v", here.Spec.NodeName, err)
			assert.Error(t, err)
			_, err = fromPod(there, ofPod(here))
			assert.Error(t, err, "pod → pod")
			_, err = fromRouter(ofPod(there))
			assert.NoError(t, err, "the other node keeps its address pairs")
			allow(port.AllowedAddressPairs)
			eventually(t, time.Minute, func() error { _, err := fromRouter(ofPod(here)); return err })
		})

		step(t, "nodes and up report a missing router and a wrong password", func(t *testing.T) {
			const node, file = "e2e-control-plane-0", "/run/missing-router.yaml"
			password := strings.TrimSpace(api.kubectl(t, "get", "secret", "bgp-peers", "--namespace=kube-system", "--output",
				`jsonpath={.data.peer-10-0-0-1}`))
			require.NotEmpty(t, password)
			set := func(password string) {
				api.kubectl(t, "patch", "secret", "bgp-peers", "--namespace=kube-system", "--patch",
					`{"data": {"peer-10-0-0-1": "`+password+`"}}`)
			}
			reported := func(want ...string) {
				t.Helper()
				eventually(t, 2*time.Minute, func() error {
					out := e.on(t, "e2e-worker-0",
						"journalctl --boot --quiet --output cat --unit bootstrap-report | grep calico-peers: | tail -n 1")
					for _, text := range want {
						if !strings.Contains(out, text) {
							return fmt.Errorf("the report does not contain %q: %s", text, out)
						}
					}
					return nil
				})
			}
			e.on(t, node, "printf '"+
				`apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: missing-router}\nspec: {peerIP: 10.0.0.12, `+
				`asNumber: 65009}\n`+"' >"+file+" && calicoctl apply --filename="+file)
			set("d3Jvbmc=")
			router.waitFor(t, time.Minute, "no worker announces Services",
				func(r routes) bool { return len(r[netip.MustParsePrefix(services)]) == 0 })
			reported("10.0.0.1:", "10.0.0.12:")
			t.Log("\n" + e.on(t, "e2e-worker-0", "calicoctl node status"))
			out := e.must("up", "--yes", "--skip-preview")
			assert.Regexp(t, `warning: calico-peers: .*10\.0\.0\.1:`, out)
			assert.Regexp(t, `warning: calico-peers: .*10\.0\.0\.12:`, out)
			for line := range strings.Lines(out) {
				if strings.Contains(line, "warning: ") {
					t.Log(line)
				}
			}
			e.on(t, node, "calicoctl delete --filename="+file)
			set(password)
			router.waitFor(t, time.Minute, "both workers announce Services again", announced)
			reported("done after")
		})
	}
	return traffic, disturbances
}

func receive(t *testing.T, from <-chan string) string {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(10 * time.Second):
		require.Fail(t, "no connection after 10 s")
		return ""
	}
}

// nodeAddresses maps the names of the nodes to their InternalIPs.
func (a *api) nodeAddresses(t testing.TB) map[string]string {
	t.Helper()
	nodes, err := a.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	addresses := map[string]string{}
	for _, node := range nodes.Items {
		for _, address := range node.Status.Addresses {
			if address.Type == corev1.NodeInternalIP {
				addresses[node.Name] = address.Address
			}
		}
	}
	return addresses
}

// readySince maps the names of the nodes to the times when they became Ready.
func (a *api) readySince(t testing.TB) map[string]time.Time {
	t.Helper()
	nodes, err := a.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	since := map[string]time.Time{}
	for _, node := range nodes.Items {
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady {
				since[node.Name] = condition.LastTransitionTime.Time
			}
		}
	}
	return since
}

// helloPods returns the running pods of hello, sorted by the names of their nodes.
func (a *api) helloPods(t testing.TB) []corev1.Pod {
	t.Helper()
	pods, err := a.client.CoreV1().Pods("default").List(t.Context(),
		metav1.ListOptions{LabelSelector: "app=hello", FieldSelector: "status.phase=Running"})
	require.NoError(t, err)
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Spec.NodeName, b.Spec.NodeName) })
	return slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}
