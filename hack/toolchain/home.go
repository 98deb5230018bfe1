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

// pulumiHome returns a path in PULUMI_HOME. Pulumi writes logs, the selected stack of each project and credentials
// there. A rebuild must keep them, so the folder is state, and only bin and plugins are links to builds in the cache.
func pulumiHome(elem ...string) string {
	return dirs.State(append([]string{"pulumi-home"}, elem...)...)
}

// linkHome returns a function that links a built folder into PULUMI_HOME under this name.
func linkHome(name string) func(dir string) error {
	return func(dir string) error {
		return files.Replace(pulumiHome(name), func(link string) error { return os.Symlink(dir, link) })
	}
}

// linkTool returns a function that links a built folder into the mirror, and the file that matches the pattern into the
// folder of kubectl, which is in the PATH of `env`.
func linkTool(pattern string) func(dir string) error {
	return func(dir string) error {
		if err := linkMirror(dir); err != nil {
			return err
		}
		tools, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		if len(tools) != 1 {
			return fmt.Errorf("%s: must contain one file %s, got %v", dir, pattern, tools)
		}
		return files.Replace(pulumiHome("kubectl", filepath.Base(pattern)),
			func(link string) error { return os.Symlink(tools[0], link) })
	}
}

// printEnv prints exports for a shell. With them, the shell runs the built pulumi, kubectl and client-keystone-auth.
// pulumi uses the built plugins, needs no network and keeps its state in a folder. The passphrase is public, so this is
// for development only.
func printEnv(out io.Writer) error {
	if _, err := os.Stat(pulumiHome("bin", "pulumi")); errors.Is(err, fs.ErrNotExist) {
		return errors.New("pulumi is not built yet: run `go run ./hack/toolchain`")
	}
	backend := dirs.State("pulumi")
	if err := os.MkdirAll(backend, 0o700); err != nil {
		return err
	}
	if err := disableLogs(); err != nil {
		return err
	}
	fmt.Fprintf(out, "export PATH=%s:%s:\"$PATH\"\n", shellQuote(pulumiHome("bin")), shellQuote(pulumiHome("kubectl")))
	for _, export := range [][2]string{
		{"PULUMI_HOME", pulumiHome()},
		// Without metadata=skip, a killed engine can leave an incomplete metadata file, and the state is unreadable.
		{"PULUMI_BACKEND_URL", "file://" + backend + "?metadata=skip"},
		{"PULUMI_CONFIG_PASSPHRASE", "devcloud"},
		{"PULUMI_SKIP_UPDATE_CHECK", "true"},
		{"PULUMI_GO_USE_RUN", "true"}, // links the program only after a change, and not for each command
		{"GOFLAGS", goFlags},          // the program uses packages that toolchain has compiled
		{"CGO_ENABLED", "0"},
		{"PULUMI_PARALLEL", "32"}, // a step mostly waits for OpenStack; the default is four for each processor
		{"GOGC", "400"},           // with the default, garbage collection takes a quarter of the engine's CPU time
		{"GOMEMLIMIT", "4GiB"},    // above it, GOGC has no effect: with 100 workers, the engine needs 2.8 GiB
		{"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true"},
		{"PULUMI_IGNORE_AMBIENT_PLUGINS", "true"},
	} {
		fmt.Fprintf(out, "export %s=%s\n", export[0], shellQuote(export[1]))
	}
	return nil
}

// disableLogs stops Pulumi from logging each call with its properties, and deletes existing logs. Pulumi has no setting
// for this. But it writes no logs if the path of its log folder is not a folder.
func disableLogs() error {
	logs := pulumiHome("logs")
	if info, err := os.Lstat(logs); err == nil && info.IsDir() {
		// a running Pulumi can add files to the folder, but not after it has moved
		trash, err := os.MkdirTemp(pulumiHome(), "trash-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(trash)
		if err := os.Rename(logs, filepath.Join(trash, "logs")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Symlink(os.DevNull, logs); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// shellQuote quotes s as one word of a shell command.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
