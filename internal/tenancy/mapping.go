package tenancy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubernetes-openstack/internal/field"
)

// Mapping is which of OpenStack's tenants become Kubernetes', and what their users may do.
type Mapping struct {
	// Roles is what each role of Keystone, by its name, lets do in the project's namespace. Where empty:
	// {reader: view, member: edit, admin: admin}.
	Roles map[string]Access `json:"roles,omitempty" mapstructure:"roles"`
	// Exclude lists projects that become no tenants, each as NAME@DOMAIN or by its ID, which outlives another name.
	Exclude []string `json:"exclude,omitempty" mapstructure:"exclude"`
}

var defaultRoles = map[string]Access{"reader": View, "member": Edit, "admin": Admin}

// roles is what each role lets do.
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
		if !slices.Contains(accesses, m.Roles[role]) {
			e.Add(path, "must be view, edit or admin, not %q", m.Roles[role])
		}
	}
	seen := map[string]int{}
	for i, project := range m.Exclude {
		path := fmt.Sprintf("exclude[%d]", i)
		if project == "" || strings.HasPrefix(project, "@") || strings.HasSuffix(project, "@") {
			e.Add(path, "must be NAME@DOMAIN or the ID of a project, not %q", project)
		} else if first, taken := seen[project]; taken {
			e.Add(path, "%q is exclude[%d] too", project, first)
		} else {
			seen[project] = i
		}
	}
}

// members are the grants by which somebody has access, by the project's ID.
func (m Mapping) members(grants []Grant) map[string][]Member {
	out := map[string][]Member{}
	for _, g := range grants {
		if access, known := m.roles()[g.Role]; known {
			out[g.ProjectID] = append(out[g.ProjectID], Member{g.UserID, g.Role, access})
		}
	}
	return out
}

// excludes tells whether an entry of Exclude means the project, whose domain has the name.
func excludes(entry string, p Project, domain string) bool {
	// put together, not taken apart: a name may have an @ in it
	return entry == p.ID || entry == p.Name+"@"+domain
}
