package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
)

// fieldManager is the manager of the applied fields.
const fieldManager = "pulumi-kubernetes"

// requestTimeout is the timeout of each request.
const requestTimeout = 15 * time.Second

// cluster is a client of a Kubernetes API.
type cluster struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
	// unreachable returns an error if the API does not answer. It sends only one request and keeps the result.
	unreachable func() error
}

// newCluster returns a client. It does not connect to the API.
func newCluster(kubeconfig string) (*cluster, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.Timeout, config.QPS, config.Burst = requestTimeout, 50, 120
	config.WarningHandlerWithContext = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return &cluster{
		client: client,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kinds)),
		unreachable: sync.OnceValue(func() error {
			if _, err := kinds.ServerVersion(); err != nil {
				return fmt.Errorf("the cluster is unreachable: %w", err)
			}
			return nil
		}),
	}, nil
}

// resource returns the client for objects of o's kind in o's namespace.
func (c *cluster) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset() // the kind may have been defined after the last discovery
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return c.client.Resource(mapping.Resource), nil
	}
	namespace := o.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return c.client.Resource(mapping.Resource).Namespace(namespace), nil
}

// apply creates or updates o by server-side apply, or only validates it if dryRun is true. It returns the object from
// the server's answer. A field of another manager is a conflict, unless o has the annotation pulumi.com/patchForce.
func (c *cluster) apply(ctx context.Context, o *unstructured.Unstructured,
	dryRun bool) (*unstructured.Unstructured, error) {
	client, err := c.resource(o)
	if err != nil {
		return nil, err
	}
	options := metav1.ApplyOptions{FieldManager: fieldManager,
		Force: o.GetAnnotations()["pulumi.com/patchForce"] == "true"}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	transient := func(err error) bool {
		return ctx.Err() == nil && (utilnet.IsProbableEOF(err) || utilnet.IsTimeout(err))
	}
	var live *unstructured.Unstructured
	_ = retry.OnError(reconnectBackoff, transient, func() error { // it returns nil after a timeout
		live, err = client.Apply(ctx, o.GetName(), o, options)
		return err
	})
	return live, err
}

// reconnectBackoff repeats a request for 15 s after its connection broke, because the address of the API may be moving
// to another control plane, or after requestTimeout. Apply is idempotent, so it can be repeated.
var reconnectBackoff = wait.Backoff{Duration: time.Second, Factor: 2, Steps: 5}

// get returns the current object, or nil if it does not exist.
func (c *cluster) get(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	client, err := c.resource(o)
	if meta.IsNoMatchError(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	live, err := client.Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, err
}

// delete deletes o with its dependents, and waits until it does not exist.
func (c *cluster) delete(ctx context.Context, o *unstructured.Unstructured) error {
	live, err := c.get(ctx, o)
	if live == nil || err != nil {
		return err
	}
	client, err := c.resource(o)
	if err != nil {
		return err
	}
	policy, uid := metav1.DeletePropagationForeground, live.GetUID()
	err = client.Delete(ctx, o.GetName(), metav1.DeleteOptions{
		PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	for {
		if now, err := c.get(ctx, o); err == nil {
			if now == nil || now.GetUID() != uid {
				return nil
			}
			live = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not deleted yet: its finalizers are %v", id(o), live.GetFinalizers())
		case <-time.After(pollInterval):
		}
	}
}

// pollInterval is the time between two requests for an object.
const pollInterval = time.Second

// id returns the name, or namespace/name.
func id(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}

// object converts a property map to an object of Kubernetes. Whole numbers become integers.
func object(properties map[string]any) (*unstructured.Unstructured, error) {
	text, err := json.Marshal(properties)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{}
	return o, o.UnmarshalJSON(text)
}

// equal returns true if two states of an object differ only in their status and in metadata of the server.
func equal(a, b *unstructured.Unstructured) bool {
	declared := func(o *unstructured.Unstructured) map[string]any {
		o = o.DeepCopy()
		o.SetManagedFields(nil)
		o.SetResourceVersion("")
		delete(o.Object, "status")
		return o.Object
	}
	return equality.Semantic.DeepEqual(declared(a), declared(b))
}

// prune returns the fields of live that declared also has.
func prune(live, declared any) any {
	switch declared := declared.(type) {
	case map[string]any:
		if live, ok := live.(map[string]any); ok {
			kept := map[string]any{}
			for key := range declared {
				if value, ok := live[key]; ok {
					kept[key] = prune(value, declared[key])
				}
			}
			return kept
		}
	case []any:
		if live, ok := live.([]any); ok && len(live) == len(declared) {
			var kept []any
			for i := range declared {
				kept = append(kept, prune(live[i], declared[i]))
			}
			return kept
		}
	}
	return live
}
