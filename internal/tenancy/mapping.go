package tenancy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubernetes-openstack/internal/field"
)

// Mapping selects the OpenStack projects that become tenants, and maps roles to access.
type Mapping struct {
	// Roles maps the names of Keystone roles to the access that they give in the project's namespace. The default is
	// {reader: view, member: edit, admin: admin}.
	Roles map[string]Access `json:"roles,omitempty" mapstructure:"roles" keys:"text a role" kind:"choice view edit admin"`
	// Exclude lists projects that do not become tenants, each as NAME@DOMAIN or by ID. An ID stays the same after a
	// rename.
	Exclude []string `json:"exclude,omitempty" mapstructure:"exclude" kind:"project"`
}

var defaultRoles = map[string]Access{"reader": View, "member": Edit, "admin": Admin}

// roles returns Roles, or the default.
func (m Mapping) roles() map[string]Access {
	if len(m.Roles) == 0 {
		return defaultRoles
	}
	return m.Roles
}

func (m Mapping) validate(e *field.Errors) {
	for _, role := range slices.Sorted(maps.Keys(m.Roles)) {
		path := fmt.Sprintf("roles[%s]", role)
		if role == "" {
			e.Add(path, "must be the name of a role")
		}
		if !slices.Contains(accessLevels, m.Roles[role]) {
			e.Add(path, "must be view, edit or admin, not %q", m.Roles[role])
		}
	}
	seen := map[string]int{}
	for i, project := range m.Exclude {
		path := fmt.Sprintf("exclude[%d]", i)
		if project == "" || strings.HasPrefix(project, "@") || strings.HasSuffix(project, "@") {
			e.Add(path, "must be NAME@DOMAIN or the ID of a project, not %q", project)
		} else if first, taken := seen[project]; taken {
			e.Add(path, "%q is also exclude[%d]", project, first)
		} else {
			seen[project] = i
		}
	}
}

// members returns the members of each project, by the project's ID. A grant of a role without a mapping gives no
// access.
func (m Mapping) members(grants []Grant) map[string][]Member {
	out := map[string][]Member{}
	for _, g := range grants {
		if access, mapped := m.roles()[g.Role]; mapped {
			out[g.ProjectID] = append(out[g.ProjectID], Member{g.UserID, g.Role, access})
		}
	}
	return out
}

// matches reports whether an entry of Exclude selects the project. domain is the name of the project's domain.
func matches(entry string, p Project, domain string) bool {
	// the entry is not split at @, because names may contain @
	return entry == p.ID || entry == p.Name+"@"+domain
}
