package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

// tinyBuild returns a build of one small module in an empty cache. *installed is the folder of its last result.
func tinyBuild(t *testing.T) (source string, b build, installed *string) {
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	require.NoError(t, err)
	t.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	source, installed = t.TempDir(), new(string)
	write(t, filepath.Join(source, "tiny", "go.mod"),
		"module tiny\n\ngo 1.26\n\ntoolchain go1.26.8\n\nrequire example.com/of v1.2.3\n")
	write(t, filepath.Join(source, "tiny", "main.go"),
		"package main\n\nvar version string\n\nfunc main() { println(version) }\n")
	b = build{
		name: "tiny",
		programs: []programs{{
			module:    "tiny",
			packages:  map[string]string{"tiny": "tiny"},
			folder:    "bin-v{version}",
			versionOf: "example.com/of",
			stamps:    []string{"main.version={version}"},
		}},
		install: func(dir string) error { *installed = dir; return nil },
	}
	return source, b, installed
}

// write writes a file and creates the folders above it.
func write(t *testing.T, path, text string) {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestBuildRunsOnceForTheSameInputs(t *testing.T) {
	source, b, installed := tinyBuild(t)
	var out bytes.Buffer
	log := progress.New(&out, "test")
	var parallel errgroup.Group
	for range 4 {
		parallel.Go(func() error {
			other := b
			other.install = func(string) error { return nil }
			return other.ensure(source, log)
		})
	}
	require.NoError(t, parallel.Wait())
	require.NoError(t, b.ensure(source, log))
	require.Equal(t, 1, strings.Count(out.String(), "build tiny …"), out.String())
	version, err := exec.Command(filepath.Join(*installed, "bin-v1.2.3", "tiny")).CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "1.2.3\n", string(version))

	// The next build removes the remains of a killed build and older results.
	first := *installed
	write(t, filepath.Join(dirs.Cache("toolchain", "tiny-0123456789ab.partial"), "half"), "")
	write(t, filepath.Join(dirs.Cache("toolchain", "tiny-other-0123456789ab"), "file"), "") // of another build
	write(t, filepath.Join(source, "tiny", "more.go"), "package main\n")
	require.NoError(t, b.ensure(source, log))
	require.NotEqual(t, first, *installed)
	remaining, err := filepath.Glob(dirs.Cache("toolchain", "tiny-*"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{*installed, dirs.Cache("toolchain", "tiny-other-0123456789ab")}, remaining)
}

func TestFailedBuildNamesItsLogAndKeepsThePreviousResult(t *testing.T) {
	source, b, installed := tinyBuild(t)
	log := progress.New(new(bytes.Buffer), "test")
	require.NoError(t, b.ensure(source, log))
	write(t, filepath.Join(source, "tiny", "more.go"), "package main\n\nvar x undefined\n")

	logFile := dirs.Cache("toolchain", "tiny.log")
	require.ErrorContains(t, b.ensure(source, log), logFile)
	text, err := os.ReadFile(logFile)
	require.NoError(t, err)
	require.Contains(t, string(text), "undefined: undefined")
	require.DirExists(t, *installed)
}

// The key of the repository's own programs changes with their source files, and with no other file of the repository.
func TestKeyDependsOnlyOnSourceFiles(t *testing.T) {
	repo := t.TempDir()
	source := filepath.Join(repo, "hack", "toolchain")
	write(t, filepath.Join(source, "kubernetes", "go.mod"), "module kubernetes\n\ngo 1.26\n\ntoolchain go1.26.8\n")
	write(t, filepath.Join(repo, "go.mod"), "module repo\n\ngo 1.26\n")
	write(t, filepath.Join(repo, "go.sum"), "")
	write(t, filepath.Join(repo, "program", "main.go"), "package main\n\nimport _ \"repo/part\"\n\nfunc main() {}\n")
	write(t, filepath.Join(repo, "part", "part.go"),
		"package part\n\nimport _ \"embed\"\n\n//go:embed text\nvar text string\n")
	b := build{name: "ours",
		programs: []programs{{module: repository, packages: map[string]string{"program": "./program"}}}}
	last := ""
	for _, step := range []struct {
		file, text string
		changes    bool
	}{
		{"part/text", "embedded", true},
		{"README.md", "text", false},
		{"other/main.go", "package main\n", false},
		{"part/part_test.go", "package part\n", false},
		{"part/part_windows.go", "package part\n", false},
		{"part/text", "changed", true},
		{"part/more.go", "package part\n", true},
		{"program/main.go", "package main\n\nfunc main() {}\n", true},
		{"part/more.go", "package part\n\nvar more int\n", false}, // no longer imported
		{"go.sum", "\n", true},
		{"go.mod", "module repo\n\ngo 1.26.0\n", true},
		{"hack/toolchain/kubernetes/go.mod", "module kubernetes\n\ngo 1.26.0\n\ntoolchain go1.26.8\n", true},
	} {
		write(t, filepath.Join(repo, step.file), step.text)
		key, err := b.key(source)
		require.NoError(t, err)
		require.Equal(t, step.changes, key != last, step)
		last = key
	}
}
