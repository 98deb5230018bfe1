package main

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubernetes-openstack/internal/tenancy"
)

// namespaceOf is the namespace of a project, which is NAME@DOMAIN or an ID.
func namespaceOf(ctx context.Context, client *rest.Config, project string) (corev1.Namespace, error) {
	var none corev1.Namespace
	kube, err := kubernetes.NewForConfig(client)
	if err != nil {
		return none, err
	}
	all, err := kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: tenancy.ProjectLabel})
	if err != nil {
		return none, err
	}
	var found []corev1.Namespace
	var ids []string
	for _, n := range all.Items {
		// nobody gets in, and another project may have its name
		if _, closed := n.Annotations[tenancy.ClosedAnnotation]; closed {
			continue
		}
		id := n.Labels[tenancy.ProjectLabel]
		// put together, not taken apart: a name may have an @ in it
		if project == id || project == n.Annotations[tenancy.ProjectAnnotation]+"@"+n.Annotations[tenancy.DomainAnnotation] {
			found, ids = append(found, n), append(ids, id)
		}
	}
	switch len(found) {
	case 0:
		return none, fmt.Errorf("--project must be NAME@DOMAIN or the ID of a project that has an open namespace, not %q",
			project)
	case 1:
		return found[0], nil
	}
	return none, fmt.Errorf("--project must be one project's ID where several are %q: %s", project,
		strings.Join(ids, ", "))
}
