package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	certificates "k8s.io/client-go/kubernetes/typed/certificates/v1"
	core "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
)

// api is a fake of the parts of the API that an approver changes. catchUp updates the approver's caches from it.
type api struct {
	kubernetes.Interface
	certificates.CertificatesV1Interface
	certificates.CertificateSigningRequestInterface
	requests map[string]*signingRequest
	nodes    map[string]*corev1.Node
	// changes are the changes since the last catchUp.
	changes []string
}

func (a *api) CertificatesV1() certificates.CertificatesV1Interface { return a }

func (a *api) CertificateSigningRequests() certificates.CertificateSigningRequestInterface { return a }

func (a *api) UpdateApproval(_ context.Context, name string, csr *signingRequest, _ metav1.UpdateOptions) (
	*signingRequest, error,
) {
	a.changes = append(a.changes, fmt.Sprintf("%s: %s", name, csr.Status.Conditions[0].Type))
	a.requests[name] = csr
	return csr, nil
}

func (a *api) CoreV1() core.CoreV1Interface { return coreAPI{api: a} }

type coreAPI struct {
	core.CoreV1Interface
	*api
}

func (a coreAPI) Nodes() core.NodeInterface { return nodeAPI{api: a.api} }

type nodeAPI struct {
	core.NodeInterface
	*api
}

func (a nodeAPI) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Node, error) {
	if node, ok := a.nodes[name]; ok {
		return node, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("nodes"), name)
}

func (a nodeAPI) Delete(_ context.Context, name string, options metav1.DeleteOptions) error {
	only := options.Preconditions
	a.changes = append(a.changes, fmt.Sprintf("%s: delete %s %s", name, *only.UID, *only.ResourceVersion))
	delete(a.nodes, name)
	return nil
}

func (a nodeAPI) Patch(_ context.Context, name string, _ types.PatchType, data []byte, _ metav1.PatchOptions,
	_ ...string) (*corev1.Node, error) {
	var patch struct{ Status corev1.NodeStatus }
	if err := json.Unmarshal(data, &patch); err != nil {
		return nil, err
	}
	condition := patch.Status.Conditions[0]
	a.changes = append(a.changes, fmt.Sprintf("%s: %s %s", name, condition.Status, condition.Message))
	a.nodes[name].Status.Conditions = []corev1.NodeCondition{condition}
	return a.nodes[name], nil
}

// cluster is an approver with its fake API.
type cluster struct {
	*approver
	*api
	log bytes.Buffer
}

func newCluster(objects ...any) *cluster {
	c := &cluster{api: &api{requests: map[string]*signingRequest{}, nodes: map[string]*corev1.Node{}}}
	for _, object := range objects {
		switch object := object.(type) {
		case *corev1.Node:
			c.api.nodes[object.Name] = object
		case *signingRequest:
			c.api.requests[object.Name] = object
		}
	}
	c.approver = &approver{
		client: c.api, plan: testPlan, log: log.New(&c.log, "", 0),
		requests: cache.NewStore(cache.MetaNamespaceKeyFunc), nodes: cache.NewStore(cache.MetaNamespaceKeyFunc),
	}
	return c
}

// catchUp updates the caches to the state of the API.
func (c *cluster) catchUp(t *testing.T) {
	c.changes = nil
	for _, csr := range c.api.requests {
		trimmed, err := trimRequest(csr.DeepCopy())
		require.NoError(t, err)
		require.NoError(t, c.approver.requests.Update(trimmed))
	}
	for _, node := range c.api.nodes {
		trimmed, err := trimNode(node.DeepCopy())
		require.NoError(t, err)
		require.NoError(t, c.approver.nodes.Update(trimmed))
	}
}

// named returns a request with another name and a later creation time.
func named(t *testing.T, name string, later time.Duration, a attempt) *signingRequest {
	csr := a.request(t)
	csr.Name, csr.UID, csr.CreationTimestamp = name, types.UID(name), metav1.NewTime(created.Add(later))
	return csr
}

func TestSyncApproves(t *testing.T) {
	old := testNode("dev-worker-4", "10.0.0.68")
	old.UID, old.ResourceVersion = "uid", "42"
	c := newCluster(testNode("dev-worker-0", "10.0.0.64", "203.0.113.7"), old,
		named(t, "join", 0, join("dev-worker-9")), named(t, "again", 1, join("dev-worker-4")),
		named(t, "serve", 2, serve("dev-worker-0", "10.0.0.64 203.0.113.7")),
		named(t, "hostile", 3, serve("dev-worker-0", "10.0.0.5")))
	c.catchUp(t)
	require.NoError(t, c.sync(t.Context(), created))
	assert.Equal(t, []string{
		"join: Approved", "dev-worker-4: delete uid 42", "again: Approved", "serve: Approved",
	}, c.changes)
	const refused = `hostile: not approved, kubernetes.io/kubelet-serving for "system:node:dev-worker-0": ` +
		"10.0.0.5 is not an address of Node dev-worker-0\n"
	assert.Equal(t, "join: approved, kubernetes.io/kube-apiserver-client-kubelet for node dev-worker-9\n"+
		"again: delete Node dev-worker-4 of an earlier machine\n"+
		"again: approved, kubernetes.io/kube-apiserver-client-kubelet for node dev-worker-4\n"+
		"serve: approved, kubernetes.io/kubelet-serving for node dev-worker-0\n"+refused, c.log.String())

	c.catchUp(t)
	require.NoError(t, c.sync(t.Context(), created))
	assert.Empty(t, c.changes, "all requests but one are approved")
	assert.Equal(t, 1, strings.Count(c.log.String(), refused), "logged once")
}

// TestSyncDeletesNoReadyNode checks that a Node that became Ready after the last update of the cache is not deleted.
func TestSyncDeletesNoReadyNode(t *testing.T) {
	c := newCluster(testNode("dev-worker-4", "10.0.0.68"), named(t, "again", 0, join("dev-worker-4")))
	c.catchUp(t)
	ready(c.api.nodes["dev-worker-4"])
	require.NoError(t, c.sync(t.Context(), created))
	assert.Empty(t, c.changes)
	assert.Empty(t, c.log.String())
	c.catchUp(t)
	require.NoError(t, c.sync(t.Context(), created))
	assert.Contains(t, c.log.String(), "Node dev-worker-4 is Ready")
}

// TestSyncReportsPendingServingCertificates checks that the condition of a Node has the reason why its newest request
// is pending, and that it changes only when necessary.
func TestSyncReportsPendingServingCertificates(t *testing.T) {
	c := newCluster(testNode("dev-worker-0", "10.0.0.64"),
		named(t, "first", 0, serve("dev-worker-0", "10.0.0.64 203.0.113.7")),
		named(t, "join", 0, join("dev-worker-0", func(a *attempt) { a.groups = nil })))
	step := func(after time.Duration, want ...string) {
		t.Helper()
		c.catchUp(t)
		require.NoError(t, c.sync(t.Context(), created.Add(after)))
		assert.Equal(t, want, c.changes)
	}
	step(0)
	step(14 * time.Second)
	step(15*time.Second, "dev-worker-0: True first: 203.0.113.7 is not an address of Node dev-worker-0")
	step(16 * time.Second)

	// kubelet sends another request
	c.api.requests["second"] = named(t, "second", 20*time.Second, serve("dev-worker-0", "10.0.0.5"))
	step(20 * time.Second)
	step(40 * time.Second) // the last message is less than a minute old
	step(76*time.Second, "dev-worker-0: True second: 10.0.0.5 is not an address of Node dev-worker-0")

	c.api.requests["third"] = named(t, "third", 80*time.Second, own())
	step(80*time.Second, "third: Approved", "dev-worker-0: False no request is pending")
	step(81 * time.Second)
}

func TestFlags(t *testing.T) {
	all := []string{"--control-plane-prefix=dev-control-plane-", "--kubeconfig=file", "--machine-cidr=10.0.0.0/24"}
	kubeconfig, got, err := parseFlags(append(all,
		"--cluster-cidrs=10.244.0.0/16,10.96.0.0/16,198.51.100.0/24",
		"--reserved=router=10.0.0.1,api=10.0.0.5,dev-etcd-0=10.0.0.10,"+
			"dev-control-plane-0=10.0.0.20,dev-control-plane-1=10.0.0.21"))
	require.NoError(t, err)
	assert.Equal(t, "file", kubeconfig)
	assert.Equal(t, testPlan, got)
	_, got, err = parseFlags(all)
	require.NoError(t, err)
	assert.Equal(t, plan{
		controlPlanePrefix: "dev-control-plane-", machines: testPlan.machines, reserved: map[netip.Addr]string{},
	}, got)

	for _, row := range []struct{ flag, want string }{
		{"--kubeconfig=", "--control-plane-prefix and --kubeconfig are required"},
		{"--control-plane-prefix=", "--control-plane-prefix and --kubeconfig are required"},
		{"--machine-cidr=", "--machine-cidr: "},
		{"--cluster-cidrs=10.0.0.0", "--cluster-cidrs: "},
		{"--reserved=10.0.0.1", `--reserved: "10.0.0.1" must be OWNER=ADDRESS`},
		{"--reserved=api=", `--reserved: "api=" must be OWNER=ADDRESS`},
		{"more", `unexpected argument "more"`},
	} {
		_, _, err := parseFlags(append(all, row.flag))
		assert.ErrorContains(t, err, row.want)
	}
}
