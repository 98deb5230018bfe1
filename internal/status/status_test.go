package status

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kubernetes-openstack/internal/readiness"
)

// api is a fake API of Kubernetes: the responses by path. A path that it lacks gives 403.
type api struct {
	mu        sync.Mutex
	responses map[string]string
	requests  []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, r.Method)
	response, known := a.responses[r.URL.Path]
	w.Header().Set("Date", "Sun, 31 Jan 2027 00:00:00 GMT")
	switch {
	case !known:
		http.Error(w, "forbidden", http.StatusForbidden)
	case strings.Contains(response, "[-]"):
		http.Error(w, response, http.StatusInternalServerError)
	default:
		fmt.Fprint(w, response)
	}
}

const nodeList = `{"items": [{
  "metadata": {"name": "a", "labels": {"pool": "x"}},
  "spec": {"providerID": "openstack:///uuid", "unschedulable": true,
    "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
  "status": {
    "conditions": [{"type": "DiskPressure", "status": "True", "message": "full"}, {"type": "Ready", "status": "True"}],
    "nodeInfo": {"kubeletVersion": "v1.36.3", "containerRuntimeVersion": "containerd://2.3.4", "osImage": "CentOS",
      "kernelVersion": "5.14"}}
}, {
  "metadata": {"name": "b"},
  "status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "gone"}]}
}, {
  "metadata": {"name": "c"},
  "status": {"conditions": [{"type": "Ready", "status": "True"}]}
}]}`

func newAPI() *api {
	return &api{responses: map[string]string{
		"/version":      `{"gitVersion": "v1.36.3"}`,
		"/readyz":       "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n",
		"/api/v1/nodes": nodeList,
		"/api/v1/nodes/a/proxy/metrics": "# HELP kubelet_certificate_manager_server_ttl_seconds The TTL\n" +
			"kubelet_certificate_manager_client_ttl_seconds 86400\nkubelet_certificate_manager_server_ttl_seconds +Inf\n",
		"/apis/certificates.k8s.io/v1/certificatesigningrequests": `{"items": [
			{"metadata": {"name": "pending", "creationTimestamp": "2027-01-30T23:59:00Z"},
			 "spec": {"signerName": "s", "username": "u"}},
			{"metadata": {"name": "denied"}, "status": {"conditions": [{"type": "Denied"}]}},
			{"metadata": {"name": "signed"}, "status": {"certificate": "eA=="}}]}`,
		"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": `{"items": [
			{"endpoints": [{"addresses": ["10.0.0.33"]}, {"addresses": ["10.0.0.32"]}]}]}`,
	}}
}

// serve returns a kubeconfig for an API, and the API's certificate.
func serve(t *testing.T, a *api) (kubeconfig, certificate string) {
	t.Helper()
	server := httptest.NewTLSServer(a)
	t.Cleanup(server.Close)
	certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return kubeconfigOf(t, server.URL, certificate), certificate
}

func kubeconfigOf(t *testing.T, url, certificate string) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["x"] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: []byte(certificate)}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "x"}
	config.CurrentContext = "x"
	text, err := clientcmd.Write(*config)
	require.NoError(t, err)
	return string(text)
}

// TestRead reads everything, and checks that it sends only GET requests.
func TestRead(t *testing.T) {
	a := newAPI()
	kubeconfig, certificate := serve(t, a)
	got := Read(t.Context(), Source{
		Kubeconfig: kubeconfig, Timeout: time.Minute,
		Machines: []Machine{{Name: "a", Instance: "1"}, {Name: "b", Instance: "2"}},
		Console: func(_ context.Context, instance string) (string, error) {
			if instance == "2" {
				return "", errors.New("no console")
			}
			return "bootstrap: boot x\nbootstrap: etcd: started\nbootstrap: etcd: waiting: no quorum\n", nil
		},
	})
	assert.Equal(t, "1.36.3", got.Version)
	assert.Equal(t, []string{"etcd"}, got.FailingChecks)
	assert.ElementsMatch(t, []string{"10.0.0.33", "10.0.0.32"}, got.APIServers)
	require.Len(t, got.Served, 1)
	assert.Equal(t, []string{APIName, certificate}, []string{got.Served[0].Name, got.Served[0].PEM})
	assert.Equal(t, []Request{{"pending", "s", "u", time.Minute}}, got.Requests)
	assert.Equal(t, []Node{
		{Name: "a", Instance: "uuid", Problems: []string{"DiskPressure: full"}, Cordoned: true, Kubelet: "1.36.3",
			Runtime: "containerd://2.3.4", OSImage: "CentOS", Kernel: "5.14", Labels: map[string]string{"pool": "x"},
			Taints: []string{"k=v:NoSchedule"}, ClientEnd: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)},
		{Name: "b", NotReady: "NodeStatusUnknown: gone"},
		{Name: "c"},
	}, got.Nodes)
	assert.Equal(t, map[string]readiness.Summary{"a": {Reported: true, Unfinished: []string{"etcd: waiting: no quorum"},
		Notices: map[string]string{}}}, got.Consoles)
	assert.Equal(t, []Unread{
		{Console, "b", "no console"},
		{KubeletMetrics, "c", "/api/v1/nodes/c/proxy/metrics: 403 Forbidden: forbidden"},
	}, got.Unread)
	slices.Sort(a.requests)
	assert.Equal(t, []string{http.MethodGet}, slices.Compact(a.requests))
}

// TestEmptyLists checks that empty lists of the API differ from lists that could not be read.
func TestEmptyLists(t *testing.T) {
	const nodes, servers = "/api/v1/nodes", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
	a := newAPI()
	a.responses[nodes], a.responses[servers] = `{"items": []}`, `{"items": []}`
	kubeconfig, _ := serve(t, a)
	got := Read(t.Context(), Source{Kubeconfig: kubeconfig, Timeout: time.Minute})
	assert.Equal(t, []Node{}, got.Nodes)
	assert.Equal(t, []string{}, got.APIServers)

	delete(a.responses, nodes)
	delete(a.responses, servers)
	got = Read(t.Context(), Source{Kubeconfig: kubeconfig, Timeout: time.Minute})
	assert.Nil(t, got.Nodes)
	assert.Nil(t, got.APIServers)
}

// TestUnread checks that each read that fails gives one reason, and hides no other one.
func TestUnread(t *testing.T) {
	names := map[string]string{"/readyz": "/readyz", "/api/v1/nodes": "nodes",
		"/apis/certificates.k8s.io/v1/certificatesigningrequests":     "certificate requests",
		"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": "API servers", "/version": ""}
	for path, name := range names {
		a := newAPI()
		a.responses["/api/v1/nodes/c/proxy/metrics"] = ""
		maps.DeleteFunc(a.responses, func(p, _ string) bool { return p == path })
		kubeconfig, _ := serve(t, a)
		got := Read(t.Context(), Source{Kubeconfig: kubeconfig, Timeout: time.Minute})
		require.Len(t, got.Unread, 1, path)
		assert.Equal(t, API, got.Unread[0].What)
		assert.Equal(t, name, got.Unread[0].Name)
		assert.Contains(t, got.Unread[0].Reason, path)
		assert.Contains(t, got.Unread[0].Reason, ": 403 Forbidden: forbidden")
	}
	for kubeconfig, want := range map[string]string{"": "the stack has no output kubeconfig",
		"x": "the kubeconfig of the stack is invalid"} {
		got := Read(t.Context(), Source{Kubeconfig: kubeconfig, Timeout: time.Minute})
		require.Len(t, got.Unread, 1)
		assert.Contains(t, got.Unread[0].Reason, want)
	}
}

// TestSilentAPI checks that an API that accepts connections but does not answer is a reason after the timeout.
func TestSilentAPI(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	got := Read(t.Context(), Source{Kubeconfig: kubeconfigOf(t, server.URL, ""), Timeout: 50 * time.Millisecond})
	require.Len(t, got.Unread, 1)
	assert.Contains(t, got.Unread[0].Reason, "context deadline exceeded")
}

// TestEtcdServer reads the certificate of a server that requires one of its clients.
func TestEtcdServer(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	r := &reader{Source: Source{Timeout: time.Minute}}
	r.etcdServer(t.Context(), "etcd-0", server.Listener.Addr().String(), server.Certificate())
	require.Len(t, r.status.Served, 1)
	assert.Equal(t, "etcd-0", r.status.Served[0].Name)
	assert.Equal(t, server.Certificate().NotAfter, r.status.Served[0].End)

	r.etcdServer(t.Context(), "etcd-1", "127.0.0.1:1", server.Certificate())
	require.Len(t, r.status.Unread, 1)
	assert.Equal(t, Unread{EtcdServer, "etcd-1", "dial tcp 127.0.0.1:1: connect: connection refused"}, r.status.Unread[0])

	r.etcdServer(t.Context(), "etcd-2", server.Listener.Addr().String(), &x509.Certificate{})
	require.Len(t, r.status.Unread, 2)
	assert.Contains(t, r.status.Unread[1].Reason, "another server responds, O=Acme Co: ")
}

// TestParseStack checks what is read of a state: secrets in plain text, and no resource that is to be deleted.
func TestParseStack(t *testing.T) {
	s, err := ParseStack("prod", []byte(`{"deployment": {"manifest": {"time": "2027-01-31T00:00:00Z"}, "resources": [
		{"urn": "urn:pulumi:prod::p::pulumi:pulumi:Stack::p-prod", "type": "pulumi:pulumi:Stack", "outputs": {
			"kubeconfig": {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": "\"text\""},
			"machines": {"prod-etcd-0": {"address": "10.0.0.16"}}}},
		{"urn": "urn:pulumi:prod::p::x$openstack:compute/instance:Instance::prod-etcd-0", "id": "new",
			"type": "openstack:compute/instance:Instance", "inputs": {"metadata": {"role": "etcd"}, "name": "prod-etcd-0"}},
		{"urn": "urn:pulumi:prod::p::x$openstack:compute/instance:Instance::prod-etcd-0", "id": "old", "delete": true,
			"type": "openstack:compute/instance:Instance"},
		{"urn": "urn:pulumi:prod::p::pulumi:providers:teardown::prod", "type": "pulumi:providers:teardown",
			"inputs": {"project": "p1"}},
		{"urn": "urn:pulumi:prod::p::teardown:index:Leftovers::prod", "type": "teardown:index:Leftovers",
			"inputs": {"cluster": "prod"}}]}}`))
	require.NoError(t, err)
	assert.Equal(t, "text", s.Kubeconfig())
	assert.Equal(t, "p1", s.Project())
	assert.Equal(t, "prod", s.Cluster())
	assert.Equal(t, []Machine{{"prod-etcd-0", "etcd", "10.0.0.16", "new"}}, s.Machines())
	assert.Equal(t, 2027, s.Updated.Year())

	encrypted, err := ParseStack("prod", []byte(`{"deployment": {"resources": [{"type": "pulumi:pulumi:Stack", "outputs": {
		"kubeconfig": {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "x"}}}]}}`))
	require.NoError(t, err)
	assert.Empty(t, encrypted.Kubeconfig())
	_, err = ParseStack("prod", []byte("x"))
	assert.ErrorContains(t, err, "must be the output of `pulumi stack export --show-secrets`")
}
