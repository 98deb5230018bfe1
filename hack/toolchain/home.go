package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/files"
)

// home is PULUMI_HOME or a path in it. Pulumi writes there (logs, the chosen stack of each project, credentials), and
// a rebuild must not lose that: so it is state, and only bin and plugins are links to what is built in the cache.
func home(elem ...string) string {
	return dirs.State(append([]string{"pulumi-home"}, elem...)...)
}

// linkHome places a built folder as this name in PULUMI_HOME.
func linkHome(name string) func(dir string) error {
	return func(dir string) error {
		return files.Replace(home(name), func(link string) error { return os.Symlink(dir, link) })
	}
}

// linkTool places a built folder in the mirror, and the file in it that the pattern is of beside a shell's kubectl.
func linkTool(pattern string) func(dir string) error {
	return func(dir string) error {
		if err := linkMirror(dir); err != nil {
			return err
		}
		built, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(built) != 1 {
			return fmt.Errorf("find %s in %s: %v: %w", pattern, dir, built, err)
		}
		return files.Replace(home("kubectl", filepath.Base(pattern)),
			func(link string) error { return os.Symlink(built[0], link) })
	}
}

// printEnv prints the exports with which a shell's `pulumi` and `kubectl`, and the latter's
// client-keystone-auth, are the built ones, and pulumi finds all it needs without network, its state in a
// folder. The passphrase protects nothing: development only.
func printEnv(out io.Writer) error {
	if _, err := os.Stat(home("bin", "pulumi")); errors.Is(err, fs.ErrNotExist) {
		return errors.New("pulumi is not built yet: go run ./hack/toolchain")
	}
	backend := dirs.State("pulumi")
	if err := os.MkdirAll(backend, 0o700); err != nil {
		return err
	}
	if err := withoutLogs(); err != nil {
		return err
	}
	fmt.Fprintf(out, "export PATH=%s:%s:\"$PATH\"\n", quote(home("bin")), quote(home("kubectl")))
	for _, export := range [][2]string{
		{"PULUMI_HOME", home()},
		// else an engine that is killed may leave half of a file beside the state, which then cannot be read
		{"PULUMI_BACKEND_URL", "file://" + backend + "?metadata=skip"},
		{"PULUMI_CONFIG_PASSPHRASE", "devcloud"},
		{"PULUMI_SKIP_UPDATE_CHECK", "true"},
		{"PULUMI_GO_USE_RUN", "true"}, // the program is linked when it has changed, not for each command
		{"GOFLAGS", goFlags},          // what the toolchain has compiled is not compiled again for the program
		{"CGO_ENABLED", "0"},
		{"PULUMI_PARALLEL", "32"}, // almost all of a step is waiting for OpenStack; the default is four for each processor
		{"GOGC", "400"},           // a quarter of the engine's and the providers' work was the collection of garbage
		{"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true"},
		{"PULUMI_IGNORE_AMBIENT_PLUGINS", "true"},
	} {
		fmt.Fprintf(out, "export %s=%s\n", export[0], quote(export[1]))
	}
	return nil
}

// withoutLogs stops Pulumi from writing each call with its properties into a log. Pulumi has no setting for that, but
// writes no log if the path of the log folder is no folder. It deletes the logs that are there.
func withoutLogs() error {
	if info, err := os.Lstat(home("logs")); err == nil && info.IsDir() {
		if err := os.RemoveAll(home("logs")); err != nil {
			return err
		}
	}
	if err := os.Symlink(os.DevNull, home("logs")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// quote is s as one word of a shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
