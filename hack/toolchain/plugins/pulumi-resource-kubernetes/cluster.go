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

// fieldManager owns the fields that are applied.
const fieldManager = "pulumi-kubernetes"

// requestTimeout bounds each request: whether a cluster answers is known after one.
const requestTimeout = 15 * time.Second

// cluster is the API of one.
type cluster struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
	// unreachable is why the API does not answer, or nil. It asks once.
	unreachable func() error
}

// newCluster connects to nothing yet.
func newCluster(kubeconfig string) (*cluster, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		return nil, fmt.Errorf("the provider's kubeconfig: %w", err)
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

// resource is where objects of o's kind and namespace are.
func (c *cluster) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset() // the kind may have come after those that are known were asked for
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

// apply creates or updates o by server-side apply, or only validates it if dryRun is true. It returns the object as the
// server answers it. A field that another manager owns is a conflict, unless o's annotation is pulumi.com/patchForce.
func (c *cluster) apply(ctx context.Context, o *unstructured.Unstructured,
	dryRun bool) (*unstructured.Unstructured, error) {
	at, err := c.resource(o)
	if err != nil {
		return nil, err
	}
	options := metav1.ApplyOptions{FieldManager: fieldManager,
		Force: o.GetAnnotations()["pulumi.com/patchForce"] == "true"}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	var live *unstructured.Unstructured
	err = retry.OnError(reconnect, utilnet.IsProbableEOF, func() (err error) {
		live, err = at.Apply(ctx, o.GetName(), o, options)
		return err
	})
	return live, err
}

// reconnect repeats a request whose connection broke, for 15 s: the address of the API may be moving to another control
// plane. The same apply twice has the result of one.
var reconnect = wait.Backoff{Duration: time.Second, Factor: 2, Steps: 5}

// get is the live o, or nil where there is none.
func (c *cluster) get(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	at, err := c.resource(o)
	if meta.IsNoMatchError(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	live, err := at.Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, err
}

// delete deletes o with what belongs to it, and waits until it is gone.
func (c *cluster) delete(ctx context.Context, o *unstructured.Unstructured) error {
	live, err := c.get(ctx, o)
	if live == nil || err != nil {
		return err
	}
	at, err := c.resource(o)
	if err != nil {
		return err
	}
	policy, uid := metav1.DeletePropagationForeground, live.GetUID()
	err = at.Delete(ctx, o.GetName(), metav1.DeleteOptions{
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
			return fmt.Errorf("%s is still there: its finalizers are %v", id(o), live.GetFinalizers())
		case <-time.After(pollInterval):
		}
	}
}

// pollInterval is the time between two looks at an object.
const pollInterval = time.Second

// id is name or namespace/name.
func id(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}

// object is a property map as Kubernetes has it: whole numbers are integers.
func object(properties map[string]any) (*unstructured.Unstructured, error) {
	text, err := json.Marshal(properties)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{}
	return o, o.UnmarshalJSON(text)
}

// same tells whether two states of an object differ in nothing that its owner may want.
func same(a, b *unstructured.Unstructured) bool {
	wanted := func(o *unstructured.Unstructured) map[string]any {
		o = o.DeepCopy()
		o.SetManagedFields(nil)
		o.SetResourceVersion("")
		delete(o.Object, "status")
		return o.Object
	}
	return equality.Semantic.DeepEqual(wanted(a), wanted(b))
}

// prune is what live has of the fields that wanted has.
func prune(live, wanted any) any {
	switch wanted := wanted.(type) {
	case map[string]any:
		if has, ok := live.(map[string]any); ok {
			kept := map[string]any{}
			for key := range wanted {
				if value, ok := has[key]; ok {
					kept[key] = prune(value, wanted[key])
				}
			}
			return kept
		}
	case []any:
		if has, ok := live.([]any); ok && len(has) == len(wanted) {
			var kept []any
			for i := range wanted {
				kept = append(kept, prune(has[i], wanted[i]))
			}
			return kept
		}
	}
	return live
}
