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

// KeystoneSnapshot is the state of OpenStack's tenants at one time. The JSON keys are those of Keystone's API v3. An
// ID that is not in the lists, such as that of a deleted LDAP user, counts as disabled.
type KeystoneSnapshot struct {
	Domains      []Domain      `json:"domains"`
	Projects     []Project     `json:"projects"`
	Users        []User        `json:"users"`
	Groups       []UserGroup   `json:"groups"`
	Roles        []Role        `json:"roles"`
	ImpliedRoles []ImpliedRole `json:"implied_roles"`
	Assignments  []Assignment  `json:"role_assignments"`
}

// Domain contains projects, users and groups. Its name is unique among domains.
type Domain struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

// Project is a tenant of OpenStack. Its name is unique in its domain, and may change.
type Project struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	// ParentID is the ID of the parent project, or of the domain.
	ParentID string `json:"parent_id"`
	Enabled  bool   `json:"enabled"`
	Quota    Quota  `json:"quota"`
}

// User is a user of a domain. Its name is unique in its domain, and may change.
type User struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	Enabled  bool   `json:"enabled"`
}

// UserGroup is a group of Keystone users.
type UserGroup struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	// Users are the IDs of the members.
	Users []string `json:"users"`
}

// Role is a Keystone role. A role with a DomainID belongs to a domain and only implies other roles. It never occurs
// in tokens.
type Role struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
}

// ImpliedRole states that every user with role Prior also has role Implied. Both are IDs.
type ImpliedRole struct {
	Prior   string `json:"prior_role"`
	Implied string `json:"implied_role"`
}

// Assignment assigns a role to a user or a group, on a project or a domain. All fields are IDs.
type Assignment struct {
	RoleID    string `json:"role"`
	UserID    string `json:"user"`
	GroupID   string `json:"group"`
	ProjectID string `json:"project"`
	DomainID  string `json:"domain"`
	// Inherited assignments do not apply to the project or domain itself. They apply to all projects below it.
	Inherited bool `json:"inherited"`
}

// Grant is an effective role of a user on a project, from any assignment.
type Grant struct {
	ProjectID, UserID string
	// Role is the name of the role, which is unique among the roles without a domain.
	Role string
}

// Validate returns the errors of a snapshot that cannot be complete or that has no valid names in Kubernetes. These
// are empty lists, empty or duplicate IDs, IDs that labels or group names cannot contain, and negative quotas.
func (k KeystoneSnapshot) Validate() field.Errors {
	var e field.Errors
	for _, list := range []struct {
		name string
		len  int
	}{
		{"domains", len(k.Domains)}, {"projects", len(k.Projects)}, {"users", len(k.Users)}, {"roles", len(k.Roles)},
		{"role_assignments", len(k.Assignments)},
	} {
		if list.len == 0 {
			e.Add(list.name, "must not be empty: the reader may lack permission to list them in Keystone")
		}
	}
	validateIDs(&e, "domains", k.Domains, func(d Domain) string { return d.ID })
	validateIDs(&e, "projects", k.Projects, func(p Project) string { return p.ID })
	for i, p := range k.Projects {
		if len(validation.IsValidLabelValue(p.ID)) > 0 {
			e.Add(fmt.Sprintf("projects[%d].id", i),
				"must be a valid label value: up to %d letters, digits, '-', '_' and '.', not %q",
				validation.LabelValueMaxLength, p.ID)
		}
		p.Quota.validate(&e, fmt.Sprintf("projects[%d].quota", i))
	}
	validateIDs(&e, "users", k.Users, func(u User) string { return u.ID })
	for i, u := range k.Users {
		if strings.Contains(u.ID, ":") {
			e.Add(fmt.Sprintf("users[%d].id", i),
				"must not contain ':', because ':' separates the parts of group names, not %q", u.ID)
		}
	}
	validateIDs(&e, "groups", k.Groups, func(g UserGroup) string { return g.ID })
	validateIDs(&e, "roles", k.Roles, func(r Role) string { return r.ID })
	return e
}

func validateIDs[T any](e *field.Errors, list string, items []T, id func(T) string) {
	seen := map[string]int{}
	for i, item := range items {
		path := fmt.Sprintf("%s[%d].id", list, i)
		if first, taken := seen[id(item)]; id(item) == "" {
			e.Add(path, "must be set")
		} else if taken {
			e.Add(path, "%q is also %s[%d].id", id(item), list, first)
		} else {
			seen[id(item)] = i
		}
	}
}

// EffectiveGrants returns the roles of users on projects as Keystone's tokens contain them. It resolves groups,
// implied roles and inherited assignments. Disabled users and projects, and those of disabled domains, have no
// grants. The result is sorted by project, user and role.
func (k KeystoneSnapshot) EffectiveGrants() []Grant {
	domains := k.domains()
	users, projects := map[string]bool{}, map[string]bool{}
	for _, u := range k.Users {
		users[u.ID] = u.Enabled && domains[u.DomainID].Enabled
	}
	for _, p := range k.Projects {
		projects[p.ID] = p.Enabled && domains[p.DomainID].Enabled
	}
	members := map[string][]string{}
	for _, g := range k.Groups {
		members[g.ID] = g.Users
	}
	roles, descendants := k.effectiveRoles(), k.descendants()

	grants := map[Grant]bool{}
	for _, a := range k.Assignments {
		assignees, targets := members[a.GroupID], []string{a.ProjectID}
		if a.UserID != "" {
			assignees = []string{a.UserID}
		}
		if a.Inherited {
			targets = descendants[cmp.Or(a.ProjectID, a.DomainID)]
		}
		for _, project := range targets {
			for _, user := range assignees {
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

// domains returns the domains by ID.
func (k KeystoneSnapshot) domains() map[string]Domain {
	out := map[string]Domain{}
	for _, d := range k.Domains {
		out[d.ID] = d
	}
	return out
}

// effectiveRoles returns, by the ID of a role, the names of the role and of all roles that it implies. It leaves out
// names of roles that belong to a domain.
func (k KeystoneSnapshot) effectiveRoles() map[string][]string {
	implied := map[string][]string{}
	for _, i := range k.ImpliedRoles {
		implied[i.Prior] = append(implied[i.Prior], i.Implied)
	}
	names := map[string]string{}
	for _, r := range k.Roles {
		if r.DomainID == "" {
			names[r.ID] = r.Name
		}
	}
	out := map[string][]string{}
	for _, r := range k.Roles {
		seen := map[string]bool{r.ID: true} // implications may be circular
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

// descendants returns, by the ID of a project or a domain, the IDs of all projects below it.
func (k KeystoneSnapshot) descendants() map[string][]string {
	parents := map[string]string{}
	for _, p := range k.Projects {
		parents[p.ID] = p.ParentID
	}
	out := map[string][]string{}
	for _, p := range k.Projects {
		above := map[string]bool{p.ID: true, "": true} // a project is not below itself, and "" is not an ID
		for _, start := range []string{p.ParentID, p.DomainID} {
			for at := start; !above[at]; at = parents[at] {
				above[at] = true
				out[at] = append(out[at], p.ID)
			}
		}
	}
	return out
}
