package tenancy

import (
	"strings"
	"testing"
	"testing/quick"

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
