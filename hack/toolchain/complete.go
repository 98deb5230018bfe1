package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// completeModule returns the folder of a module like that of p, but with a complete copy of versionOf. The copy is in
// the folder `source` of the module, with a relative path, because the path is part of the binaries. The script
// complete runs in the copy. Its argument is the folder parts of the build's folder dir.
func (p programs) completeModule(source, dir string, log *os.File) (string, error) {
	original, err := p.moduleDir(source)
	if err != nil {
		return "", err
	}
	module, err := filepath.Abs(filepath.Join(source, p.module))
	if err != nil {
		return "", err
	}
	env, err := p.goEnv(source)
	if err != nil {
		return "", err
	}
	work := filepath.Join(dir, parts, "module")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", err
	}
	for _, step := range []struct {
		folder string
		args   []string
	}{
		{work, []string{"cp", filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum"), "."}},
		{work, []string{"cp", "--recursive", "--no-preserve=mode", original, "source"}},
		{work, []string{"go", "mod", "edit", "-replace=" + p.versionOf + "=./source"}},
		{filepath.Join(work, "source"), []string{filepath.Join(module, p.complete), filepath.Join(dir, parts)}},
	} {
		cmd := exec.Command(step.args[0], step.args[1:]...)
		cmd.Dir, cmd.Env = step.folder, env
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("%v: %w: its output is in %s", step.args, err, log.Name())
		}
	}
	return work, nil
}
