package tenancy

import (
	"strings"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUsername checks that two users never have the same name, and that no name begins with system:.
func TestUsername(t *testing.T) {
	check := func(a, b string) bool {
		return !strings.HasPrefix(Username(a), "system:") && (Username(a) == Username(b)) == (a == b)
	}
	require.True(t, check("system:masters", "") && check("", ""))
	require.NoError(t, quick.Check(check, nil))
}

// TestGroup checks that groups of different users, projects or roles differ, even if the names of roles contain
// colons.
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
	// this is why KeystoneSnapshot.Validate refuses a colon in an ID
	assert.Equal(t, Group("p", "u:v", "w"), Group("p", "u", "v:w"))
}
