package tenancy

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// cloud returns a snapshot with the domains D and E. D contains the nested projects top, top/middle and
// top/middle/leaf. E contains the project other. The users ann of D and eve of E are members of the group both. admin
// implies member, and member implies reader. One assignment is on a domain and not inherited, so it gives no access.
func cloud() KeystoneSnapshot {
	return KeystoneSnapshot{
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

func TestEffectiveGrants(t *testing.T) {
	on := func(project string) Assignment { return Assignment{RoleID: "r", UserID: "ann", ProjectID: project} }
	annReads := func(projects ...string) []Grant {
		var grants []Grant
		for _, p := range projects {
			grants = append(grants, Grant{p, "ann", "reader"})
		}
		return grants
	}
	for name, test := range map[string]struct {
		change     func(*KeystoneSnapshot)
		assignment Assignment
		want       []Grant
	}{
		"a user on a project": {nil, on("middle"), annReads("middle")},
		"a group": {nil, Assignment{RoleID: "r", GroupID: "both", ProjectID: "top"},
			[]Grant{{"top", "ann", "reader"}, {"top", "eve", "reader"}}},
		"implied roles, also indirectly": {nil, Assignment{RoleID: "a", UserID: "ann", ProjectID: "top"},
			[]Grant{{"top", "ann", "admin"}, {"top", "ann", "member"}, {"top", "ann", "reader"}}},
		"inherited from a project, so not on the project itself": {nil,
			Assignment{RoleID: "r", UserID: "ann", ProjectID: "top", Inherited: true}, annReads("leaf", "middle")},
		"inherited from a project without child projects": {nil,
			Assignment{RoleID: "r", UserID: "ann", ProjectID: "leaf", Inherited: true}, nil},
		"inherited from a domain": {nil,
			Assignment{RoleID: "r", UserID: "ann", DomainID: "D", Inherited: true}, annReads("leaf", "middle", "top")},
		"on a domain": {nil, Assignment{RoleID: "r", UserID: "ann", DomainID: "D"}, nil},
		"a user of another domain": {nil, Assignment{RoleID: "r", UserID: "eve", ProjectID: "top"},
			[]Grant{{"top", "eve", "reader"}}},
		"circular implied roles": {func(k *KeystoneSnapshot) {
			k.ImpliedRoles = append(k.ImpliedRoles, ImpliedRole{"r", "m"})
		}, on("top"), []Grant{{"top", "ann", "member"}, {"top", "ann", "reader"}}},
		"circular parents of projects": {func(k *KeystoneSnapshot) { k.Projects[0].ParentID = "leaf" },
			Assignment{RoleID: "r", UserID: "ann", ProjectID: "top", Inherited: true}, annReads("leaf", "middle")},
		"only the implied roles of a domain's role": {func(k *KeystoneSnapshot) { k.Roles[1].DomainID = "D" },
			Assignment{RoleID: "m", UserID: "ann", ProjectID: "top"}, annReads("top")},
		"a disabled user": {func(k *KeystoneSnapshot) { k.Users[0].Enabled = false }, on("top"), nil},
		"a user of a disabled domain": {func(k *KeystoneSnapshot) { k.Domains[1].Enabled = false },
			Assignment{RoleID: "r", UserID: "eve", ProjectID: "top"}, nil},
		"a user of an unknown domain":    {func(k *KeystoneSnapshot) { k.Users[0].DomainID = "unknown" }, on("top"), nil},
		"a disabled project":             {func(k *KeystoneSnapshot) { k.Projects[0].Enabled = false }, on("top"), nil},
		"a project of a disabled domain": {func(k *KeystoneSnapshot) { k.Domains[1].Enabled = false }, on("other"), nil},
		"a disabled project inherits nothing": {func(k *KeystoneSnapshot) { k.Projects[2].Enabled = false },
			Assignment{RoleID: "r", UserID: "ann", DomainID: "D", Inherited: true}, annReads("middle", "top")},
		"an unknown user":    {nil, Assignment{RoleID: "r", UserID: "unknown", ProjectID: "top"}, nil},
		"an unknown project": {nil, on("unknown"), nil},
		"an unknown role": {nil, Assignment{RoleID: "unknown", UserID: "ann", ProjectID: "top"},
			nil},
		"an unknown implied role": {func(k *KeystoneSnapshot) {
			k.ImpliedRoles = append(k.ImpliedRoles, ImpliedRole{"r", "unknown"})
		}, on("top"), annReads("top")},
		"an assignment on the system":              {nil, Assignment{RoleID: "r"}, nil},
		"an inherited assignment without a target": {nil, Assignment{RoleID: "r", UserID: "ann", Inherited: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := cloud()
			if test.change != nil {
				test.change(&k)
			}
			k.Assignments = []Assignment{test.assignment}
			assert.ElementsMatch(t, test.want, k.EffectiveGrants())
		})
	}
}
