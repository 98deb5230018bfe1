//go:build e2e

package tests

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/tests/dns"
)

const dnsServer = dnsAddress + ":53"

// testDNS returns steps that check cluster DNS while the Deployment hello runs. cases sends the queries of package dns
// from a pod and from the router. change replaces the DNS server by the other one and back, while clients send queries.
func testDNS(t *testing.T, e *engine, api *api) (cases, change func(*testing.T)) {
	router, beyond := openNamespace(t, "router"), openNamespace(t, "")
	// the server of the stub domain in testdata/e2e.yaml
	stub := dns.Serve(t, dns.Stub, func() (packets net.PacketConn, listener net.Listener, err error) {
		err = router.do(func() (err error) {
			if packets, err = net.ListenPacket("udp", routerAddress+":5300"); err == nil {
				listener, err = net.Listen("tcp", routerAddress+":5300")
			}
			return err
		})
		return packets, listener, err
	})
	service := strings.TrimSpace(api.kubectl(t, "get", "service", "hello", "--output", "jsonpath={.spec.clusterIP}"))
	c := dns.Cluster{ClusterIP: netip.MustParseAddr("10.97.0.77")}
	run := func(t *testing.T, provider string) {
		t.Helper()
		pod := openPod(t, api.helloPods(t)[0])
		for client, dial := range map[string]dns.Dial{"a pod": pod.dial, "the router": router.dial} {
			t.Run("from "+client, func(t *testing.T) { dns.Run(t, c, provider, dnsServer, dial) })
		}
		t.Logf("%s: %d cases from a pod and from the router, over UDP and TCP; stub domain at %s", provider,
			len(c.Cases()), stub)
	}
	cases = func(t *testing.T) {
		step(t, "SkyDNS answers a pod and the router as the DNS specification says", func(t *testing.T) {
			objects, err := c.Objects()
			require.NoError(t, err)
			file := filepath.Join(t.TempDir(), "objects.yaml")
			require.NoError(t, os.WriteFile(file, []byte(objects), 0o600))
			api.kubectl(t, "apply", "--filename", file)
			eventually(t, time.Minute, func() error {
				pod, err := api.client.CoreV1().Pods("dns-cases").Get(t.Context(), "pending-0", metav1.GetOptions{})
				if err == nil && pod.Status.PodIP == "" {
					err = fmt.Errorf("pending-0 has no address: %s", pod.Status.Phase)
				}
				if err == nil {
					c.PendingPod = pod.Status.PodIP
				}
				return err
			})
			eventually(t, time.Minute, func() error { // the last object
				answer, err := dns.Ask(t.Context(), router.dial, "udp", dnsServer,
					"pending-0.pending.dns-cases.svc.cluster.local.", "A")
				if err == nil && answer != "A "+c.PendingPod {
					err = fmt.Errorf("pending-0: %s", answer)
				}
				return err
			})
			run(t, cluster.SkyDNS)
		})
	}
	change = func(t *testing.T) {
		stepExclusive(t, "a change to CoreDNS and back loses no query", func(t *testing.T) {
			uid := api.kubectl(t, "get", "service", "kube-dns", "--namespace=kube-system", "--output=jsonpath={.metadata.uid}")
			load := beyond.startQueries(t, hello+".", "A "+service)
			for _, provider := range []string{cluster.CoreDNS, cluster.SkyDNS} {
				e.configure(t, func(text string) string {
					return merged(t, "dns: {provider: "+provider+"}")(patched(t, "e2e.yaml")(text))
				})
				begin := time.Now()
				e.must("up", "--yes", "--skip-preview")
				t.Logf("changed to %s in %.0f s", provider, time.Since(begin).Seconds())
				if provider == cluster.CoreDNS {
					run(t, provider)
				}
			}
			load.end(t)
			e.must("preview", "--expect-no-changes")
			assert.Equal(t, uid, api.kubectl(t, "get", "service", "kube-dns", "--namespace=kube-system",
				"--output=jsonpath={.metadata.uid}"), "the Service is the same object")
			api.kubectl(t, "delete", "namespace", "dns-cases")
		})
	}
	return cases, change
}

// openPod opens the network namespace of a pod. It finds a process of the pod by the name of its cgroup, because the
// processes of all machines are visible on this host.
func openPod(t testing.TB, pod corev1.Pod) namespace {
	t.Helper()
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	require.NoError(t, err)
	for _, group := range groups {
		text, _ := os.ReadFile(group) // the process may have ended
		if strings.Contains(string(text), "pod"+string(pod.UID)) {
			file, err := os.Open(filepath.Join(filepath.Dir(group), "ns/net"))
			if err != nil {
				continue
			}
			t.Cleanup(func() { file.Close() })
			return namespace{file: file}
		}
	}
	require.Fail(t, "no process of the pod "+pod.Name)
	return namespace{}
}

// queries are clients that send a query again and again, each after the answer to the last one.
type queries struct {
	stop    func()
	done    sync.WaitGroup
	begin   time.Time
	results map[string]*queryResults // by client; each client has its own
}

type queryResults struct {
	answered int
	lost     []string // times and reasons
	longest  time.Duration
}

const onePort = "UDP, one port"

// startQueries starts three clients in the namespace: one that uses a new UDP port for each query as most resolvers do,
// one that keeps its UDP port, and one that opens a TCP connection for each query.
func (n namespace) startQueries(t *testing.T, name, want string) *queries {
	t.Helper()
	stop := make(chan struct{})
	q := &queries{stop: sync.OnceFunc(func() { close(stop) }), begin: time.Now(), results: map[string]*queryResults{}}
	t.Cleanup(q.stop)
	kept, err := n.dial(t.Context(), "udp", dnsServer)
	require.NoError(t, err)
	t.Cleanup(func() { kept.Close() })
	for client, ask := range map[string]func() (string, error){
		"UDP, a new port": func() (string, error) { return dns.Ask(t.Context(), n.dial, "udp", dnsServer, name, "A") },
		onePort:           func() (string, error) { return dns.AskOn(kept, "udp", name, "A") },
		"TCP":             func() (string, error) { return dns.Ask(t.Context(), n.dial, "tcp", dnsServer, name, "A") },
	} {
		results := &queryResults{}
		q.results[client] = results
		q.done.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(25 * time.Millisecond):
					begin := time.Now()
					answer, err := ask()
					if err == nil && answer != want {
						err = fmt.Errorf("the answer is %s", answer)
					}
					results.record(begin, begin.Sub(q.begin), err)
				}
			}
		})
	}
	return q
}

// record adds the result of a query. since is the time between the start of all clients and begin.
func (r *queryResults) record(begin time.Time, since time.Duration, err error) {
	if err != nil {
		r.lost = append(r.lost, fmt.Sprintf("%.1f s: %v", since.Seconds(), err))
		return
	}
	r.answered++
	r.longest = max(r.longest, time.Since(begin))
}

// end stops the clients, and prints and checks their results.
//
// A client that keeps its UDP port may lose one query for each of the two changes. When a pod becomes unready,
// kube-proxy deletes the port's entry from the table of connections. An answer that is on its way finds no entry.
func (q *queries) end(t *testing.T) {
	t.Helper()
	q.stop()
	q.done.Wait()
	var out strings.Builder
	fmt.Fprintf(&out, "\n%-16s %9s %5s %12s\n", "queries", "answered", "lost", "slowest, ms")
	for _, client := range slices.Sorted(maps.Keys(q.results)) {
		r := q.results[client]
		allowed := 0
		if client == onePort {
			allowed = 2
		}
		assert.LessOrEqual(t, len(r.lost), allowed, "lost queries over %s", client)
		fmt.Fprintf(&out, "%-16s %9d %5d %12d\n", client, r.answered, len(r.lost), r.longest.Milliseconds())
		for _, reason := range r.lost {
			fmt.Fprintf(&out, "  %s\n", reason)
		}
	}
	t.Log(out.String())
}
