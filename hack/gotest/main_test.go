package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = `module example.com/m

go 1.26
`

const tests = `package m

import (
	"os"
	"testing"
	"time"
)

func TestFine(t *testing.T) {
	t.Log("not printed")
	t.Run("half a second/of it", func(t *testing.T) { time.Sleep(500 * time.Millisecond) })
}

func TestBad(t *testing.T) {
	t.Run("part", func(t *testing.T) { t.Error("the reason") })
}

func TestCrash(t *testing.T) {
	if os.Getenv("CRASH") != "" {
		println("before the crash")
		os.Exit(3)
	}
}

func TestSkipped(t *testing.T) { t.Skip() }

func TestParallel(t *testing.T) {
	t.Run("rows", func(t *testing.T) {
		for _, row := range []string{"a", "b"} {
			t.Run(row, func(t *testing.T) {
				t.Parallel()
				t.Run("half a second", func(t *testing.T) { time.Sleep(500 * time.Millisecond) })
			})
		}
	})
}
`

// TestSameOutputAsGoTest checks that gotest prints the same failures as go test, ends with its exit code,
// and records the seconds of tests.
func TestSameOutputAsGoTest(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "gotest")
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	for name, text := range map[string]string{
		"go.mod": module, "m_test.go": tests, "none/none.go": "package none\n",
		"broken/broken_test.go": "package broken\n\nvar x int = nothing\n",
	} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	steps := filepath.Join(dir, "steps")
	gotest := func(code int, env string, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "STEPS="+steps, env)
		out, _ := cmd.CombinedOutput()
		assert.Equal(t, code, cmd.ProcessState.ExitCode(), string(out))
		return regexp.MustCompile(`\d+\.\d+s`).ReplaceAllString(string(out), "0s")
	}

	assert.Equal(t, "ok  \texample.com/m\t0s\n?   \texample.com/m/none\t[no test files]\n",
		gotest(0, "X=", "-run", "Fine|Parallel", "-parallel=2", "-count=1", ".", "./none"))
	text, err := os.ReadFile(steps)
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^ +0\.[5-9]  example\.com/m  TestFine/half_a_second/of_it$`, string(text))
	assert.Regexp(t, `(?m)^ +0\.0  example\.com/m  TestFine$`, string(text))
	for _, row := range []string{"a", "b"} {
		assert.Regexp(t, `(?m)^ +0\.[5-9]  example\.com/m  TestParallel/rows/`+row+`/half_a_second$`, string(text))
	}
	assert.Regexp(t, `(?m)^ +0\.0  example\.com/m  TestParallel$`, string(text))

	failed := gotest(1, "X=", ".", "./none", "./broken")
	for _, line := range []string{
		"broken/broken_test.go:3:13: undefined: nothing", "FAIL\texample.com/m/broken [build failed]",
		"?   \texample.com/m/none\t[no test files]",
		"    m_test.go:15: the reason", "--- FAIL: TestBad (0s)", "    --- FAIL: TestBad/part (0s)",
		"FAIL\texample.com/m\t0s", "FAIL",
	} {
		assert.Contains(t, strings.Split(failed, "\n"), line)
	}
	failed = gotest(1, "CRASH=yes", ".")
	assert.Contains(t, failed, "before the crash")
	assert.Contains(t, failed, "FAIL\texample.com/m\t0s\nFAIL\n")
	assert.Contains(t, gotest(0, "X=", "-v", "-run", "Skipped", "."),
		"=== RUN   TestSkipped\n    m_test.go:25: \n--- SKIP: TestSkipped (0s)\nPASS\nok  ")
}
