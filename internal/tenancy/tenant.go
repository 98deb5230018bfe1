package tenancy

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Tenant is a project with its namespace.
type Tenant struct {
	Namespace, ProjectID string
	// Project and Domain are the names of the project and its domain. They are only for people.
	Project, Domain string
	// Closed is the reason why no user has access to the namespace. It is empty for an open namespace. The content of
	// a closed namespace stays and its pods keep running, like the instances of a disabled project. The quota of a
	// deleted project is 0, so the namespace gets no new content.
	Closed ClosedReason
	// Members are sorted by user and role.
	Members []Member
	Quota   Quota
}

// ClosedReason is the reason why a namespace is closed.
type ClosedReason string

// Reasons: Keystone has deleted the project, the project or its domain is disabled, or the configuration excludes the
// project.
const (
	Deleted  ClosedReason = "deleted"
	Disabled ClosedReason = "disabled"
	Excluded ClosedReason = "excluded"
)

// Member is a role of a Keystone user on the project, with the access that the role gives. A user with several roles
// is one member for each role, because a token may contain only some of the roles.
type Member struct {
	UserID, Role string
	Access       Access
}

// group returns the Kubernetes group of tokens with the member's role.
func (t Tenant) group(m Member) string { return Group(t.ProjectID, m.UserID, m.Role) }

// metadata returns the metadata of an object in the tenant's namespace.
func (t Tenant) metadata(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: t.Namespace, Labels: map[string]string{ProjectLabel: t.ProjectID}}
}
