package main

import (
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/mod/modfile"
	"golang.org/x/sync/errgroup"

	"kubernetes-openstack/internal/debian"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

// ensure builds b unless the cache contains the result, installs the result, and removes older results of b. source is
// the folder of this command. Processes that need the same build at the same time wait for each other.
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
	if err := b.install(dir); err != nil {
		return fmt.Errorf("install %s: %w", b.name, err)
	}
	return b.removeOthers(dir)
}

// make builds into a temporary folder beside dir, and renames it to dir when it is complete.
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
	// The root filesystems are built in parallel with the programs, because dpkg uses only one processor.
	baseLayers := make([][]byte, len(b.images))
	var group errgroup.Group
	group.Go(func() error {
		for n, i := range b.images {
			if i.recipe == "" {
				continue
			}
			err := log.Step("build the root filesystem of "+b.name+"/"+i.recipe, func() (err error) {
				baseLayers[n], err = b.programs[0].rootfs(source, i.recipe, filepath.Join(partial, parts), logFile)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		for _, p := range b.programs {
			names, err := p.expand(source, strings.Join(slices.Sorted(maps.Keys(p.packages)), ", "))
			if err != nil {
				return err
			}
			if err := log.Step("build "+names, func() error { return p.compile(source, partial, logFile) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	expand := func(text string) (string, error) { return b.programs[0].expand(source, text) }
	for n, i := range b.images {
		if err := i.write(partial, baseLayers[n], expand); err != nil {
			return fmt.Errorf("image %s: %w", i.name, err)
		}
	}
	if b.archive.path != "" {
		if err := b.archive.write(partial, expand); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(filepath.Join(partial, parts)); err != nil {
		return err
	}
	return os.Rename(partial, dir)
}

// compile builds p below dir. The binaries depend only on p, on its module and, with cgo, on the host's C compiler.
// They do not depend on paths, on the installed version of Go or on the user's settings for Go.
func (p programs) compile(source, dir string, log *os.File) error {
	env, err := p.goEnv(source)
	if err != nil {
		return err
	}
	flags := "-s -w"
	for _, stamp := range p.stamps {
		flags += " -X " + stamp
	}
	if flags, err = p.expand(source, flags); err != nil {
		return err
	}
	compiled := filepath.Join(dir, "compiled") + "/"
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", p.tags, "-ldflags", flags, "-o", compiled)
	cmd.Args = append(cmd.Args, slices.Sorted(maps.Values(p.packages))...)
	cmd.Dir = filepath.Join(source, p.module)
	if p.complete != "" {
		if cmd.Dir, err = p.completeModule(source, dir, log); err != nil {
			return err
		}
	}
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build in %s: %w: its output is in %s", cmd.Dir, err, log.Name())
	}
	folder, err := p.expand(source, p.folder)
	if err != nil {
		return err
	}
	for name, pkg := range p.packages {
		path, err := p.expand(source, filepath.Join(dir, folder, name))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(compiled, binaryName(pkg)), path); err != nil {
			return err
		}
	}
	return os.Remove(compiled)
}

// goFlags make the compiler write the same bytes in every folder, without debug information. The Makefile and `env` set
// the same GOFLAGS and CGO_ENABLED, so a package that several programs and tests import is compiled only once.
const goFlags = "-trimpath -gcflags=all=-dwarf=false"

// goEnv returns the environment for `go` commands in the module of p. The toolchain line of the module's go.mod selects
// the version of Go. The repository's go.mod has no such line, so its programs are built with the Go of the module
// kubernetes.
func (p programs) goEnv(source string) ([]string, error) {
	selector := p
	if p.module == repository {
		selector = kubernetes.programs[0]
	}
	mod, err := selector.goMod(source)
	if err != nil {
		return nil, err
	}
	if mod.Toolchain == nil {
		return nil, fmt.Errorf("%s: must have a toolchain line, which selects the version of Go", mod.Syntax.Name)
	}
	env := append(os.Environ(),
		"GOTOOLCHAIN="+mod.Toolchain.Name,
		"GOFLAGS="+goFlags, // set, because an empty GOFLAGS means the value of `go env -w`
		"GOWORK=off",
		"GOEXPERIMENT=",
		"GOFIPS140=off",
		"CGO_ENABLED=0",
		"GOOS=linux",
		"GOARCH="+runtime.GOARCH,
		"GOAMD64=v1",
		// With the default of 100, the compiler spends a third of its time in garbage collection. The memory limit
		// makes it collect more often when memory is short.
		"GOGC=400",
		"GOMEMLIMIT=3GiB",
	)
	if p.cgo {
		env = append(env, "CGO_ENABLED=1", "CC=gcc", "CGO_CFLAGS=-O2", "CGO_LDFLAGS=-O2", "PKG_CONFIG=pkg-config")
	}
	return env, nil
}

var majorVersion = regexp.MustCompile(`/v[0-9]+$`)

// binaryName returns the file name that `go build` gives the program of a package.
func binaryName(pkg string) string { return path.Base(majorVersion.ReplaceAllString(pkg, "")) }

// expand replaces {version}, {major}, {minor} and {arch} in text.
func (p programs) expand(source, text string) (string, error) {
	text = strings.ReplaceAll(text, "{arch}", runtime.GOARCH)
	version, err := p.programVersion(source)
	if err != nil || version == "" {
		return text, err
	}
	part := strings.SplitN(version, ".", 3)
	return strings.NewReplacer("{version}", version, "{major}", part[0], "{minor}", part[1]).Replace(text), nil
}

// programVersion returns the version of the programs, or "" if they have none.
func (p programs) programVersion(source string) (string, error) {
	if p.version != "" || p.versionOf == "" {
		return p.version, nil
	}
	mod, err := p.goMod(source)
	if err != nil {
		return "", err
	}
	for _, require := range mod.Require {
		if require.Mod.Path == p.versionOf {
			return strings.TrimPrefix(require.Mod.Version, "v"), nil
		}
	}
	return "", fmt.Errorf("%s: must require %s, which gives the programs their version", mod.Syntax.Name, p.versionOf)
}

// goMod returns the go.mod of the programs' module.
func (p programs) goMod(source string) (*modfile.File, error) {
	path := filepath.Join(source, p.module, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(path, text, nil)
}

// buildCode contains the files of this package that determine the results of builds.
//
//go:embed build.go complete.go image.go pack.go rootfs.go
var buildCode embed.FS

// key returns a short hash of all inputs of b. It does not depend on other builds.
func (b build) key(source string) (string, error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %+v %+v %+v", runtime.GOARCH, b.programs, b.images, b.archive)
	add := func(files fs.FS, root string) error {
		return fs.WalkDir(files, root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := fs.ReadFile(files, path)
			fmt.Fprintf(hash, "%s %d\n%s", path, len(text), text)
			return err
		})
	}
	code := []string{"build.go"}
	if b.archive.path != "" {
		code = append(code, "pack.go")
	}
	if len(b.images) > 0 {
		code = append(code, "image.go", "pack.go")
	}
	for _, file := range code {
		if err := add(buildCode, file); err != nil {
			return "", err
		}
	}
	for _, i := range b.images {
		if i.recipe != "" {
			fmt.Fprint(hash, debian.Command(variant))
			if err := add(buildCode, "rootfs.go"); err != nil {
				return "", err
			}
		}
		for _, file := range i.hostFiles() {
			if err := add(os.DirFS("/"), strings.TrimPrefix(file, "/")); err != nil {
				return "", fmt.Errorf("install the packages of hack/devcloud/host-packages: %w", err)
			}
		}
	}
	seen := map[string]bool{}
	for _, p := range b.programs {
		if p.complete != "" {
			if err := add(buildCode, "complete.go"); err != nil {
				return "", err
			}
		}
		if p.cgo {
			compiler, err := exec.Command("gcc", "--version").Output()
			if err != nil {
				return "", fmt.Errorf("install the packages of hack/devcloud/host-packages: gcc: %w", err)
			}
			hash.Write(compiler)
		}
		if seen[p.module] {
			continue
		}
		seen[p.module] = true
		files := []string{"."}
		if p.module == repository {
			var err error
			if files, err = p.sourceFiles(source); err != nil {
				return "", err
			}
		}
		for _, file := range files {
			if err := add(os.DirFS(filepath.Join(source, p.module)), file); err != nil {
				return "", err
			}
		}
	}
	return fmt.Sprintf("%x", hash.Sum(nil))[:12], nil
}

// lock makes this process the only one that builds b. The kernel releases the lock when the process ends, even if the
// process is killed.
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

// removeOthers removes all results of b except dir. It also removes incomplete ones.
func (b build) removeOthers(dir string) error {
	// The pattern of the build kubernetes does not match kubernetes-openstack-….
	key := "-" + strings.Repeat("[0-9a-f]", 12)
	others, err := filepath.Glob(dirs.Cache("toolchain", b.name+key+"*"))
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
