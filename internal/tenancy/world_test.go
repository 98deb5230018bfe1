package tenancy

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// cloud is a domain D with the projects top, top/middle and top/middle/leaf, a domain E with the project
// other, the users ann of D and eve of E, who are the group both, the roles admin → member → reader, and
// an assignment on a domain, which gives nothing.
func cloud() World {
	return World{
		Domains: []Domain{{ID: "D", Name: "D", Enabled: true}, {ID: "E", Name: "E", Enabled: true}},
		Projects: []Project{
			{ID: "top", Name: "top", DomainID: "D", ParentID: "D", Enabled: true},
			{ID: "middle", Name: "middle", DomainID: "D", ParentID: "top", Enabled: true},
			{ID: "leaf", Name: "leaf", DomainID: "D", ParentID: "middle", Enabled: true},
			{ID: "other", Name: "other", DomainID: "E", ParentID: "E", Enabled: true},
		},
		Users: []User{{ID: "ann", Name: "ann", DomainID: "D", Enabled: true},
			{ID: "eve", Name: "eve", DomainID: "E", Enabled: true}},
		Groups: []UserGroup{
			{ID: "both", Name: "both", DomainID: "D", Users: []string{"ann", "eve", "unknown"}},
		},
		Roles:        []Role{{ID: "a", Name: "admin"}, {ID: "m", Name: "member"}, {ID: "r", Name: "reader"}},
		ImpliedRoles: []ImpliedRole{{"a", "m"}, {"m", "r"}},
		Assignments:  []Assignment{{RoleID: "r", UserID: "ann", DomainID: "D"}},
	}
}

func TestEffective(t *testing.T) {
	on := func(project string) Assignment { return Assignment{RoleID: "r", UserID: "ann", ProjectID: project} }
	annReads := func(projects ...string) []Grant {
		var grants []Grant
		for _, p := range projects {
			grants = append(grants, Grant{p, "ann", "reader"})
		}
		return grants
	}
	for name, test := range map[string]struct {
		change     func(*World)
		assignment Assignment
		want       []Grant
	}{
		"a user on a project": {nil, on("middle"), annReads("middle")},
		"a group": {nil, Assignment{RoleID: "r", GroupID: "both", ProjectID: "top"},
			[]Grant{{"top", "ann", "reader"}, {"top", "eve", "reader"}}},
		"implied roles, and what they imply": {nil, Assignment{RoleID: "a", UserID: "ann", ProjectID: "top"},
			[]Grant{{"top", "ann", "admin"}, {"top", "ann", "member"}, {"top", "ann", "reader"}}},
		"inherited from a project, but not on it": {nil,
			Assignment{RoleID: "r", UserID: "ann", ProjectID: "top", Inherited: true}, annReads("leaf", "middle")},
		"inherited from a project with none below": {nil,
			Assignment{RoleID: "r", UserID: "ann", ProjectID: "leaf", Inherited: true}, nil},
		"inherited from a domain": {nil,
			Assignment{RoleID: "r", UserID: "ann", DomainID: "D", Inherited: true}, annReads("leaf", "middle", "top")},
		"on a domain, which is no project": {nil, Assignment{RoleID: "r", UserID: "ann", DomainID: "D"}, nil},
		"a user of another domain": {nil, Assignment{RoleID: "r", UserID: "eve", ProjectID: "top"},
			[]Grant{{"top", "eve", "reader"}}},
		"roles that imply each other": {func(w *World) {
			w.ImpliedRoles = append(w.ImpliedRoles,
				ImpliedRole{"r", "m"})
		}, on("top"), []Grant{{"top", "ann", "member"}, {"top", "ann", "reader"}}},
		"projects that lie in each other": {func(w *World) { w.Projects[0].ParentID = "leaf" },
			Assignment{RoleID: "r", UserID: "ann", ProjectID: "top", Inherited: true}, annReads("leaf", "middle")},
		"a domain's role is what it implies": {func(w *World) { w.Roles[1].DomainID = "D" },
			Assignment{RoleID: "m", UserID: "ann", ProjectID: "top"}, annReads("top")},
		"a disabled user": {func(w *World) { w.Users[0].Enabled = false }, on("top"), nil},
		"a user of a disabled domain": {func(w *World) { w.Domains[1].Enabled = false },
			Assignment{RoleID: "r", UserID: "eve", ProjectID: "top"}, nil},
		"a user of an unknown domain":    {func(w *World) { w.Users[0].DomainID = "unknown" }, on("top"), nil},
		"a disabled project":             {func(w *World) { w.Projects[0].Enabled = false }, on("top"), nil},
		"a project of a disabled domain": {func(w *World) { w.Domains[1].Enabled = false }, on("other"), nil},
		"a disabled project is not inherited to": {func(w *World) { w.Projects[2].Enabled = false },
			Assignment{RoleID: "r", UserID: "ann", DomainID: "D", Inherited: true}, annReads("middle", "top")},
		"an unknown user":    {nil, Assignment{RoleID: "r", UserID: "unknown", ProjectID: "top"}, nil},
		"an unknown project": {nil, on("unknown"), nil},
		"an unknown role": {nil, Assignment{RoleID: "unknown", UserID: "ann", ProjectID: "top"},
			nil},
		"an unknown role that is implied": {func(w *World) {
			w.ImpliedRoles = append(w.ImpliedRoles, ImpliedRole{"r", "unknown"})
		}, on("top"), annReads("top")},
		"nobody, nowhere, as of the whole system":   {nil, Assignment{RoleID: "r"}, nil},
		"all projects, by no more than inheritance": {nil, Assignment{RoleID: "r", UserID: "ann", Inherited: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := cloud()
			if test.change != nil {
				test.change(&w)
			}
			w.Assignments = []Assignment{test.assignment}
			assert.ElementsMatch(t, test.want, w.Effective())
		})
	}
}
