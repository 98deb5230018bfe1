package turns

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// Patience multiplies the timeouts of steps. A timeout only ends a step that hangs, and on slow machines a step needs
// several times as long as on fast ones.
const Patience = 4

// SkipLate skips the rest of a suite before a step that would begin too late: after the Unix time in the environment
// variable E2E_UNTIL. It appends the suite and the step to the file in E2E_SKIPPED. .ci/run sets both variables,
// because CI's time is limited. Without E2E_UNTIL it does nothing.
func SkipLate(t testing.TB, step string) {
	t.Helper()
	until, skipped := os.Getenv("E2E_UNTIL"), os.Getenv("E2E_SKIPPED")
	if until == "" {
		return
	}
	seconds, err := strconv.ParseInt(until, 10, 64)
	if err != nil {
		t.Fatalf("E2E_UNTIL: must be a Unix time in seconds, got %q", until)
	}
	if time.Now().Before(time.Unix(seconds, 0)) {
		return
	}
	file, err := os.OpenFile(skipped, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintf(file, "%s: %s\n", t.Name(), step)
	}
	if err != nil {
		t.Fatalf("E2E_SKIPPED: must be the path of a writable file: %v", err)
	}
	file.Close()
	t.Skipf("no time is left for the step %q and all later ones of this suite", step)
}
