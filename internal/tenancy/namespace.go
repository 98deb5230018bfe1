package tenancy

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"kubernetes-openstack/internal/field"
)

// ProjectLabel is the label with the ID of a project. The namespace with this label belongs to the project,
// regardless of their names. All planned objects in the namespace also have the label.
const ProjectLabel = "kubernetes-openstack/project"

// Annotations of a project's namespace.
const (
	ProjectAnnotation = "kubernetes-openstack/project-name"
	DomainAnnotation  = "kubernetes-openstack/domain-name"
	ClosedAnnotation  = "kubernetes-openstack/closed"
)

// namespace returns the tenant's namespace.
func (t Tenant) namespace() *corev1.Namespace {
	annotations := map[string]string{ProjectAnnotation: t.Project, DomainAnnotation: t.Domain}
	if t.Closed != "" {
		annotations[ClosedAnnotation] = string(t.Closed)
	}
	return &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{
			Name: t.Namespace, Labels: map[string]string{ProjectLabel: t.ProjectID}, Annotations: annotations,
		},
	}
}

// namespacesOf returns the existing namespaces of projects, by the projects' IDs.
func namespacesOf(existing []corev1.Namespace) (map[string]corev1.Namespace, field.Errors) {
	var e field.Errors
	out := map[string]corev1.Namespace{}
	existing = slices.SortedFunc(slices.Values(existing),
		func(a, b corev1.Namespace) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range existing {
		project, labelled := n.Labels[ProjectLabel]
		if !labelled {
			continue
		}
		path := fmt.Sprintf("namespaces[%s].labels[%s]", n.Name, ProjectLabel)
		first, taken := out[project]
		switch {
		case project == "":
			e.Add(path, "must be the ID of a project")
		case taken:
			e.Add(path, "%q is also the project of namespace %s: label only one", project, first.Name)
		case n.Name == corev1.NamespaceDefault || isReserved(n.Name):
			e.Add(path, "must not be set: this namespace belongs to Kubernetes")
		default:
			out[project] = n
		}
	}
	return out, e
}

// isReserved reports whether Kubernetes reserves the name of a namespace.
func isReserved(name string) bool { return strings.HasPrefix(name, "kube-") }

var (
	uuid         = regexp.MustCompile(`^[0-9a-f]{32}$`)
	notInDNSName = regexp.MustCompile(`[^a-z0-9]+`)
)

// newNamespaceName returns a name for the new namespace of a project: NAME-DOMAIN-ID. It shortens name and domain so
// that the result is a valid DNS label. It uses 8 digits of the ID, or more if the name is taken. The namespace keeps
// this name when the project is renamed. newNamespaceName returns "" if the name with the whole ID is taken.
func newNamespaceName(p Project, domain string, taken map[string]bool) string {
	id := p.ID
	if !uuid.MatchString(id) { // current versions of Keystone create only UUIDs
		id = fmt.Sprintf("%x", sha256.Sum256([]byte(id)))[:32]
	}
	readable := notInDNSName.ReplaceAllString(strings.ToLower(p.Name+"-"+domain), "-")
	readable = strings.Trim(readable, "-")
	if readable == "" {
		readable = "project"
	}
	if isReserved(readable + "-") {
		readable = "project-" + readable
	}
	for digits := 8; digits <= len(id); digits += 8 {
		length := min(len(readable), validation.DNS1123LabelMaxLength-1-digits)
		name := strings.TrimRight(readable[:length], "-") + "-" + id[:digits]
		if !taken[name] {
			return name
		}
	}
	return ""
}
