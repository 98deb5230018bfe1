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

// namespaceOf returns the namespace of a project. project is NAME@DOMAIN or an ID. It returns an error if no
// project or more than one matches.
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
		// nobody has access, and another project may have the same name
		if _, closed := n.Annotations[tenancy.ClosedAnnotation]; closed {
			continue
		}
		id := n.Labels[tenancy.ProjectLabel]
		// the code joins name and domain instead of splitting project, because a name may contain an @
		if project == id || project == n.Annotations[tenancy.ProjectAnnotation]+"@"+n.Annotations[tenancy.DomainAnnotation] {
			found, ids = append(found, n), append(ids, id)
		}
	}
	switch len(found) {
	case 0:
		return none, fmt.Errorf("--project must be NAME@DOMAIN or the ID of a project that has an open namespace, got %q",
			project)
	case 1:
		return found[0], nil
	}
	return none, fmt.Errorf("--project must be the ID of a project, because %q is the name of several: %s", project,
		strings.Join(ids, ", "))
}
