package tenancy

import (
	"fmt"
	"maps"
	"slices"

	"kubernetes-openstack/internal/field"
)

// warnings are what the mapping names and the world does not have.
func (m Mapping) warnings(w World) []field.Error {
	var e field.Errors
	for _, role := range slices.Sorted(maps.Keys(m.roles())) {
		if !slices.ContainsFunc(w.Roles, func(r Role) bool { return r.Name == role && r.DomainID == "" }) {
			e.Add(fmt.Sprintf("roles[%s]", role), "Keystone has no role of this name")
		}
	}
	domains := w.domains()
	for i, entry := range m.Exclude {
		if !slices.ContainsFunc(w.Projects, func(p Project) bool { return excludes(entry, p, domains[p.DomainID].Name) }) {
			e.Add(fmt.Sprintf("exclude[%d]", i), "Keystone has no project %s", entry)
		}
	}
	return e
}

// warnings are of lists that name what Keystone did not list: a user of LDAP who is
// gone, or something that a list has been cut off by.
func (w World) warnings() []field.Error {
	listed := map[string]bool{"": true}
	list := func(id string) { listed[id] = true }
	for _, d := range w.Domains {
		list(d.ID)
	}
	for _, p := range w.Projects {
		list(p.ID)
	}
	for _, u := range w.Users {
		list(u.ID)
	}
	for _, g := range w.Groups {
		list(g.ID)
	}
	for _, r := range w.Roles {
		list(r.ID)
	}
	missing := map[string][]string{}
	named := func(in string, ids ...string) {
		for _, id := range ids {
			if !listed[id] {
				missing[in] = append(missing[in], id)
			}
		}
	}
	for _, p := range w.Projects {
		named("projects", p.DomainID, p.ParentID)
	}
	for _, u := range w.Users {
		named("users", u.DomainID)
	}
	for _, g := range w.Groups {
		named("groups", g.Users...)
	}
	for _, i := range w.ImpliedRoles {
		named("implied_roles", i.Prior, i.Implied)
	}
	for _, a := range w.Assignments {
		named("role_assignments", a.RoleID, a.UserID, a.GroupID, a.ProjectID, a.DomainID)
	}
	var e field.Errors
	for _, in := range slices.Sorted(maps.Keys(missing)) {
		slices.Sort(missing[in])
		ids := slices.Compact(missing[in])
		e.Add(in, "name IDs that Keystone did not list, by which nobody has access: %d, such as %s", len(ids), ids[0])
	}
	return e
}
