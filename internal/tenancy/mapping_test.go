package tenancy

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestMembers checks that a user is one member for each mapped role, because a token may contain any of them.
func TestMembers(t *testing.T) {
	m := Mapping{Roles: map[string]Access{"a": Admin, "b": View, "c": Edit}}
	assert.Equal(t, map[string][]Member{
		"p": {{"u", "a", Admin}, {"u", "b", View}, {"v", "c", Edit}},
		"q": {{"u", "b", View}},
	}, m.members([]Grant{
		{"p", "u", "a"}, {"p", "u", "b"}, {"p", "u", "other"}, {"p", "v", "c"}, {"q", "u", "b"}, {"q", "v", "other"},
	}))
	assert.Empty(t, m.members([]Grant{{"p", "u", "reader"}}), "reader is mapped only by default")
	assert.Equal(t, map[string][]Member{"p": {{"u", "reader", View}}},
		Mapping{}.members([]Grant{{"p", "u", "reader"}, {"p", "u", "other"}}))
}
