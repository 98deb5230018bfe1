package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// approver approves the requests in the API. Several may run in parallel, because an approval is idempotent: if two
// approve the same request, the API server refuses the second update.
type approver struct {
	client kubernetes.Interface
	plan   plan
	log    *log.Logger
	// requests and nodes are caches of the API's objects.
	requests, nodes cache.Store
	// logged contains the reason that was logged last for each request.
	logged map[types.UID]string
}

// certificatePending is a condition of a Node. It is true while a request for the Node's serving certificate is
// pending. Its message is the reason, which check-node prints.
const certificatePending corev1.NodeConditionType = "ServingCertificatePending"

const (
	// grace is the time before a pending request is reported. Most requests are approved within it, because this
	// program may see a request before it sees the new address of the Node.
	grace = 15 * time.Second
	// syncInterval is the time between two syncs if nothing changes.
	syncInterval = 15 * time.Second
	// minRetry and maxRetry limit the time between two attempts after an error.
	minRetry, maxRetry = time.Second, 30 * time.Second
)

// run approves requests until ctx ends. It calls ready after it has read all requests and Nodes.
func (a *approver) run(ctx context.Context, ready func() error) error {
	changed := make(chan struct{}, 1)
	change := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	watch := func(client rest.Interface, resource string, kind runtime.Object, trim cache.TransformFunc) (
		cache.Store, cache.Controller,
	) {
		return cache.NewInformerWithOptions(cache.InformerOptions{
			ListerWatcher: cache.NewListWatchFromClient(client, resource, metav1.NamespaceAll, fields.Everything()),
			ObjectType:    kind,
			Transform:     trim,
			Handler: cache.ResourceEventHandlerFuncs{
				AddFunc: func(any) { change() }, UpdateFunc: func(any, any) { change() }, DeleteFunc: func(any) { change() },
			},
		})
	}
	var requests, nodes cache.Controller
	a.requests, requests = watch(a.client.CertificatesV1().RESTClient(), "certificatesigningrequests",
		&signingRequest{}, trimRequest)
	a.nodes, nodes = watch(a.client.CoreV1().RESTClient(), "nodes", &corev1.Node{}, trimNode)
	go requests.RunWithContext(ctx)
	go nodes.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), requests.HasSynced, nodes.HasSynced) {
		return nil
	}
	if err := ready(); err != nil {
		return err
	}
	for retry := minRetry; ctx.Err() == nil; {
		wait, wake := syncInterval, changed
		if err := a.sync(ctx, time.Now()); err != nil {
			a.log.Printf("retry in %s: %v", retry, err)
			wait, wake, retry = retry, nil, min(2*retry, maxRetry)
		} else {
			retry = minRetry
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-time.After(wait):
		}
	}
	return nil
}

// trimRequest keeps what decide needs.
func trimRequest(object any) (any, error) {
	if csr, ok := object.(*signingRequest); ok {
		csr.ManagedFields = nil
		if len(csr.Status.Conditions) > 0 {
			csr.Spec.Request, csr.Status.Certificate = nil, nil
		}
	}
	return object, nil
}

// trimNode keeps what decide and report need, because a whole Node is about a hundred times larger.
func trimNode(object any) (any, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return object, nil
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion, CreationTimestamp: node.CreationTimestamp,
		},
		Status: corev1.NodeStatus{
			Addresses: node.Status.Addresses,
			Conditions: slices.DeleteFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
				return c.Type != corev1.NodeReady && c.Type != certificatePending
			}),
		},
	}, nil
}

// sync decides about all requests, and reports those for serving certificates that stay pending.
func (a *approver) sync(ctx context.Context, now time.Time) error {
	nodes := map[string]*corev1.Node{}
	for _, object := range a.nodes.List() {
		node := object.(*corev1.Node)
		nodes[node.Name] = node
	}
	var requests []*signingRequest
	for _, object := range a.requests.List() {
		requests = append(requests, object.(*signingRequest))
	}
	slices.SortFunc(requests, func(a, b *signingRequest) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})

	var errs []error
	logged, pending := map[types.UID]string{}, map[string]string{}
	for _, csr := range requests {
		d := a.plan.decide(csr, nodes, now)
		if d.verdict == approve {
			if err := a.approve(ctx, csr, d, now); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", csr.Name, err))
			}
		}
		if d.verdict == pend {
			if a.logged[csr.UID] != d.reason {
				a.log.Printf("%s: not approved, %s for %q: %s", csr.Name, csr.Spec.SignerName, csr.Spec.Username, d.reason)
			}
			logged[csr.UID] = d.reason
		}
		// Only the newest request of a node counts, because kubelet waits for that one.
		if node, ok := nodeName(csr.Spec.Username); ok && csr.Spec.SignerName == certificatesv1.KubeletServingSignerName {
			if d.verdict != pend {
				delete(pending, node)
			} else if now.Sub(csr.CreationTimestamp.Time) >= grace {
				pending[node] = fmt.Sprintf("%s: %s", csr.Name, d.reason)
			}
		}
	}
	a.logged = logged
	for name, node := range nodes {
		if err := a.report(ctx, node, pending[name], now); err != nil {
			errs = append(errs, fmt.Errorf("Node %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// approve approves csr, after it has deleted the Node that is in the way.
func (a *approver) approve(ctx context.Context, csr *signingRequest, d decision, now time.Time) error {
	if csr.Spec.SignerName == certificatesv1.KubeAPIServerClientKubeletSignerName {
		// The cache may be outdated, and a machine that came back must keep its Node.
		live := map[string]*corev1.Node{}
		node, err := a.client.CoreV1().Nodes().Get(ctx, d.node, metav1.GetOptions{})
		if err == nil {
			live[d.node] = node
		} else if !apierrors.IsNotFound(err) {
			return err
		}
		if d = a.plan.decide(csr, live, now); d.verdict != approve {
			return nil // the next sync has the reason
		}
		if d.old != nil {
			a.log.Printf("%s: delete Node %s of an earlier machine", csr.Name, d.node)
			err := a.client.CoreV1().Nodes().Delete(ctx, d.node, metav1.DeleteOptions{
				Preconditions: &metav1.Preconditions{UID: &d.old.UID, ResourceVersion: &d.old.ResourceVersion},
			})
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
	}
	csr = csr.DeepCopy()
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue,
		Reason: "NodeApprover", Message: "the request matches the node and the cluster's plan",
	})
	requests := a.client.CertificatesV1().CertificateSigningRequests()
	_, err := requests.UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{})
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return nil // another control plane was faster
	case err == nil:
		a.log.Printf("%s: approved, %s for node %s", csr.Name, csr.Spec.SignerName, d.node)
	}
	return err
}

// report updates the condition of node if necessary. message is the reason why a request is pending, or "".
func (a *approver) report(ctx context.Context, node *corev1.Node, message string, now time.Time) error {
	next := corev1.NodeCondition{
		Type: certificatePending, Status: corev1.ConditionFalse, Reason: "NoRequestPending", Message: "no request is pending",
		LastHeartbeatTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now),
	}
	if message != "" {
		next.Status, next.Reason, next.Message = corev1.ConditionTrue, "NotApproved", message
	}
	i := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == certificatePending
	})
	if i < 0 && message == "" {
		return nil
	}
	if i >= 0 && node.Status.Conditions[i].Status == next.Status {
		last := node.Status.Conditions[i]
		// Another message waits a minute. Otherwise control planes with different plans would overwrite each other's
		// messages all the time.
		if last.Message == next.Message || now.Sub(last.LastHeartbeatTime.Time) < time.Minute {
			return nil
		}
		next.LastTransitionTime = last.LastTransitionTime
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{next}}})
	if err != nil {
		return err
	}
	_, err = a.client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch,
		metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
