// Package golden compares texts with files in testdata.
package golden

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Check compares got with testdata/FILE of the test's package. If UPDATE_GOLDEN is set, it writes the file instead.
func Check(t testing.TB, file, got string) {
	t.Helper()
	file = "testdata/" + file
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run with UPDATE_GOLDEN=1 if the change is intended")
}
