package tenancy

import (
	"strings"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Two users are never one, and none is one of those that Kubernetes trusts by their names.
func TestUsername(t *testing.T) {
	check := func(a, b string) bool {
		return !strings.HasPrefix(Username(a), "system:") && (Username(a) == Username(b)) == (a == b)
	}
	require.True(t, check("system:masters", "") && check("", ""))
	require.NoError(t, quick.Check(check, nil))
}

// A role of one user on one project is never another, whatever colons the names of roles have in them.
func TestGroup(t *testing.T) {
	assert.Equal(t, "keystone:p:u:member", Group("p", "u", "member"))
	seen, ids := map[string]bool{}, []string{"a", "b", "ab", "system"}
	for _, project := range ids {
		for _, user := range ids {
			for _, role := range append(ids, ":", "a:b", "b:a", ":a", "a:", "a:a:b", "system:masters") {
				group := Group(project, user, role)
				assert.False(t, seen[group] || strings.HasPrefix(group, "system:"), group)
				seen[group] = true
			}
		}
	}
	// which is why World.Validate refuses a colon in an ID
	assert.Equal(t, Group("p", "u:v", "w"), Group("p", "u", "v:w"))
}
