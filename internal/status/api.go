package status

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// api reads the Kubernetes API. If /version does not answer, it reads nothing else.
func (r *reader) api(ctx context.Context) {
	if r.Kubeconfig == "" {
		r.unread(API, "", errors.New("the stack has no output kubeconfig, because no `pulumi up` has ended yet"))
		return
	}
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(r.Kubeconfig))
	if err != nil {
		r.unread(API, "", fmt.Errorf("the kubeconfig of the stack is invalid: %w", err))
		return
	}
	config.UserAgent = "kubernetes-openstack-status"
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		r.unread(API, "", err)
		return
	}
	api := &client{transport, strings.TrimSuffix(config.Host, "/"), r.Timeout}
	var version struct{ GitVersion string }
	response, err := api.get(ctx, "/version", &version)
	if err != nil {
		r.unread(API, "", err)
		return
	}
	r.add(func(c *Cluster) {
		c.Version = strings.TrimPrefix(version.GitVersion, "v")
		if response.certificate != nil {
			c.Served = append(c.Served, newCertificate(APIName, response.certificate))
		}
	})
	for path, read := range map[string]func(context.Context, *client) error{
		"/readyz": r.checks, "nodes": r.nodes, "certificate requests": r.requests, "API servers": r.apiServers,
	} {
		r.all.Go(func() {
			if err := read(ctx, api); err != nil {
				r.unread(API, path, err)
			}
		})
	}
}

// client sends GET requests to the Kubernetes API.
type client struct {
	http    *http.Client
	url     string
	timeout time.Duration
}

// response is the metadata of a response.
type response struct {
	// certificate is that of the server.
	certificate *x509.Certificate
	// time is the clock of the server.
	time time.Time
	body []byte
}

// get reads a path, and decodes the response into a value, unless it is nil.
func (c *client) get(ctx context.Context, path string, into any) (r response, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return r, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return r, err
	}
	defer answer.Body.Close()
	if r.body, err = io.ReadAll(answer.Body); err != nil {
		return r, err
	}
	if answer.TLS != nil && len(answer.TLS.PeerCertificates) > 0 {
		r.certificate = answer.TLS.PeerCertificates[0]
	}
	if r.time, err = http.ParseTime(answer.Header.Get("Date")); err != nil {
		r.time = time.Now()
	}
	if answer.StatusCode != http.StatusOK {
		first, _, _ := strings.Cut(strings.TrimSpace(string(r.body)), "\n")
		return r, fmt.Errorf("%s: %s: %.200s", path, answer.Status, first)
	}
	if into == nil {
		return r, nil
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// checks reads the failing checks of the API server.
func (r *reader) checks(ctx context.Context, client *client) error {
	response, err := client.get(ctx, "/readyz?verbose", nil)
	failing := failingChecks(response.body)
	if err != nil && len(failing) == 0 {
		return err
	}
	r.add(func(c *Cluster) { c.FailingChecks = failing })
	return nil
}

// failingChecks returns the names of the checks that fail.
func failingChecks(body []byte) (names []string) {
	for line := range strings.Lines(string(body)) {
		if rest, failing := strings.CutPrefix(line, "[-]"); failing {
			name, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			names = append(names, name)
		}
	}
	return names
}

// nodes reads all nodes, and the metrics of their kubelets.
func (r *reader) nodes(ctx context.Context, client *client) error {
	var list corev1.NodeList
	if _, err := client.get(ctx, "/api/v1/nodes", &list); err != nil {
		return err
	}
	r.add(func(c *Cluster) { c.Nodes = []Node{} }) // the list can be empty
	slots := make(chan struct{}, parallel)
	var kubelets sync.WaitGroup
	for _, item := range list.Items {
		kubelets.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			n := newNode(item)
			if n.NotReady == "" {
				response, err := client.get(ctx, "/api/v1/nodes/"+n.Name+"/proxy/metrics", nil)
				if err != nil {
					r.unread(KubeletMetrics, n.Name, err)
				}
				n.ServingEnd = end(response, "kubelet_certificate_manager_server_ttl_seconds")
				n.ClientEnd = end(response, "kubelet_certificate_manager_client_ttl_seconds")
			}
			r.add(func(c *Cluster) { c.Nodes = append(c.Nodes, n) })
		})
	}
	kubelets.Wait()
	return nil
}

func newNode(item corev1.Node) Node {
	info := item.Status.NodeInfo
	n := Node{
		Name: item.Name, Instance: item.Spec.ProviderID[strings.LastIndex(item.Spec.ProviderID, "/")+1:],
		NotReady: "it has no condition Ready", Cordoned: item.Spec.Unschedulable,
		Kubelet: strings.TrimPrefix(info.KubeletVersion, "v"), Runtime: info.ContainerRuntimeVersion,
		OSImage: info.OSImage, Kernel: info.KernelVersion, Labels: item.Labels,
	}
	for _, taint := range item.Spec.Taints {
		n.Taints = append(n.Taints, taint.Key+"="+taint.Value+":"+string(taint.Effect))
	}
	for _, c := range item.Status.Conditions {
		switch {
		case c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue:
			n.NotReady = ""
		case c.Type == corev1.NodeReady:
			n.NotReady = c.Reason + ": " + c.Message
		case c.Status == corev1.ConditionTrue:
			n.Problems = append(n.Problems, string(c.Type)+": "+c.Message)
		}
	}
	return n
}

// end returns the end of a certificate from a metric with the seconds until then. Without the metric it returns zero.
func end(r response, metric string) time.Time {
	for lines := bufio.NewScanner(bytes.NewReader(r.body)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if seconds, err := strconv.ParseFloat(value, 64); name == metric && err == nil && seconds < 1e9 {
			return r.time.Add(time.Duration(seconds) * time.Second)
		}
	}
	return time.Time{}
}

// requests reads the pending certificate requests.
func (r *reader) requests(ctx context.Context, client *client) error {
	var list certificatesv1.CertificateSigningRequestList
	response, err := client.get(ctx, "/apis/certificates.k8s.io/v1/certificatesigningrequests", &list)
	if err != nil {
		return err
	}
	for _, item := range list.Items {
		if len(item.Status.Conditions) == 0 && len(item.Status.Certificate) == 0 {
			r.add(func(c *Cluster) {
				c.Requests = append(c.Requests, Request{item.Name, item.Spec.SignerName, item.Spec.Username,
					response.time.Sub(item.CreationTimestamp.Time)})
			})
		}
	}
	return nil
}

// apiServers reads the addresses of the API servers that serve. Each renews its own address.
func (r *reader) apiServers(ctx context.Context, client *client) error {
	var list discoveryv1.EndpointSliceList
	_, err := client.get(ctx, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"+
		"?labelSelector=kubernetes.io/service-name%3Dkubernetes", &list)
	if err != nil {
		return err
	}
	addresses := []string{} // the list can be empty
	for _, slice := range list.Items {
		for _, endpoint := range slice.Endpoints {
			addresses = append(addresses, endpoint.Addresses...)
		}
	}
	r.add(func(c *Cluster) { c.APIServers = addresses })
	return nil
}
