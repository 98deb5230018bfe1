package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

//go:embed image
var imageRecipe embed.FS

// Image builds the machines' Debian 12 image, unless the cache has it, and returns its path: a squashfs of one root
// filesystem with cloud-init, made from the recipe in image/.
func Image(ctx context.Context, log *progress.Log) (path string, err error) {
	return squashfs(ctx, log, "image", imageRecipe)
}

// debootstrap is the command that installs a recipe's packages. Its process namespace ends with it, whatever ends it;
// its mounts are nobody else's.
var debootstrap = []string{
	"unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc",
	"mmdebstrap", "--mode=root", "--variant=apt",
	"--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\"",
	"--dpkgopt=force-unsafe-io",
	"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/info/*",
	"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
}

// squashfs builds a Debian 12 root filesystem, unless the cache has it, and returns the path of its squashfs,
// devcloud/<name>-<key>.sqfs below the cache; it removes those of other keys. The recipe's folder, named like the root
// filesystem, has
//
//	packages   Debian packages, one per line, with # comments
//	files/     a tree that is copied over the root (optional)
//	customize  a shell script that gets the root's path and runs last
//
// Packages come from where the machine's own apt gets Debian's; more are in addition to the recipe's.
func squashfs(ctx context.Context, log *progress.Log, name string, recipe embed.FS, more ...string) (path string, err error) {
	content, err := fs.Sub(recipe, name)
	if err != nil {
		return "", err
	}
	key, err := recipeKey(content, more)
	if err != nil {
		return "", err
	}
	// The cache is shared by all state folders.
	unlock, err := lock(dirs.Cache("devcloud", name+".lock"), func() { log.Printf("waiting for another build of %s …", name) })
	if err != nil {
		return "", err
	}
	defer unlock()
	path = dirs.Cache("devcloud", name+"-"+key+".sqfs")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	work := dirs.Cache("devcloud", name+".build") // a fixed name, so that the next build removes a killed one's
	if err := os.RemoveAll(work); err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	err = log.Step("build "+filepath.Base(path), func() error {
		return build(ctx, content, more, work, path)
	})
	if err != nil {
		return "", err
	}
	all, err := filepath.Glob(dirs.Cache("devcloud", name+"-*"))
	for _, old := range all {
		if !strings.Contains(old, key) {
			err = os.Remove(old)
		}
	}
	return path, err
}

// recipeKey is a short hash of all that a root filesystem is built from, the mirror's current packages excepted.
func recipeKey(recipe fs.FS, more []string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, debootstrap, more)
	err := fs.WalkDir(recipe, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(recipe, path)
		fmt.Fprintf(hash, "%s %d\n%s", path, len(content), content)
		return err
	})
	return hex.EncodeToString(hash.Sum(nil))[:12], err
}

// build makes the squashfs at path out of a recipe, in the folder work; its output goes to <path>.log.
func build(ctx context.Context, recipe fs.FS, more []string, work, path string) error {
	root := filepath.Join(work, "root")
	if err := os.CopyFS(work, recipe); err != nil {
		return err
	}
	packages, err := packageList(recipe)
	if err != nil {
		return err
	}
	sources, options, err := hostApt(ctx)
	if err != nil {
		return err
	}
	aptOptions := filepath.Join(work, "apt.conf")
	if err := os.WriteFile(aptOptions, options, 0o644); err != nil {
		return err
	}

	logPath := strings.TrimSuffix(path, filepath.Ext(path)) + ".log"
	output, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer output.Close()
	run := func(stdin string, command ...string) error {
		c := exec.CommandContext(ctx, command[0], command[1:]...)
		c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), output, output
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s: %w, see %s", filepath.Base(command[0]), err, logPath)
		}
		return nil
	}
	err = run(sources, append(debootstrap[:len(debootstrap):len(debootstrap)],
		"--include="+strings.Join(append(packages, more...), ","), "--aptopt="+aptOptions, "bookworm", root, "-")...)
	if err != nil {
		return err
	}
	if _, err := fs.Stat(recipe, "files"); err == nil {
		if err := run("", "cp", "-r", filepath.Join(work, "files")+"/.", root); err != nil {
			return err
		}
	}
	if err := run("", "sh", filepath.Join(work, "customize"), root); err != nil {
		return err
	}
	part := filepath.Join(work, filepath.Base(path))
	if err := run("", "mksquashfs", root, part, "-comp", "zstd", "-Xcompression-level", "3", "-no-progress"); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// packageList is a recipe's packages.
func packageList(recipe fs.FS) ([]string, error) {
	content, err := fs.ReadFile(recipe, "packages")
	if err != nil {
		return nil, err
	}
	var packages []string
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		packages = append(packages, strings.Fields(line)...)
	}
	return packages, nil
}

// hostApt asks the machine's apt where it gets Debian 12 from, and how: its sources as lines of a sources.list, and
// those of its options that such a mirror may need.
func hostApt(ctx context.Context) (sources string, options []byte, err error) {
	targets, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
		"Created-By: Packages", "Origin: Debian").Output()
	if err != nil {
		return "", nil, fmt.Errorf("apt-get indextargets: %w", err)
	}
	for _, target := range strings.Split(string(targets), "\n") {
		if _, suite, _ := strings.Cut(target, " "); strings.HasPrefix(suite, "bookworm") {
			sources += "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " + target + "\n"
		}
	}
	if sources == "" {
		return "", nil, fmt.Errorf("apt knows no source of Debian 12 (bookworm): is its package list empty? apt-get update fills it")
	}
	options, err = exec.CommandContext(ctx, "apt-config", "dump",
		"Acquire::http", "Acquire::https", "Acquire::Check-Date", "Acquire::Check-Valid-Until").Output()
	if err != nil {
		return "", nil, fmt.Errorf("apt-config dump: %w", err)
	}
	return sources, options, nil
}
