// Package unchanged skips slow tests if their inputs have not changed since the tests passed.
package unchanged

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"kubernetes-openstack/internal/dirs"
)

// Skip skips a test that has passed with the same inputs, unless the environment variable ALL is set. The
// inputs are three groups of files. The first is the source of the test's package and of packages, which are
// patterns for `go list`, with all their imports in this repository. The second is files, which are paths of
// files and folders in the repository. The third is the keys of the builds of toolchain and devcloud.
func Skip(t testing.TB, root string, packages, files []string) {
	t.Helper()
	inputs, err := inputs(root, packages, files)
	if err != nil {
		t.Fatal(err)
	}
	passed := dirs.Cache("passed", t.Name())
	before, _ := os.ReadFile(passed)
	if os.Getenv("ALL") == "" && string(before) == inputs {
		t.Skip("its inputs have not changed since it passed; ALL=1 runs it")
	}
	if err := os.RemoveAll(passed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		if err := os.MkdirAll(filepath.Dir(passed), 0o755); err != nil {
			t.Error(err)
		} else if err := os.WriteFile(passed, []byte(inputs), 0o644); err != nil {
			t.Error(err)
		}
	})
}

// compiled is a template for `go list` that prints one line for each file of this repository that a package
// is built from.
const compiled = `{{with .Module}}{{if .Main}}{{with $}}{{range .GoFiles}}{{$.Dir}}/{{.}}
{{end}}{{range .EmbedFiles}}{{$.Dir}}/{{.}}
{{end}}{{end}}{{end}}{{end}}`

// inputs returns a hash of all inputs.
func inputs(root string, packages, files []string) (string, error) {
	paths := map[string]bool{}
	for _, args := range [][]string{{"-test", "."}, packages} { // the tests of other packages do not count
		list := exec.Command("go", append([]string{"list", "-tags", "e2e", "-deps", "-f", compiled}, args...)...)
		list.Stderr = os.Stderr
		out, err := list.Output()
		if err != nil {
			return "", fmt.Errorf("%s: %w", list, err)
		}
		for path := range strings.FieldsSeq(string(out)) {
			if !strings.Contains(path, "//") { // otherwise it is the main function that go generates in its cache
				paths[path] = true
			}
		}
	}
	for _, file := range append(files, "go.mod", "go.sum") {
		err := filepath.WalkDir(filepath.Join(root, file), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				paths[path] = true
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version())
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %x\n", path, sha256.Sum256(content))
	}
	for _, pattern := range []string{dirs.Cache("toolchain", "*-????????????"), dirs.Cache("devcloud", "*.sqfs")} {
		keys, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(hash, keys)
	}
	return fmt.Sprintf("%x\n", hash.Sum(nil)), nil
}
