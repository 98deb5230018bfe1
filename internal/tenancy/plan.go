// Package tenancy maps OpenStack's tenants to Kubernetes. A project becomes a namespace, and a role on a project
// becomes access to its namespace. The package is pure: it calls no API of OpenStack or Kubernetes.
//
// NewPlan computes a Plan from a KeystoneSnapshot, Settings and the existing namespaces. Plan.Objects returns the
// Kubernetes objects. Plan.Policy returns the policy file of API servers that use ABAC.
package tenancy

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kubernetes-openstack/internal/field"
)

// Plan is the desired state in Kubernetes. It depends only on the inputs of NewPlan, and not on their order.
type Plan struct {
	Settings Settings
	// Tenants are sorted by namespace.
	Tenants []Tenant
	// ToDelete are the tenants whose namespaces are to be deleted, because Keystone does not list their projects any
	// more. A list may be incomplete, so the caller must request each of these projects from Keystone before it
	// deletes the namespace. Objects does not return objects of these namespaces.
	ToDelete []Tenant
	// Warnings are about IDs and names that Keystone does not list. Access may be missing because of them. Either the
	// object does not exist, or a list is incomplete.
	Warnings []field.Error
}

// NewPlan returns the Plan for the state of Keystone and the stack's settings. existing are all namespaces of the
// cluster, including those of projects. The error is of type field.Errors.
func NewPlan(k KeystoneSnapshot, s Settings, existing []corev1.Namespace) (Plan, error) {
	namespaces, errs := namespacesOf(existing)
	if errs = slices.Concat(k.Validate(), s.Validate(), errs); len(errs) > 0 {
		return Plan{}, errs
	}
	taken := map[string]bool{}
	for _, n := range existing {
		taken[n.Name] = true
	}
	domains, members := k.domains(), s.members(k.EffectiveGrants())

	plan := Plan{Settings: s, Warnings: slices.Concat(k.warnings(), s.warnings(k))}
	for _, p := range slices.SortedFunc(slices.Values(k.Projects),
		func(a, b Project) int { return cmp.Compare(a.ID, b.ID) }) {
		domain := domains[p.DomainID]
		t := Tenant{ProjectID: p.ID, Project: p.Name, Domain: domain.Name, Quota: p.Quota}
		switch {
		case slices.ContainsFunc(s.Exclude, func(entry string) bool { return matches(entry, p, domain.Name) }):
			t.Closed = Excluded
		case !p.Enabled || !domain.Enabled:
			t.Closed = Disabled
		default:
			t.Members = members[p.ID]
		}
		if len(t.Members) == 0 { // controllers may still recreate existing pods and volumes
			t.Quota = Quota{Unlimited, Unlimited, Unlimited, Unlimited, Unlimited}
		}
		if n, exists := namespaces[p.ID]; exists {
			t.Namespace = n.Name
			delete(namespaces, p.ID)
		} else if t.Closed != "" {
			continue
		} else if t.Namespace = newNamespaceName(p, domain.Name, taken); t.Namespace == "" {
			errs.Add("namespaces", "no free namespace name for project %[1]s: label an existing namespace with %[2]s=%[1]s",
				p.ID, ProjectLabel)
		}
		taken[t.Namespace] = true
		plan.Tenants = append(plan.Tenants, t)
	}
	if len(errs) > 0 {
		return Plan{}, errs
	}
	for project, n := range namespaces { // namespaces whose projects Keystone does not list
		t := Tenant{
			Namespace: n.Name, ProjectID: project, Closed: Deleted,
			Project: n.Annotations[ProjectAnnotation], Domain: n.Annotations[DomainAnnotation],
		}
		if s.OnProjectDelete == DeleteNamespace {
			plan.ToDelete = append(plan.ToDelete, t)
		} else {
			plan.Tenants = append(plan.Tenants, t)
		}
	}
	for _, tenants := range [][]Tenant{plan.Tenants, plan.ToDelete} {
		slices.SortFunc(tenants, func(a, b Tenant) int { return cmp.Compare(a.Namespace, b.Namespace) })
	}
	return plan, nil
}

// Objects returns the Kubernetes objects in the order in which they must be created. Objects that give access come
// last. RoleBindings are included if RBAC is the authorizer.
func (p Plan) Objects() []runtime.Object {
	out := []runtime.Object{admissionPolicy(), admissionBinding()}
	for _, role := range clusterRoles() {
		out = append(out, role)
	}
	for _, t := range p.Tenants {
		out = append(out, t.namespace(), t.networkPolicy(p.Settings.PodCIDR))
		if limits := t.limitRange(); limits != nil {
			out = append(out, limits)
		}
		for _, quota := range t.resourceQuotas() {
			out = append(out, quota)
		}
		if p.Settings.Authorizer == ABAC {
			continue
		}
		for _, binding := range t.roleBindings() {
			out = append(out, binding)
		}
	}
	return out
}
