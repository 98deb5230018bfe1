package tenancy

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Access is how much may be done in a namespace, by the names of Kubernetes' own ClusterRoles for users.
type Access string

const (
	// View is to read all that gives no power by being read: no Secrets.
	View Access = "view"
	// Edit is to run programs, with all that they need.
	Edit Access = "edit"
	// Admin is to ask, too, what others may do. It gives nobody anything: that is Keystone's to do.
	Admin Access = "admin"
)

// accesses are in their order: each may do what those before it may.
var accesses = []Access{View, Edit, Admin}

// includes tells whether a may do what takes the least access; nobody may where that is empty.
func (a Access) includes(least Access) bool {
	return least != "" && slices.Index(accesses, a) >= slices.Index(accesses, least)
}

// resource is one of the Kubernetes API's, all in namespaces, and the least access that may read it and change it.
type resource struct {
	group, name string
	read, write Access
	// looks are its subresources for those who may read it, uses for those who may change it. ABAC knows no
	// subresources: it gives them all with their resource.
	looks, uses []string
}

var (
	status         = []string{"status"}
	scale          = []string{"scale"}
	statusAndScale = []string{"status", "scale"}
)

// resources are all that tenants may do: what Kubernetes 1.36's own view, edit and admin let do, and volumes'
// snapshots. Each difference is in testdata/beside-kubernetes-roles.txt.
//
// Roles and RoleBindings are not among them: who could write them gave themselves the rest, as nothing but RBAC asks
// whether the writer has what the role gives. Nobody writes quotas and limits, nor Endpoints, which can lead a Service
// to anybody's address.
var resources = []resource{
	{group: "", name: "configmaps", read: View, write: Edit},
	{group: "", name: "endpoints", read: View},
	{group: "", name: "events", read: View, write: Edit},
	{group: "", name: "limitranges", read: View},
	// its own: the request's namespace is the one that it reads
	{group: "", name: "namespaces", read: View, looks: status},
	{group: "", name: "persistentvolumeclaims", read: View, write: Edit, looks: status},
	{group: "", name: "pods", read: View, write: Edit, looks: []string{"log", "status"},
		uses: []string{"attach", "eviction", "exec", "portforward", "proxy"}},
	{group: "", name: "replicationcontrollers", read: View, write: Edit, looks: statusAndScale, uses: scale},
	{group: "", name: "resourcequotas", read: View, looks: status},
	{group: "", name: "secrets", read: Edit, write: Edit},
	{group: "", name: "serviceaccounts", read: View, write: Edit, uses: []string{"token"}},
	{group: "", name: "services", read: View, write: Edit, looks: status, uses: []string{"proxy"}},
	{group: "apps", name: "controllerrevisions", read: View},
	{group: "apps", name: "daemonsets", read: View, write: Edit, looks: status},
	{group: "apps", name: "deployments", read: View, write: Edit, looks: statusAndScale, uses: scale},
	{group: "apps", name: "replicasets", read: View, write: Edit, looks: statusAndScale, uses: scale},
	{group: "apps", name: "statefulsets", read: View, write: Edit, looks: statusAndScale, uses: scale},
	{group: "authorization.k8s.io", name: "localsubjectaccessreviews", read: Admin, write: Admin},
	{group: "autoscaling", name: "horizontalpodautoscalers", read: View, write: Edit, looks: status},
	{group: "batch", name: "cronjobs", read: View, write: Edit, looks: status},
	{group: "batch", name: "jobs", read: View, write: Edit, looks: status},
	{group: "coordination.k8s.io", name: "leases", read: Edit, write: Edit},
	{group: "discovery.k8s.io", name: "endpointslices", read: View},
	{group: "events.k8s.io", name: "events", read: View, write: Edit},
	{group: "networking.k8s.io", name: "ingresses", read: View, write: Edit, looks: status},
	{group: "networking.k8s.io", name: "networkpolicies", read: View, write: Edit},
	{group: "policy", name: "poddisruptionbudgets", read: View, write: Edit, looks: status},
	{group: "snapshot.storage.k8s.io", name: "volumesnapshots", read: View, write: Edit, looks: status},
}

var (
	readVerbs  = []string{"get", "list", "watch"}
	writeVerbs = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
)

// rules are what the access may do, in RBAC's terms: for each API group what it reads, then what it changes.
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
			for _, sub := range r.looks {
				read.Resources = append(read.Resources, r.name+"/"+sub)
			}
			if a.includes(r.write) {
				for _, sub := range r.uses {
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
