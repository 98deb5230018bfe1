package tenancy

import (
	"fmt"
	"maps"
	"slices"

	"kubernetes-openstack/internal/field"
)

// warnings returns a warning for each role and project of the mapping that Keystone does not list.
func (m Mapping) warnings(k KeystoneSnapshot) []field.Error {
	var e field.Errors
	for _, role := range slices.Sorted(maps.Keys(m.roles())) {
		if !slices.ContainsFunc(k.Roles, func(r Role) bool { return r.Name == role && r.DomainID == "" }) {
			e.Add(fmt.Sprintf("roles[%s]", role), "Keystone has no role with this name")
		}
	}
	domains := k.domains()
	for i, entry := range m.Exclude {
		if !slices.ContainsFunc(k.Projects, func(p Project) bool { return matches(entry, p, domains[p.DomainID].Name) }) {
			e.Add(fmt.Sprintf("exclude[%d]", i), "Keystone has no project %s", entry)
		}
	}
	return e
}

// warnings returns a warning for each list that refers to IDs that Keystone does not list. Either an object does not
// exist any more, such as an LDAP user, or a list is incomplete.
func (k KeystoneSnapshot) warnings() []field.Error {
	listed := map[string]bool{"": true}
	add := func(id string) { listed[id] = true }
	for _, d := range k.Domains {
		add(d.ID)
	}
	for _, p := range k.Projects {
		add(p.ID)
	}
	for _, u := range k.Users {
		add(u.ID)
	}
	for _, g := range k.Groups {
		add(g.ID)
	}
	for _, r := range k.Roles {
		add(r.ID)
	}
	missing := map[string][]string{}
	check := func(in string, ids ...string) {
		for _, id := range ids {
			if !listed[id] {
				missing[in] = append(missing[in], id)
			}
		}
	}
	for _, p := range k.Projects {
		check("projects", p.DomainID, p.ParentID)
	}
	for _, u := range k.Users {
		check("users", u.DomainID)
	}
	for _, g := range k.Groups {
		check("groups", g.Users...)
	}
	for _, i := range k.ImpliedRoles {
		check("implied_roles", i.Prior, i.Implied)
	}
	for _, a := range k.Assignments {
		check("role_assignments", a.RoleID, a.UserID, a.GroupID, a.ProjectID, a.DomainID)
	}
	var e field.Errors
	for _, in := range slices.Sorted(maps.Keys(missing)) {
		slices.Sort(missing[in])
		ids := slices.Compact(missing[in])
		e.Add(in, "IDs that are not in Keystone's lists give no access: %d, such as %s", len(ids), ids[0])
	}
	return e
}
