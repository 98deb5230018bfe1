package tenancy

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Access is a level of access to a namespace. The names are those of Kubernetes' ClusterRoles for users.
type Access string

const (
	// View can read everything except Secrets, because reading a Secret can give more access.
	View Access = "view"
	// Edit can run workloads, and write everything that workloads need.
	Edit Access = "edit"
	// Admin can also query the access of other users. It cannot grant access, because only Keystone grants access.
	Admin Access = "admin"
)

// accessLevels are sorted: each level includes the levels before it.
var accessLevels = []Access{View, Edit, Admin}

// includes reports whether a includes the required level. If required is empty, no level is sufficient.
func (a Access) includes(required Access) bool {
	return required != "" && slices.Index(accessLevels, a) >= slices.Index(accessLevels, required)
}

// resource is a namespaced resource of the Kubernetes API, with the levels that are required to read and to write it.
type resource struct {
	group, name string
	read, write Access
	// readSub are the subresources that users can read with the resource. writeSub are the subresources that users
	// can write with it. ABAC does not distinguish subresources from their resource.
	readSub, writeSub []string
}

var (
	status         = []string{"status"}
	scale          = []string{"scale"}
	statusAndScale = []string{"status", "scale"}
)

// resources are all resources that tenants can access. They are those of the roles view, edit and admin of Kubernetes
// 1.36, metrics of pods, and volume snapshots. testdata/beside-kubernetes-roles.txt lists each difference.
//
// Roles and RoleBindings are not in the list. A user who writes them could get every permission, because only RBAC
// checks that the user already has the permissions of the role. Nobody can write quotas and limits. Nobody can write
// Endpoints, because they can direct a Service to any address.
var resources = []resource{
	{group: "", name: "configmaps", read: View, write: Edit},
	{group: "", name: "endpoints", read: View},
	{group: "", name: "events", read: View, write: Edit},
	{group: "", name: "limitranges", read: View},
	// only the tenant's own namespace: it is the namespace of the request
	{group: "", name: "namespaces", read: View, readSub: status},
	{group: "", name: "persistentvolumeclaims", read: View, write: Edit, readSub: status},
	{group: "", name: "pods", read: View, write: Edit, readSub: []string{"log", "status"},
		writeSub: []string{"attach", "eviction", "exec", "portforward", "proxy"}},
	{group: "", name: "replicationcontrollers", read: View, write: Edit, readSub: statusAndScale, writeSub: scale},
	{group: "", name: "resourcequotas", read: View, readSub: status},
	{group: "", name: "secrets", read: Edit, write: Edit},
	{group: "", name: "serviceaccounts", read: View, write: Edit, writeSub: []string{"token"}},
	{group: "", name: "services", read: View, write: Edit, readSub: status, writeSub: []string{"proxy"}},
	{group: "apps", name: "controllerrevisions", read: View},
	{group: "apps", name: "daemonsets", read: View, write: Edit, readSub: status},
	{group: "apps", name: "deployments", read: View, write: Edit, readSub: statusAndScale, writeSub: scale},
	{group: "apps", name: "replicasets", read: View, write: Edit, readSub: statusAndScale, writeSub: scale},
	{group: "apps", name: "statefulsets", read: View, write: Edit, readSub: statusAndScale, writeSub: scale},
	{group: "authorization.k8s.io", name: "localsubjectaccessreviews", read: Admin, write: Admin},
	{group: "autoscaling", name: "horizontalpodautoscalers", read: View, write: Edit, readSub: status},
	{group: "batch", name: "cronjobs", read: View, write: Edit, readSub: status},
	{group: "batch", name: "jobs", read: View, write: Edit, readSub: status},
	{group: "coordination.k8s.io", name: "leases", read: Edit, write: Edit},
	{group: "discovery.k8s.io", name: "endpointslices", read: View},
	{group: "events.k8s.io", name: "events", read: View, write: Edit},
	{group: "metrics.k8s.io", name: "pods", read: View},
	{group: "networking.k8s.io", name: "ingresses", read: View, write: Edit, readSub: status},
	{group: "networking.k8s.io", name: "networkpolicies", read: View, write: Edit},
	{group: "policy", name: "poddisruptionbudgets", read: View, write: Edit, readSub: status},
	{group: "snapshot.storage.k8s.io", name: "volumesnapshots", read: View, write: Edit, readSub: status},
}

var (
	readVerbs  = []string{"get", "list", "watch"}
	writeVerbs = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
)

// rules returns the RBAC rules of the level: for each API group, first the resources to read, then those to write.
func (a Access) rules() []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for i, first := range resources {
		if i > 0 && first.group == resources[i-1].group {
			continue
		}
		read := rbacv1.PolicyRule{APIGroups: []string{first.group}, Verbs: readVerbs}
		write := rbacv1.PolicyRule{APIGroups: []string{first.group}, Verbs: writeVerbs}
		for _, r := range resources {
			rule := &read
			switch {
			case r.group != first.group || !a.includes(r.read):
				continue
			case a.includes(r.write):
				rule = &write
			}
			rule.Resources = append(rule.Resources, r.name)
			for _, sub := range r.readSub {
				read.Resources = append(read.Resources, r.name+"/"+sub)
			}
			if a.includes(r.write) {
				for _, sub := range r.writeSub {
					write.Resources = append(write.Resources, r.name+"/"+sub)
				}
			}
		}
		for _, rule := range []rbacv1.PolicyRule{read, write} {
			if len(rule.Resources) > 0 {
				rules = append(rules, rule)
			}
		}
	}
	return rules
}
