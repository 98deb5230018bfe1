// Package tenancy makes OpenStack's tenants Kubernetes' tenants: projects are namespaces, and roles on projects are
// access to them. It is pure: it knows neither OpenStack's APIs nor Kubernetes'.
//
// A change's way through it: World and Settings, and the namespaces that there are → NewPlan → Plan.Objects, and for
// API servers that authorize by ABAC Plan.Policy.
package tenancy

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kubernetes-openstack/internal/field"
)

// Plan is what there is to be in Kubernetes. It follows from what it is made of, in whatever order that was told.
type Plan struct {
	Settings Settings
	// Tenants in the order of their namespaces.
	Tenants []Tenant
	// Gone are those whose projects Keystone does not list any more, where their namespaces are to be deleted. A list
	// may be incomplete, so whoever deletes one asks Keystone for that very project first. Until then nothing in it
	// is to change: the plan's objects are in others.
	Gone []Tenant
	// Warnings tell what is named and Keystone does not list, by which access may be missing. It may be that it never was
	// there, or that a list is incomplete.
	Warnings []field.Error
}

// NewPlan is the plan for what OpenStack has and the stack's configuration says. Existing namespaces, those of projects
// and all others, are as the Kubernetes API tells them. The error is field.Errors.
func NewPlan(w World, s Settings, existing []corev1.Namespace) (Plan, error) {
	namespaces, errs := namespacesOf(existing)
	if errs = slices.Concat(w.Validate(), s.Validate(), errs); len(errs) > 0 {
		return Plan{}, errs
	}
	taken := map[string]bool{}
	for _, n := range existing {
		taken[n.Name] = true
	}
	domains, members := w.domains(), s.members(w.Effective())

	plan := Plan{Settings: s, Warnings: slices.Concat(w.warnings(), s.warnings(w))}
	for _, p := range slices.SortedFunc(slices.Values(w.Projects),
		func(a, b Project) int { return cmp.Compare(a.ID, b.ID) }) {
		domain := domains[p.DomainID]
		t := Tenant{ProjectID: p.ID, Project: p.Name, Domain: domain.Name, Quota: p.Quota}
		switch {
		case slices.ContainsFunc(s.Exclude, func(entry string) bool { return excludes(entry, p, domain.Name) }):
			t.Closed = Excluded
		case !p.Enabled || !domain.Enabled:
			t.Closed = Disabled
		default:
			t.Members = members[p.ID]
		}
		if len(t.Members) == 0 { // who could make anything? and what is there may be made again by its controllers
			t.Quota = Quota{Unlimited, Unlimited, Unlimited, Unlimited, Unlimited}
		}
		if n, exists := namespaces[p.ID]; exists {
			t.Namespace = n.Name
			delete(namespaces, p.ID)
		} else if t.Closed != "" {
			continue
		} else if t.Namespace = newNamespace(p, domain.Name, taken); t.Namespace == "" {
			errs.Add("namespaces", "have all names that the project %s could have: give one of them the label %s=%s", p.ID,
				ProjectLabel, p.ID)
		}
		taken[t.Namespace] = true
		plan.Tenants = append(plan.Tenants, t)
	}
	if len(errs) > 0 {
		return Plan{}, errs
	}
	for project, n := range namespaces { // those that are left
		t := Tenant{
			Namespace: n.Name, ProjectID: project, Closed: Deleted,
			Project: n.Annotations[ProjectAnnotation], Domain: n.Annotations[DomainAnnotation],
		}
		if s.OnProjectDelete == DeleteNamespace {
			plan.Gone = append(plan.Gone, t)
		} else {
			plan.Tenants = append(plan.Tenants, t)
		}
	}
	for _, tenants := range [][]Tenant{plan.Tenants, plan.Gone} {
		slices.SortFunc(tenants, func(a, b Tenant) int { return cmp.Compare(a.Namespace, b.Namespace) })
	}
	return plan, nil
}

// Objects are Kubernetes', each with its kind, in the order in which they are to be there: access comes last.
// RoleBindings are among them where RBAC is the authorizer.
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
