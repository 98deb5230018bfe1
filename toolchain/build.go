package main

import (
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/mod/modfile"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

// ensure builds b from source, this command's folder, unless the cache has it, puts it to use, and removes what it
// supersedes. Commands that run at the same time wait for each other.
func (b build) ensure(source string, log *progress.Log) error {
	key, err := b.key(source)
	if err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	unlock, err := b.lock(log)
	if err != nil {
		return err
	}
	defer unlock()
	dir := dirs.Cache("toolchain", b.name+"-"+key)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := b.make(source, dir, log); err != nil {
			return err
		}
	}
	if err := b.place(dir); err != nil {
		return fmt.Errorf("place %s: %w", b.name, err)
	}
	return b.removeOthers(dir)
}

// make builds into a folder beside dir, which gets dir's name when it is complete.
func (b build) make(source, dir string, log *progress.Log) error {
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	logFile, err := os.Create(dirs.Cache("toolchain", b.name+".log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	for _, p := range b.programs {
		compile := func() error { return p.compile(source, partial, logFile) }
		if err := log.Step("build "+filepath.Base(p.path), compile); err != nil {
			return err
		}
	}
	if b.pack != "" {
		folder, err := b.programs[0].expand(source, b.pack)
		if err != nil {
			return err
		}
		if err := pack(filepath.Join(partial, folder)); err != nil {
			return err
		}
	}
	return os.Rename(partial, dir)
}

// compile builds p below dir. What it makes depends on p and its module alone: not on the machine's folders, its Go or
// the user's settings for Go.
func (p program) compile(source, dir string, log *os.File) error {
	mod, err := p.goMod(source)
	if err != nil {
		return err
	}
	path, err := p.expand(source, p.path)
	if err != nil {
		return err
	}
	stamp, err := p.expand(source, p.stamp)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X "+stamp,
		"-o", filepath.Join(dir, path), p.pkg)
	cmd.Dir = filepath.Join(source, p.module)
	cmd.Env = append(os.Environ(),
		"GOTOOLCHAIN="+mod.Toolchain.Name,
		"GOFLAGS=-mod=readonly", // empty would let `go env -w` have its way
		"GOWORK=off",
		"GOEXPERIMENT=",
		"GOFIPS140=off",
		"CGO_ENABLED=0",
		"GOOS=linux",
		"GOARCH="+runtime.GOARCH,
		"GOAMD64=v1",
	)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s in %s: %w: see %s", p.pkg, cmd.Dir, err, log.Name())
	}
	return nil
}

// expand fills in the version and the architecture.
func (p program) expand(source, text string) (string, error) {
	mod, err := p.goMod(source)
	if err != nil {
		return "", err
	}
	for _, require := range mod.Require {
		if require.Mod.Path == p.versionOf {
			version := strings.TrimPrefix(require.Mod.Version, "v")
			return strings.NewReplacer("{version}", version, "{arch}", runtime.GOARCH).Replace(text), nil
		}
	}
	return "", fmt.Errorf("%s requires no %s", mod.Syntax.Name, p.versionOf)
}

// goMod is the go.mod of the program's module.
func (p program) goMod(source string) (*modfile.File, error) {
	path := filepath.Join(source, p.module, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	mod, err := modfile.Parse(path, text, nil)
	if err == nil && mod.Toolchain == nil {
		err = fmt.Errorf("%s has no toolchain line: it says which Go builds the module", path)
	}
	return mod, err
}

// The files here that decide what a build becomes.
//
//go:embed build.go builds.go pack.go
var recipe embed.FS

// key is a short hash of all that b is built from.
func (b build) key(source string) (string, error) {
	hash := sha256.New()
	add := func(files fs.FS) error {
		return fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := fs.ReadFile(files, path)
			fmt.Fprintf(hash, "%s %d\n%s", path, len(text), text)
			return err
		})
	}
	fmt.Fprintln(hash, runtime.GOARCH)
	if err := add(recipe); err != nil {
		return "", err
	}
	seen := map[string]bool{}
	for _, p := range b.programs {
		if seen[p.module] {
			continue
		}
		seen[p.module] = true
		if err := add(os.DirFS(filepath.Join(source, p.module))); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", hash.Sum(nil))[:12], nil
}

// lock makes this process the only one that builds b. The lock ends with the process, however that ends.
func (b build) lock(log *progress.Log) (unlock func() error, err error) {
	path := dirs.Cache("toolchain", b.name+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		log.Printf("wait for another process that builds %s …", b.name)
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file.Close, nil
}

// removeOthers removes what was built of b before dir, complete or not.
func (b build) removeOthers(dir string) error {
	others, err := filepath.Glob(dirs.Cache("toolchain", b.name+"-*"))
	if err != nil {
		return err
	}
	for _, other := range others {
		if other == dir {
			continue
		}
		if err := os.RemoveAll(other); err != nil {
			return err
		}
	}
	return nil
}
