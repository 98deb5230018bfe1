package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"kubernetes-openstack/internal/debian"
)

// variant is mmdebstrap's variant with the packages of every Debian system, but without apt.
const variant = "essential"

// rootfs builds a Debian root filesystem in the folder work and returns it as a tarball. The recipe is described in
// package debian, and its folder is below the programs' module. The recipe's customize also gets the folder of the
// source of versionOf. The result depends on the recipe, on that source and on the current versions of Debian's
// packages.
func (p programs) rootfs(source, recipe, work string, log *os.File) ([]byte, error) {
	module, err := p.moduleDir(source)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	root := filepath.Join(work, "root")
	ctx := context.Background()
	tarball := root + ".tar"
	err = debian.Make(ctx, root, variant, filepath.Join(source, p.module, recipe), nil, log, module)
	if err == nil {
		err = debian.Run(ctx, "", log, "tar", "--create", "--file", tarball, "--format=gnu", "--sort=name", "--mtime=@0",
			"--numeric-owner", "--directory", root, ".")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the output is in %s", err, log.Name())
	}
	return os.ReadFile(tarball)
}

// moduleDir returns the folder of versionOf's source in Go's module cache. It downloads the source if necessary,
// because the build of the programs runs in parallel and may not have downloaded it yet.
func (p programs) moduleDir(source string) (string, error) {
	env, err := p.goEnv(source)
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "mod", "download", "-json", p.versionOf)
	cmd.Dir, cmd.Env = filepath.Join(source, p.module), env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("download the source of %s: %w: %s%s", p.versionOf, err, &stderr, out)
	}
	var module struct{ Dir string }
	return module.Dir, json.Unmarshal(out, &module)
}
