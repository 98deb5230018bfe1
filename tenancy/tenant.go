// Package tenancy makes OpenStack's tenants Kubernetes' tenants: projects are namespaces, and roles on projects are access
// to them. It is pure: it knows neither OpenStack's APIs nor Kubernetes'.
//
// A change's way through it: World and Mapping, and the namespaces that there are → NewPlan → Plan.Objects, and for API
// servers that authorize by ABAC Plan.Policy.
package tenancy

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Plan is what there is to be in Kubernetes. It follows from what it is made of, in whatever order that was told.
type Plan struct {
	// Tenants in the order of their namespaces.
	Tenants []Tenant
	// PodCIDR has the addresses of all pods, and no other.
	PodCIDR netip.Prefix
	// Warnings are what the Mapping names and OpenStack does not have.
	Warnings []Error
}

// Tenant is a project with its namespace.
type Tenant struct {
	Namespace, ProjectID string
	// Project and Domain are their names, for people.
	Project, Domain string
	// Closed says why nobody has access to the namespace any more; empty where the project is as it should be. What is in
	// the namespace stays and runs on, as a disabled project's instances do; a deleted one's quota lets nothing come.
	Closed Closed
	// Members in the order of their IDs.
	Members []Member
	Quota   Quota
}

// Closed is a reason.
type Closed string

// Reasons.
const (
	Deleted  Closed = "deleted"
	Disabled Closed = "disabled"
	Excluded Closed = "excluded"
)

// Member is a user of Keystone with access to a namespace.
type Member struct {
	UserID string
	Access Access
}

// NewPlan is the plan for what OpenStack has and the stack's configuration says. Existing namespaces, those of projects and
// all others, are as the Kubernetes API tells them; pods have their addresses from podCIDR. The error is Errors.
func NewPlan(w World, m Mapping, podCIDR netip.Prefix, existing []corev1.Namespace) (Plan, error) {
	errs := slices.Concat(w.Validate(), m.Validate())
	namespaces, e := namespacesOf(existing)
	if errs = append(errs, e...); len(errs) > 0 {
		return Plan{}, errs
	}
	taken := map[string]bool{}
	for _, n := range existing {
		taken[n.Name] = true
	}
	names := map[string]string{}
	for _, d := range w.Domains {
		names[d.ID] = d.Name
	}
	enabled, members := w.enabledDomains(), m.members(w.Effective())

	plan := Plan{PodCIDR: podCIDR, Warnings: m.warnings(w, names)}
	for _, p := range slices.SortedFunc(slices.Values(w.Projects), func(a, b Project) int { return cmp.Compare(a.ID, b.ID) }) {
		t := Tenant{ProjectID: p.ID, Project: p.Name, Domain: names[p.DomainID], Quota: p.Quota}
		switch {
		case slices.ContainsFunc(m.Exclude, func(entry string) bool { return excludes(entry, p, t.Domain) }):
			t.Closed = Excluded
		case !p.Enabled || !enabled[p.DomainID]:
			t.Closed = Disabled
		default:
			t.Members = members[p.ID]
		}
		if n, exists := namespaces[p.ID]; exists {
			t.Namespace = n.Name
			delete(namespaces, p.ID)
		} else if t.Closed != "" {
			continue
		} else if t.Namespace = newNamespace(p, t.Domain, taken); t.Namespace == "" {
			errs.add("namespaces", "have all names that the project %s could have: give one of them the label %s=%s", p.ID, ProjectLabel, p.ID)
		}
		taken[t.Namespace] = true
		plan.Tenants = append(plan.Tenants, t)
	}
	if len(errs) > 0 {
		return Plan{}, errs
	}
	for project, n := range namespaces {
		plan.Tenants = append(plan.Tenants, Tenant{
			Namespace: n.Name, ProjectID: project, Closed: Deleted,
			Project: n.Annotations[projectAnnotation], Domain: n.Annotations[domainAnnotation],
		})
	}
	slices.SortFunc(plan.Tenants, func(a, b Tenant) int { return cmp.Compare(a.Namespace, b.Namespace) })
	return plan, nil
}

// members are who may do what, by the ID of the project: each user once, with the most that a role lets them do.
func (m Mapping) members(grants []Grant) map[string][]Member {
	out := map[string][]Member{}
	for _, g := range grants { // a user's on a project one after the other
		access, members := m.access(g.Role), out[g.ProjectID]
		if access == "" {
			continue
		}
		if last := len(members) - 1; last < 0 || members[last].UserID != g.UserID {
			out[g.ProjectID] = append(members, Member{g.UserID, access})
		} else if access.includes(members[last].Access) {
			members[last].Access = access
		}
	}
	return out
}

// warnings are what the mapping names and the world does not have, whose domains have the names.
func (m Mapping) warnings(w World, domains map[string]string) []Error {
	var e Errors
	for _, role := range slices.Sorted(maps.Keys(m.Roles)) {
		if !slices.ContainsFunc(w.Roles, func(r Role) bool { return r.Name == role && r.DomainID == "" }) {
			e.add(fmt.Sprintf("roles[%s]", role), "Keystone has no role of this name")
		}
	}
	for i, entry := range m.Exclude {
		if !slices.ContainsFunc(w.Projects, func(p Project) bool { return excludes(entry, p, domains[p.DomainID]) }) {
			e.add(fmt.Sprintf("exclude[%d]", i), "Keystone has no project %s", entry)
		}
	}
	return e
}

// Objects are Kubernetes', each with its kind, in the order in which they are to be there: access comes last.
func (p Plan) Objects() []runtime.Object {
	out := []runtime.Object{admissionPolicy(), admissionBinding()}
	for _, role := range clusterRoles() {
		out = append(out, role)
	}
	for _, t := range p.Tenants {
		out = append(out, t.namespace(), t.networkPolicy(p.PodCIDR))
		if limits := t.limitRange(); limits != nil {
			out = append(out, limits)
		}
		for _, quota := range t.resourceQuotas() {
			out = append(out, quota)
		}
		for _, binding := range t.roleBindings() {
			out = append(out, binding)
		}
	}
	return out
}

// metadata of something in the tenant's namespace.
func (t Tenant) metadata(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: t.Namespace, Labels: map[string]string{ProjectLabel: t.ProjectID}}
}
