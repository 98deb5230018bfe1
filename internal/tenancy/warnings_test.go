package tenancy

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/field"
)

func TestWarnings(t *testing.T) {
	warnings := func(k KeystoneSnapshot, m Mapping) []field.Error {
		s := settings()
		s.Mapping = m
		plan, err := NewPlan(k, s, nil)
		require.NoError(t, err)
		return plan.Warnings
	}
	assert.Empty(t, warnings(example(t), Mapping{}))
	assert.Equal(t, []field.Error{
		{Path: "roles[developer]", Message: "Keystone has no role with this name"}, // only a domain has one
		{Path: "roles[mmember]", Message: "Keystone has no role with this name"},
		{Path: "exclude[1]", Message: "Keystone has no project service"},
	}, warnings(example(t), Mapping{
		Roles:   map[string]Access{"mmember": Edit, "reader": View, "developer": Edit},
		Exclude: []string{"shop@Default", "service"},
	}))

	// incomplete lists
	k := example(t)
	k.Domains, k.Projects, k.Users, k.Groups, k.Roles = k.Domains[:1], k.Projects[1:], k.Users[1:], nil, k.Roles[1:]
	k.Projects[1].ParentID = ""
	named := func(ids string) string {
		return "IDs that are not in Keystone's lists give no access: " + ids
	}
	assert.Equal(t, []field.Error{
		{Path: "implied_roles", Message: named("1, such as 40000000000000000000000000000001")},
		{Path: "projects", Message: named("2, such as 3f2a9c1d5e6b4a7f8c9d0e1f2a3b4c5d")}, // a parent and a domain
		{Path: "role_assignments", Message: named("4, such as 0a11ce00000000000000000000000000")},
		{Path: "users", Message: named("1, such as 5ba0c0dbd4f84e8ab6a5ca1ba8e1e06c")},
		{Path: "roles[reader]", Message: "Keystone has no role with this name"},
	}, warnings(k, Mapping{}))
	k = example(t)
	k.Groups[0].Users = []string{"unknown"}
	assert.Equal(t, []field.Error{{Path: "groups", Message: named("1, such as unknown")}}, warnings(k, Mapping{}))
}
