package tenancy

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// clusterRole returns the name of the ClusterRole for a, and of the RoleBindings to that role.
func (a Access) clusterRole() string { return "kubernetes-openstack:tenant-" + string(a) }

func clusterRoles() []*rbacv1.ClusterRole {
	var roles []*rbacv1.ClusterRole
	for _, a := range accessLevels {
		roles = append(roles, &rbacv1.ClusterRole{
			TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole"},
			ObjectMeta: metav1.ObjectMeta{Name: a.clusterRole()},
			Rules:      a.rules(),
		})
	}
	return roles
}

// roleBindings returns one RoleBinding for each access level that a member has.
func (t Tenant) roleBindings() []*rbacv1.RoleBinding {
	var bindings []*rbacv1.RoleBinding
	for _, a := range accessLevels {
		var subjects []rbacv1.Subject
		for _, m := range t.Members {
			if m.Access == a {
				subjects = append(subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: t.group(m)})
			}
		}
		if len(subjects) > 0 {
			bindings = append(bindings, &rbacv1.RoleBinding{
				TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"},
				ObjectMeta: t.metadata(a.clusterRole()),
				Subjects:   subjects,
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: a.clusterRole()},
			})
		}
	}
	return bindings
}
