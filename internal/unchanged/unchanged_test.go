package unchanged

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/dirs"
)

// suite is a testing.TB that records whether Skip skipped it.
type suite struct {
	testing.TB
	failed, skipped bool
	cleanups        []func()
}

func (s *suite) Name() string     { return "TestSuite" }
func (s *suite) Failed() bool     { return s.failed }
func (s *suite) Skipped() bool    { return s.skipped }
func (s *suite) Skip(...any)      { s.skipped = true; panic(s) }
func (s *suite) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

// TestSkip checks that a suite is skipped until one of its inputs changes, and that it always runs again
// after a failure.
func TestSkip(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv("ALL", "")
	write := func(name, text string) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	write("go.mod", "module example.com/m\n\ngo 1.26\n")
	write("go.sum", "")
	write("m_test.go", "//go:build e2e\n\npackage m\n\nimport _ \"embed\"\n\n//go:embed template\nvar text string\n")
	write("template", "a template")
	write("other/other.go", "package main\n\nimport \"example.com/m/deep\"\n\nfunc main() { deep.F() }\n")
	write("other/other_test.go", "package main\n")
	write("deep/deep.go", "package deep\n\nfunc F() {}\n")
	write("testdata/old", "a file")
	write("README.md", "text")

	runs := func(fails bool) bool {
		t.Helper()
		s := &suite{TB: t, failed: fails}
		func() {
			defer func() { assert.Contains(t, []any{nil, s}, recover()) }()
			Skip(s, ".", []string{"./other"}, []string{"testdata"})
		}()
		for _, cleanup := range slices.Backward(s.cleanups) {
			cleanup()
		}
		return !s.skipped
	}
	assert.True(t, runs(false))
	write("README.md", "another text")
	write("other/other_test.go", "package main\n\nvar x int\n")
	assert.False(t, runs(false), "no input changed")
	for name, text := range map[string]string{
		"template":     "another template",
		"deep/deep.go": "package deep\n\nfunc F() { println(1) }\n",
		"testdata/new": "",
		dirs.Cache("toolchain", "etcd-0123456789ab", "etcd"): "",
	} {
		write(name, text)
		assert.True(t, runs(false), name)
	}
	t.Setenv("ALL", "1")
	assert.True(t, runs(true))
	t.Setenv("ALL", "")
	assert.True(t, runs(false), "it failed")
	assert.False(t, runs(false))
}
