package tenancy

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Tenant is a project with its namespace.
type Tenant struct {
	Namespace, ProjectID string
	// Project and Domain are their names, for people.
	Project, Domain string
	// Closed says why nobody has access to the namespace any more; empty where the project is as it should be. What is in
	// the namespace stays and runs on, as a disabled project's instances do; a deleted one's quota lets nothing come.
	Closed Closed
	// Members in the order of their users and roles.
	Members []Member
	Quota   Quota
}

// Closed is a reason.
type Closed string

// Reasons why a namespace is closed: Keystone does not have the project, the project or its domain is disabled, or the
// configuration excludes it.
const (
	Deleted  Closed = "deleted"
	Disabled Closed = "disabled"
	Excluded Closed = "excluded"
)

// Member is a role that a user of Keystone has on the project, and what it lets do in the namespace. Who has several
// roles is a member by each: a token may have any of them.
type Member struct {
	UserID, Role string
	Access       Access
}

// group has the access: that of the tokens with the member's role.
func (t Tenant) group(m Member) string { return Group(t.ProjectID, m.UserID, m.Role) }

// metadata of something in the tenant's namespace.
func (t Tenant) metadata(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: t.Namespace, Labels: map[string]string{ProjectLabel: t.ProjectID}}
}
