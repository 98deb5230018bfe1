package tests

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/tests/apiserver"
	"kubernetes-openstack/tests/dns"
)

// dnsCases runs the DNS servers of a cluster without nodes on this machine, and sends them the queries of package dns.
type dnsCases struct {
	api            *apiserver.Server
	cluster        dns.Cluster
	stub, upstream string // DNS servers
}

// newDNSCases creates the objects of the cases in a cluster. No scheduler and no kubelet run, so it sets the node and
// the address of the pod. Endpoints need both.
func newDNSCases(t *testing.T, api *apiserver.Server) *dnsCases {
	t.Helper()
	c := &dnsCases{api, dns.Cluster{ClusterIP: netip.MustParseAddr("10.96.0.77"), PendingPod: "10.244.0.7"},
		dns.Serve(t, dns.Stub, dns.OnLoopback), dns.Serve(t, dns.Upstream, dns.OnLoopback)}
	objects, err := c.cluster.Objects()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, []byte(api.Kubeconfig), 0o600))
	require.Eventually(t, func() bool { // until the namespace has its ServiceAccount
		apply := exec.Command(dirs.Mirror("dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubectl"), "--kubeconfig", file, "apply",
			"--filename", "-")
		apply.Stdin = strings.NewReader(objects)
		out, err := apply.CombinedOutput()
		if err != nil {
			t.Logf("kubectl apply: %s", out)
		}
		return err == nil
	}, time.Minute, time.Second)
	pods := api.Client.CoreV1().Pods("dns-cases")
	require.NoError(t, pods.Bind(t.Context(), &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "pending-0"},
		Target: corev1.ObjectReference{Kind: "Node", Name: "node"}}, metav1.CreateOptions{}))
	pod, err := pods.Get(t.Context(), "pending-0", metav1.GetOptions{})
	require.NoError(t, err)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: c.cluster.PendingPod,
		PodIPs: []corev1.PodIP{{IP: c.cluster.PendingPod}}}
	_, err = pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	require.NoError(t, err)
	return c
}

// plan returns the plan of a small cluster with this DNS provider and the DNS servers of the cases.
func (c *dnsCases) plan(t *testing.T, provider string) cluster.Plan {
	t.Helper()
	config := smallPlan(t, provider).Config
	config.DNS.StubDomains = []cluster.StubDomain{{Domain: dns.StubDomain, Servers: []string{c.stub}}}
	config.DNS.UpstreamNameservers = []string{c.upstream}
	return cluster.NewPlan(config)
}

// check starts the deployed DNS server from its images, with its deployed arguments, settings and ServiceAccount. It
// runs the cases against it.
func (c *dnsCases) check(t *testing.T, provider string) {
	t.Helper()
	begin := time.Now()
	s := &dnsPod{dnsCases: c, address: freeAddress(t), dir: t.TempDir()}
	defer s.stop()
	if provider == cluster.CoreDNS {
		s.startCoreDNS(t)
	} else {
		s.startKubeDNS(t)
	}
	dial := new(net.Dialer).DialContext
	if !assert.Eventually(t, func() bool { // the address of the pod is the last object
		answer, err := dns.Ask(t.Context(), dial, "udp", s.address, "pending-0.pending.dns-cases.svc.cluster.local.", "A")
		return err == nil && answer == "A "+c.cluster.PendingPod
	}, time.Minute, 50*time.Millisecond) {
		t.Fatal(s.log())
	}
	t.Logf("%s answers %.1f s after its start", provider, time.Since(begin).Seconds())
	dns.Run(t, c.cluster, provider, s.address, dial)
	s.stop()
	assert.NotContains(t, s.log(), "forbidden")
	if t.Failed() {
		t.Log(s.log())
	}
}

// freeAddress returns an unused UDP and TCP address of this machine.
func freeAddress(t *testing.T) string {
	t.Helper()
	packets, listener, err := dns.OnLoopback()
	require.NoError(t, err)
	require.NoError(t, packets.Close())
	require.NoError(t, listener.Close())
	return packets.LocalAddr().String()
}

// dnsPod is a DNS server with all its processes.
type dnsPod struct {
	*dnsCases
	address   string
	dir       string
	processes []*exec.Cmd
	mutex     sync.Mutex
	output    strings.Builder
}

// Write implements io.Writer for the logs of all processes.
func (s *dnsPod) Write(text []byte) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.output.Write(text)
}

func (s *dnsPod) log() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.output.String()
}

func (s *dnsPod) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stdout, cmd.Stderr = s, s
	require.NoError(t, cmd.Start())
	s.processes = append(s.processes, cmd)
}

func (s *dnsPod) stop() {
	for _, cmd := range s.processes {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range s.processes {
		_ = cmd.Wait()
	}
	s.processes = nil
}

// write writes a file and returns its path.
func (s *dnsPod) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// settings returns the data of a deployed ConfigMap.
func (s *dnsPod) settings(t *testing.T, name string) map[string]string {
	t.Helper()
	object, err := s.api.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return object.Data
}

func (s *dnsPod) startCoreDNS(t *testing.T) {
	t.Helper()
	kubeconfig := s.write(t, "kubeconfig", s.api.As(t, "coredns"))
	_, port, err := net.SplitHostPort(s.address)
	require.NoError(t, err)
	corefile := strings.NewReplacer(
		":53 {", ":"+port+" {\n    bind 127.0.0.1",
		"in-addr.arpa ip6.arpa {\n        pods", "in-addr.arpa ip6.arpa {\n        kubeconfig "+kubeconfig+"\n        pods",
		"lameduck 15s", "lameduck 0s",
		"health {", "health 127.0.0.1:0 {", "ready\n", "ready 127.0.0.1:0\n", ":9153", "127.0.0.1:0", // other tests use these
	).Replace(s.settings(t, "coredns")["Corefile"])
	s.start(t, exec.Command(filepath.Join(unpack(t, "registry.k8s.io/coredns/coredns@v1.14.2"), "coredns"), "-conf",
		s.write(t, "Corefile", corefile)))
}

// startKubeDNS starts the three containers of a pod. They listen on free ports, because other tests may use theirs.
func (s *dnsPod) startKubeDNS(t *testing.T) {
	t.Helper()
	deployment, err := s.api.Client.AppsV1().Deployments(metav1.NamespaceSystem).Get(t.Context(), "kube-dns",
		metav1.GetOptions{})
	require.NoError(t, err)
	skydns, sidecar, health := freeAddress(t), freeAddress(t), freeAddress(t)
	port := func(address string) string { return address[strings.LastIndex(address, ":")+1:] }
	replacer := strings.NewReplacer("10053", port(skydns), "127.0.0.1:53,", s.address+",")
	nanny := unpack(t, "registry.k8s.io/dns/k8s-dns-dnsmasq-nanny@1.26.7")
	for name, value := range s.settings(t, "kube-dns") {
		s.write(t, "config/"+name, value)
		require.NoError(t, os.MkdirAll(nanny+"/etc/k8s/dns/dnsmasq-nanny", 0o755))
		require.NoError(t, os.WriteFile(nanny+"/etc/k8s/dns/dnsmasq-nanny/"+name, []byte(value), 0o600))
	}
	require.NoError(t, os.Mkdir(nanny+"/dev", 0o755)) // with what the two programs read
	require.NoError(t, os.WriteFile(nanny+"/dev/null", nil, 0o600))
	require.NoError(t, os.WriteFile(nanny+"/dev/urandom", []byte(strings.Repeat(rand.Text(), 10)), 0o600))
	start := func(name, program string, more ...string) {
		args := []string{}
		for _, arg := range container(t, deployment, name).Args {
			args = append(args, replacer.Replace(arg))
		}
		cmd := exec.Command(program, append(args, more...)...)
		if name == "dnsmasq" {
			cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Chroot: nanny}, "/"
		}
		s.start(t, cmd)
	}
	start("kubedns", unpack(t, "registry.k8s.io/dns/k8s-dns-kube-dns@1.26.7")+"/kube-dns", "--dns-bind-address=127.0.0.1",
		"--kubecfg-file="+s.write(t, "kubeconfig", s.api.As(t, "kube-dns")), "--healthz-port="+port(health),
		"--config-dir="+s.dir+"/config")
	start("dnsmasq", "/dnsmasq-nanny", "--listen-address=127.0.0.1", "--bind-interfaces", "--port="+port(s.address))
	start("sidecar", unpack(t, "registry.k8s.io/dns/k8s-dns-sidecar@1.26.7")+"/sidecar", "--prometheus-addr=127.0.0.1",
		"--prometheus-port="+port(sidecar), "--dnsmasq-port="+port(s.address))
	for _, url := range []string{"http://" + health + "/readiness", "http://" + sidecar + "/healthcheck/kubedns",
		"http://" + sidecar + "/healthcheck/dnsmasq", "http://" + sidecar + "/metrics"} {
		if !assert.Eventually(t, func() bool {
			response, err := http.Get(url)
			if err != nil {
				return false
			}
			_ = response.Body.Close()
			return response.StatusCode == http.StatusOK
		}, time.Minute, 50*time.Millisecond, url) {
			s.stop()
			t.Fatal(s.log())
		}
	}
}

// container returns a container of a Deployment.
func container(t *testing.T, d *appsv1.Deployment, name string) corev1.Container {
	t.Helper()
	for _, c := range d.Spec.Template.Spec.Containers {
		if c.Name == name {
			return c
		}
	}
	require.Fail(t, "no container "+name)
	return corev1.Container{}
}
