package tenancy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Mapping is which of OpenStack's tenants become Kubernetes', and what their users may do, as the stack's configuration
// says it.
type Mapping struct {
	// Roles is what each role of Keystone, by its name, lets its users do in the project's namespace. Where empty:
	// {reader: view, member: edit, admin: admin}. Who has several roles may do the most that one of them lets do.
	Roles map[string]Access `mapstructure:"roles"`
	// Exclude lists projects that become no tenants, each as NAME@DOMAIN or by its ID, which outlives another name.
	Exclude []string `mapstructure:"exclude"`
}

var defaultRoles = map[string]Access{"reader": View, "member": Edit, "admin": Admin}

// Validate is everything wrong with the mapping by itself.
func (m Mapping) Validate() Errors {
	var e Errors
	for _, role := range slices.Sorted(maps.Keys(m.Roles)) {
		path := fmt.Sprintf("roles[%s]", role)
		if role == "" {
			e.add(path, "must be the name of a role")
		}
		if !slices.Contains(accesses, m.Roles[role]) {
			e.add(path, "must be view, edit or admin, not %q", m.Roles[role])
		}
	}
	seen := map[string]int{}
	for i, project := range m.Exclude {
		path := fmt.Sprintf("exclude[%d]", i)
		if project == "" || strings.HasPrefix(project, "@") || strings.HasSuffix(project, "@") {
			e.add(path, "must be NAME@DOMAIN or the ID of a project, not %q", project)
		} else if first, taken := seen[project]; taken {
			e.add(path, "%q is exclude[%d] too", project, first)
		} else {
			seen[project] = i
		}
	}
	return e
}

// access is what a role lets do; empty where nothing.
func (m Mapping) access(role string) Access {
	if len(m.Roles) == 0 {
		return defaultRoles[role]
	}
	return m.Roles[role]
}

// excludes tells whether an entry means the project, whose domain has the name.
func excludes(entry string, p Project, domain string) bool {
	// put together, not taken apart: a name may have an @ in it
	return entry == p.ID || entry == p.Name+"@"+domain
}
