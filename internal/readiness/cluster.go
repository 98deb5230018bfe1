package readiness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Cluster describes the cluster to wait for.
type Cluster struct {
	Kubeconfig string
	// Nodes maps the names of the nodes to the IDs of their Nova instances.
	Nodes map[string]string
	// Timeout is the time limit, from the start of the wait.
	Timeout time.Duration
}

// Cluster waits until the API is ready and every node is Ready and has the expected instance ID. It passes
// each new reason to log. An error of log ends the wait, as in Machine. After the timeout, Cluster returns an
// error with the last reason.
func (c *Cloud) Cluster(ctx context.Context, cluster Cluster, log func(line string) error) error {
	api, err := newAPI(cluster.Kubeconfig)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cluster.Timeout)
	defer cancel()
	var last error
	for {
		err := api.ready(ctx, cluster.Nodes)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && (last == nil || err.Error() != last.Error()) {
			if err := log(err.Error()); err != nil {
				return fmt.Errorf("lost the connection to the Pulumi engine: %w", err)
			}
			last = err
		}
		select {
		case <-ctx.Done():
			if last == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return err
			}
			const more = "more: kubectl get nodes, with the output kubeconfig"
			return fmt.Errorf("after %s: %w\n  %s%s", cluster.Timeout, last, more, hint(last))
		case <-time.After(c.interval):
		}
	}
}

// unreachable is the error of an API that sends no response.
type unreachable struct{ error }

// hint returns the most common cause of an unreachable API, or "" for another error.
func hint(err error) string {
	var u unreachable
	if !errors.As(err, &u) {
		return ""
	}
	return "; check that api.allowedCIDRs, api.floatingIP and api.proxy let this host connect"
}

// api is a client of the Kubernetes API, with the address and credentials of a kubeconfig.
type api struct {
	client *http.Client
	url    string
}

func newAPI(kubeconfig string) (*api, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		return nil, err
	}
	config.Timeout = 10 * time.Second
	client, err := rest.HTTPClientFor(config)
	return &api{client, strings.TrimSuffix(config.Host, "/")}, err
}

// ready returns nil if the API and all nodes are ready. Otherwise the error lists the reasons. instances maps
// nodes' names to IDs of Nova instances.
func (a *api) ready(ctx context.Context, instances map[string]string) error {
	nodes, err := a.nodes(ctx)
	if err != nil {
		return err
	}
	byName := map[string]node{}
	for _, n := range nodes {
		byName[n.Metadata.Name] = n
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(instances)) {
		n, registered := byName[name]
		want := providerID(instances[name])
		switch reason := n.notReady(); {
		case !registered:
			missing = append(missing, name+" (not registered)")
		case n.Spec.ProviderID != want:
			missing = append(missing, fmt.Sprintf("%s (its provider ID must be %s, got %q)", name, want, n.Spec.ProviderID))
		case reason != "":
			missing = append(missing, fmt.Sprintf("%s (%s)", name, reason))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d nodes are not Ready: %s", len(missing), len(instances), strings.Join(missing, ", "))
	}
	return nil
}

// nodes returns all nodes if the API is ready.
func (a *api) nodes(ctx context.Context) ([]node, error) {
	if _, err := a.get(ctx, "/readyz"); err != nil {
		return nil, fmt.Errorf("the Kubernetes API is not ready: %w", err)
	}
	body, err := a.get(ctx, "/api/v1/nodes")
	if err != nil {
		return nil, fmt.Errorf("cannot list the nodes in the Kubernetes API: %w", err)
	}
	var list struct{ Items []node }
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("cannot parse the nodes in the Kubernetes API: %w", err)
	}
	return list.Items, nil
}

// providerID returns the ID that the cloud controller stores in the Node of an instance.
func providerID(instance string) string { return "openstack:///" + instance }

func (a *api) get(ctx context.Context, path string) ([]byte, error) {
	response, body, err := a.send(ctx, http.MethodGet, path, "")
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", path, response.Status, strings.Join(failingChecks(string(body)), "; "))
	}
	return body, nil
}

// send sends a request, and returns the response and its body. A body that is not empty is applied to the object.
func (a *api) send(ctx context.Context, method, path, apply string) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(apply))
	if err != nil {
		return nil, nil, err
	}
	if apply != "" {
		request.Header.Set("Content-Type", "application/apply-patch+yaml")
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, nil, unreachable{err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, unreachable{err}
	}
	return response, body, nil
}

// failingChecks returns the lines of a /readyz response that begin with [-], which are the failing checks. If
// there are none, it returns the first line.
func failingChecks(body string) []string {
	var failing []string
	lines := strings.Split(strings.TrimSpace(body), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "[-]") {
			failing = append(failing, line)
		}
	}
	if failing == nil {
		return lines[:1]
	}
	return failing
}

// node is the part of a Node object that this package reads.
type node struct {
	Metadata struct{ Name string }
	Spec     struct{ ProviderID string }
	Status   struct {
		Conditions []struct{ Type, Status, Reason, Message string }
	}
}

// notReady returns the reason why n is not Ready, or "" if it is.
func (n node) notReady() string {
	for _, c := range n.Status.Conditions {
		if c.Type != "Ready" {
			continue
		}
		if c.Status == "True" {
			return ""
		}
		return c.Reason + ": " + c.Message
	}
	return "it has no condition Ready"
}
