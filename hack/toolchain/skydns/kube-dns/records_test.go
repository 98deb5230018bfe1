package main

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	etcd "github.com/coreos/etcd/client"
	"github.com/miekg/dns"
	"github.com/skynetservices/skydns/msg"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fakecache "k8s.io/client-go/tools/cache/testing"

	"kubernetes-openstack/hack/toolchain/skydns/config"
)

// The folder tests/dns has the table of cases that runs against the built programs. These tests check the records that
// depend on changes, and those of dual-stack clusters.

// sources are the Services and Endpoints of a cluster.
type sources struct {
	services, endpoints *fakecache.FakeControllerSource
}

func newSources() sources {
	return sources{fakecache.NewFakeControllerSource(), fakecache.NewFakeControllerSource()}
}

// start returns a backend that has loaded the sources.
func (s sources) start(t testing.TB) *backend {
	t.Helper()
	b := newBackend("cluster.local", s.services, s.endpoints)
	go b.run(t.Context())
	require.True(t, b.wait(t.Context()))
	return b
}

func service(name, ip string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: ip, Ports: ports},
	}
}

// records returns the addresses or the targets of a name.
func records(t *testing.T, b *backend, name string) (found []string) {
	t.Helper()
	list, err := b.Records(name, false)
	if err != nil {
		assert.Equal(t, etcd.Error{Code: etcd.ErrorCodeKeyNotFound}, err)
		return []string{"NXDOMAIN"}
	}
	for _, r := range list {
		text := r.Host
		if r.Port != 0 {
			text = fmt.Sprint(msg.Domain(r.Key), " ", r.Port)
		}
		found = append(found, text)
	}
	return found
}

func TestRecordsFollowChanges(t *testing.T) {
	s := newSources()
	b := s.start(t)
	const name = "db.default.svc.cluster.local."
	becomes := func(name string, want ...string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Equal(c, want, records(t, b, name)) },
			10*time.Second, time.Millisecond)
	}
	becomes(name, "NXDOMAIN")
	s.services.Add(service("db", corev1.ClusterIPNone))
	e := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db"},
		Subsets: []corev1.EndpointSubset{{
			Addresses:         []corev1.EndpointAddress{{IP: "10.244.0.7", Hostname: "db-0"}, {IP: "10.244.0.8"}},
			NotReadyAddresses: []corev1.EndpointAddress{{IP: "10.244.0.9", Hostname: "db-2"}},
			Ports:             []corev1.EndpointPort{{Name: "sql", Protocol: corev1.ProtocolTCP, Port: 5432}},
		}}}
	s.endpoints.Add(e)
	becomes(name, "10.244.0.7", "10.244.0.8")
	becomes("db-0."+name, "10.244.0.7")
	becomes("10-244-0-8."+name, "10.244.0.8")
	becomes("db-2."+name, "NXDOMAIN")
	becomes("_sql._tcp."+name, "db-0."+name+" 5432", "10-244-0-8."+name+" 5432")
	becomes("_sql._udp."+name, "NXDOMAIN")
	reverse, err := b.ReverseRecord("7.0.244.10.in-addr.arpa.")
	require.NoError(t, err)
	assert.Equal(t, "db-0."+name, reverse.Host)
	_, err = b.ReverseRecord("8.0.244.10.in-addr.arpa.")
	assert.Error(t, err, "an endpoint without a host name")

	e = e.DeepCopy()
	e.Subsets[0].Addresses = e.Subsets[0].Addresses[1:]
	s.endpoints.Modify(e)
	becomes(name, "10.244.0.8")
	becomes("db-0."+name, "NXDOMAIN")
	_, err = b.ReverseRecord("7.0.244.10.in-addr.arpa.")
	assert.Error(t, err)
	s.services.Delete(service("db", corev1.ClusterIPNone))
	becomes(name, "NXDOMAIN")
}

// TestServiceWithoutAddress checks a Service that has no address and no external name yet.
func TestServiceWithoutAddress(t *testing.T) {
	s := newSources()
	s.services.Add(service("new", "", corev1.ServicePort{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}))
	b := s.start(t)
	for _, name := range []string{"new", "_http._tcp.new"} {
		assert.Equal(t, []string{"NXDOMAIN"}, records(t, b, name+".default.svc.cluster.local."))
	}
}

func TestDualStack(t *testing.T) {
	s := newSources()
	web := service("web", "10.96.0.77", corev1.ServicePort{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80})
	web.Spec.ClusterIPs = []string{"10.96.0.77", "fd00::4d"}
	s.services.Add(web)
	b := s.start(t)
	const name = "web.default.svc.cluster.local."
	assert.Equal(t, []string{"10.96.0.77", "fd00::4d"}, records(t, b, name))
	assert.Equal(t, []string{name + " 80"}, records(t, b, "_http._tcp."+name))
	for _, ip := range web.Spec.ClusterIPs {
		reverse, err := dns.ReverseAddr(ip)
		require.NoError(t, err)
		found, err := b.ReverseRecord(reverse)
		require.NoError(t, err, ip)
		assert.Equal(t, name, found.Host)
	}
	assert.Equal(t, []string{"fd00::4d"}, records(t, b, "fd00--4d.default.pod.cluster.local."))
	for _, label := range []string{"x", "fe80--1%eth0"} {
		assert.Equal(t, []string{"NXDOMAIN"}, records(t, b, label+".default.pod.cluster.local."))
	}
	for _, name := range []string{"arpa.", "1.2.3.in-addr.arpa.", "x.0.96.10.in-addr.arpa.", "1.ip6.arpa."} {
		_, err := b.ReverseRecord(name)
		assert.Error(t, err, name)
	}
}

// TestSettingsChangeWithoutARestart checks that an external name is resolved by the current name servers.
func TestSettingsChangeWithoutARestart(t *testing.T) {
	sources := newSources()
	sources.services.Add(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "out"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "www.example.test"}})
	upstream := func(ip string) []config.Server {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
			record, _ := dns.NewRR(query.Question[0].Name + " A " + ip)
			reply := new(dns.Msg).SetReply(query)
			reply.Answer = []dns.RR{record}
			_ = w.WriteMsg(reply)
		})
		server := &dns.Server{PacketConn: conn, Handler: handler}
		go server.ActivateAndServe()
		t.Cleanup(func() { server.Shutdown() })
		return []config.Server{{AddrPort: conn.LocalAddr().(*net.UDPAddr).AddrPort()}}
	}
	s := &server{backend: sources.start(t), domain: "cluster.local.", nameservers: upstream("192.0.2.1")}
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.LocalAddr().String()
	require.NoError(t, free.Close())
	ended := make(chan error, 1)
	require.NoError(t, s.use(config.Config{}))
	go func() { ended <- s.listen(t.Context(), address) }()
	ask := func() string {
		var answer *dns.Msg
		require.Eventually(t, func() bool {
			select {
			case err := <-ended:
				require.NoError(t, err)
			default:
			}
			query := new(dns.Msg).SetQuestion("out.default.svc.cluster.local.", dns.TypeA)
			answer, _, err = new(dns.Client).ExchangeContext(t.Context(), query, address)
			return err == nil
		}, 10*time.Second, 10*time.Millisecond)
		var all []string
		for _, record := range answer.Answer {
			all = append(all, strings.ReplaceAll(record.String(), "\t", " "))
		}
		return strings.Join(all, "\n")
	}
	assert.Regexp(t, `^out\.default\.svc\.cluster\.local\. 30 IN CNAME www\.example\.test\.\n.* IN A 192\.0\.2\.1$`, ask())
	require.NoError(t, s.use(config.Config{UpstreamNameservers: upstream("192.0.2.2")}))
	assert.Contains(t, ask(), "192.0.2.2")
}

// TestTenThousandServices logs the time until 10,000 Services with endpoints are loaded, and their memory.
func TestTenThousandServices(t *testing.T) {
	const number = 10_000
	s := newSources()
	ip := func(base, i int) string { return fmt.Sprintf("10.%d.%d.%d", base+i>>16, i>>8&255, i&255) }
	for i := range number {
		name := fmt.Sprintf("service-%d", i)
		s.services.Add(service(name, ip(96, i), corev1.ServicePort{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}))
		s.endpoints.Add(&corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Subsets: []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: ip(100, i)}, {IP: ip(101, i)}},
				Ports: []corev1.EndpointPort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 8080}}}}})
	}
	heap := func() float64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return float64(stats.HeapAlloc) / (1 << 20)
	}
	before, begin := heap(), time.Now()
	b := s.start(t)
	loaded := time.Since(begin)
	assert.Equal(t, []string{ip(96, number-1)},
		records(t, b, fmt.Sprintf("service-%d.default.svc.cluster.local.", number-1)))
	const queries = 10_000
	begin = time.Now()
	for i := range queries {
		_, err := b.Records(fmt.Sprintf("service-%d.default.svc.cluster.local.", i%number), false)
		require.NoError(t, err)
	}
	t.Logf("%d Services: loaded after %.2f s, %.0f MiB of heap for the informers; %.1f µs for each name", number,
		loaded.Seconds(), heap()-before, float64(time.Since(begin).Microseconds())/queries)
	runtime.KeepAlive(b)
}
