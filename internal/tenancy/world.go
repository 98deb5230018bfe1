package tenancy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"kubernetes-openstack/internal/field"
)

// World is what OpenStack knows of its tenants, in the words of Keystone's API v3. What an assignment or a project
// names and World has not, such as a user of LDAP who is gone, counts as disabled.
type World struct {
	Domains      []Domain      `json:"domains"`
	Projects     []Project     `json:"projects"`
	Users        []User        `json:"users"`
	Groups       []UserGroup   `json:"groups"`
	Roles        []Role        `json:"roles"`
	ImpliedRoles []ImpliedRole `json:"implied_roles"`
	Assignments  []Assignment  `json:"role_assignments"`
}

// Domain holds projects, users and groups. Its name is its own among domains.
type Domain struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

// Project is a tenant. Its name is its own among the projects of its domain, and may change.
type Project struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	// ParentID is the project that it lies in, or its domain.
	ParentID string `json:"parent_id"`
	Enabled  bool   `json:"enabled"`
	Quota    Quota  `json:"quota"`
}

// User is one of a domain. Its name is its own among the users of its domain, and may change.
type User struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	Enabled  bool   `json:"enabled"`
}

// UserGroup is what Keystone calls a group: a set of users.
type UserGroup struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	// Users are their IDs.
	Users []string `json:"users"`
}

// Role with a DomainID is a name that a domain has for the roles that it implies: no token and no service ever sees it.
type Role struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
}

// ImpliedRole says that who has the prior role has the implied one too. Both are IDs.
type ImpliedRole struct {
	Prior   string `json:"prior_role"`
	Implied string `json:"implied_role"`
}

// Assignment gives a role to a user or to a group, on a project or on a domain. All are IDs.
type Assignment struct {
	RoleID    string `json:"role"`
	UserID    string `json:"user"`
	GroupID   string `json:"group"`
	ProjectID string `json:"project"`
	DomainID  string `json:"domain"`
	// Inherited is not on the project or the domain itself, but on all projects that lie in it, however deep.
	Inherited bool `json:"inherited"`
}

// Grant is a role that a user has on a project, however they came to it.
type Grant struct {
	ProjectID, UserID string
	// Role by its name, which is its own among the roles that are no domain's.
	Role string
}

// Validate is what no Keystone says to who may hear it all: nothing at all of something, IDs that are missing, twice
// there or nothing to make names in Kubernetes of, and quotas below none.
func (w World) Validate() field.Errors {
	var e field.Errors
	for _, list := range []struct {
		name string
		len  int
	}{
		{"domains", len(w.Domains)}, {"projects", len(w.Projects)}, {"users", len(w.Users)}, {"roles", len(w.Roles)},
		{"role_assignments", len(w.Assignments)},
	} {
		if list.len == 0 {
			e.Add(list.name, "Keystone listed none, which it must have: whoever asked may not see them")
		}
	}
	ids(&e, "domains", w.Domains, func(d Domain) string { return d.ID })
	ids(&e, "projects", w.Projects, func(p Project) string { return p.ID })
	for i, p := range w.Projects {
		if len(validation.IsValidLabelValue(p.ID)) > 0 {
			e.Add(fmt.Sprintf("projects[%d].id", i),
				"must be a label's value: up to %d letters, digits, '-', '_' and '.', not %q",
				validation.LabelValueMaxLength, p.ID)
		}
		p.Quota.validate(&e, fmt.Sprintf("projects[%d].quota", i))
	}
	ids(&e, "users", w.Users, func(u User) string { return u.ID })
	for i, u := range w.Users {
		if strings.Contains(u.ID, ":") {
			e.Add(fmt.Sprintf("users[%d].id", i), "must have no ':' in it, which ends an ID in the names of groups, not %q",
				u.ID)
		}
	}
	ids(&e, "groups", w.Groups, func(g UserGroup) string { return g.ID })
	ids(&e, "roles", w.Roles, func(r Role) string { return r.ID })
	return e
}

func ids[T any](e *field.Errors, list string, items []T, id func(T) string) {
	seen := map[string]int{}
	for i, item := range items {
		path := fmt.Sprintf("%s[%d].id", list, i)
		if first, taken := seen[id(item)]; id(item) == "" {
			e.Add(path, "must be set")
		} else if taken {
			e.Add(path, "%q is %s[%d].id too", id(item), list, first)
		} else {
			seen[id(item)] = i
		}
	}
}

// Effective is who has which role on which project, as Keystone's tokens say it: members of groups,
// implied and inherited roles are told one by one, and what is disabled, or in a domain that is, has
// nothing. In the order of projects, users and roles.
func (w World) Effective() []Grant {
	domains := w.domains()
	users, projects := map[string]bool{}, map[string]bool{}
	for _, u := range w.Users {
		users[u.ID] = u.Enabled && domains[u.DomainID].Enabled
	}
	for _, p := range w.Projects {
		projects[p.ID] = p.Enabled && domains[p.DomainID].Enabled
	}
	members := map[string][]string{}
	for _, g := range w.Groups {
		members[g.ID] = g.Users
	}
	roles, heirs := w.rolesOf(), w.heirs()

	grants := map[Grant]bool{}
	for _, a := range w.Assignments {
		who, where := members[a.GroupID], []string{a.ProjectID}
		if a.UserID != "" {
			who = []string{a.UserID}
		}
		if a.Inherited {
			where = heirs[cmp.Or(a.ProjectID, a.DomainID)]
		}
		for _, project := range where {
			for _, user := range who {
				for _, role := range roles[a.RoleID] {
					if projects[project] && users[user] {
						grants[Grant{project, user, role}] = true
					}
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(grants), func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.ProjectID, b.ProjectID), cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.Role, b.Role))
	})
}

// domains by their IDs.
func (w World) domains() map[string]Domain {
	out := map[string]Domain{}
	for _, d := range w.Domains {
		out[d.ID] = d
	}
	return out
}

// rolesOf is, by the ID of a role, the names of all roles that it gives, itself among them unless it is a domain's.
func (w World) rolesOf() map[string][]string {
	implied := map[string][]string{}
	for _, i := range w.ImpliedRoles {
		implied[i.Prior] = append(implied[i.Prior], i.Implied)
	}
	names := map[string]string{}
	for _, r := range w.Roles {
		if r.DomainID == "" {
			names[r.ID] = r.Name
		}
	}
	out := map[string][]string{}
	for _, r := range w.Roles {
		seen := map[string]bool{r.ID: true} // they may imply each other
		for todo := []string{r.ID}; len(todo) > 0; todo = todo[1:] {
			if name, global := names[todo[0]]; global {
				out[r.ID] = append(out[r.ID], name)
			}
			for _, next := range implied[todo[0]] {
				if !seen[next] {
					seen[next] = true
					todo = append(todo, next)
				}
			}
		}
	}
	return out
}

// heirs is, by the ID of a project or a domain, the IDs of all projects that lie in it.
func (w World) heirs() map[string][]string {
	parents := map[string]string{}
	for _, p := range w.Projects {
		parents[p.ID] = p.ParentID
	}
	out := map[string][]string{}
	for _, p := range w.Projects {
		above := map[string]bool{p.ID: true, "": true} // nothing lies in itself, nor in nothing
		for _, start := range []string{p.ParentID, p.DomainID} {
			for at := start; !above[at]; at = parents[at] {
				above[at] = true
				out[at] = append(out[at], p.ID)
			}
		}
	}
	return out
}
