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

// ProjectLabel has the ID of a project as its value. The namespace with this label belongs to the project, whatever the
// names of both are. All planned objects in the namespace have the label, too.
const ProjectLabel = "kubernetes-openstack/project"

// Annotations of a project's namespace.
const (
	ProjectAnnotation = "kubernetes-openstack/project-name"
	DomainAnnotation  = "kubernetes-openstack/domain-name"
	ClosedAnnotation  = "kubernetes-openstack/closed"
)

// namespace is the tenant's, as it is to be.
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

// namespacesOf are the existing namespaces of projects, by the projects' IDs.
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
			e.Add(path, "%q is %s's too: a project has one namespace", project, first.Name)
		case n.Name == corev1.NamespaceDefault || isReserved(n.Name):
			e.Add(path, "cannot be set: no project may have a namespace of Kubernetes' own")
		default:
			out[project] = n
		}
	}
	return out, e
}

// isReserved tells whether Kubernetes keeps the name of a namespace for itself.
func isReserved(name string) bool { return strings.HasPrefix(name, "kube-") }

var (
	uuid         = regexp.MustCompile(`^[0-9a-f]{32}$`)
	notInDNSName = regexp.MustCompile(`[^a-z0-9]+`)
)

// newNamespace names the namespace of a project that has none: NAME-DOMAIN-ID, as much of both names as a DNS label can
// have, and as much of the ID as makes it none that is taken. That is eight digits, unless somebody is up to something.
// A name is chosen once. Empty where even the whole ID is taken.
func newNamespace(p Project, domain string, taken map[string]bool) string {
	id := p.ID
	if !uuid.MatchString(id) { // as no Keystone of today makes them
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
		most := min(len(readable), validation.DNS1123LabelMaxLength-1-digits)
		name := strings.TrimRight(readable[:most], "-") + "-" + id[:digits]
		if !taken[name] {
			return name
		}
	}
	return ""
}
