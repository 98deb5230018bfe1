package main

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// sourceFiles returns the files of the repository that are inputs of its programs, by their paths in the repository.
func (p programs) sourceFiles(source string) ([]string, error) {
	env, err := p.goEnv(source)
	if err != nil {
		return nil, err
	}
	const file = `{{slice $.ImportPath (len $.Module.Path)}}/{{.}}{{"\n"}}`
	const files = `{{if .Module}}{{if .Module.Main}}{{range .GoFiles}}` + file + `{{end}}{{range .EmbedFiles}}` + file +
		`{{end}}{{end}}{{end}}`
	cmd := exec.Command("go", "list", "-deps", "-f", files)
	cmd.Args = append(cmd.Args, slices.Sorted(maps.Values(p.packages))...)
	cmd.Dir, cmd.Env = filepath.Join(source, p.module), env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the source files of the programs in %s: %w: %s", cmd.Dir, err, &stderr)
	}
	found := []string{"go.mod", "go.sum", "hack/toolchain/kubernetes/go.mod"} // the last selects the version of Go
	for _, path := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		found = append(found, strings.TrimPrefix(path, "/"))
	}
	return found, nil
}
