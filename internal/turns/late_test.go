package turns

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSkipLate checks that a suite ends before the first step that is too late, and that the file names the step.
func TestSkipLate(t *testing.T) {
	for name, test := range map[string]struct {
		until   string
		skipped string
	}{
		"no limit":  {"", ""},
		"time left": {strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10), ""},
		"too late":  {strconv.FormatInt(time.Now().Add(-time.Second).Unix(), 10), "TestSkipLate/too_late/suite: first\n"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "skipped")
			t.Setenv("E2E_UNTIL", test.until)
			t.Setenv("E2E_SKIPPED", file)
			var done []string
			t.Run("suite", func(t *testing.T) {
				for _, step := range []string{"first", "second"} {
					SkipLate(t, step)
					done = append(done, step)
				}
			})
			out, err := os.ReadFile(file)
			if test.skipped == "" {
				require.ErrorIs(t, err, os.ErrNotExist)
				require.Equal(t, []string{"first", "second"}, done)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.skipped, string(out))
			require.Empty(t, done)
		})
	}
}
