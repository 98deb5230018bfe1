package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/progress"
)

// The Pulumi program's SDKs and the plugins must have the same versions, but two different go.mod files require them.
func TestPluginsHaveTheVersionsOfTheSDKs(t *testing.T) {
	for _, p := range plugins.programs {
		built, err := p.expand(".", "v{version}")
		require.NoError(t, err)
		used, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", p.versionOf).Output()
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(string(used)), built, p.versionOf)
	}
}

// The Makefile and .ci/run set the same flags as toolchain. Otherwise Go compiles each package twice.
func TestGoFlagsAreTheSameEverywhere(t *testing.T) {
	for file, line := range map[string]string{
		"../../Makefile": "export GOFLAGS := " + goFlags + "\n",
		"../../.ci/run":  "export GOFLAGS='" + goFlags + "' CGO_ENABLED=0 GOAMD64=v1",
	} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(text), line, file)
	}
}

// TestEngine runs the built pulumi with the exports that `env` prints. pulumi finds its language host and plugins
// without a warning. It previews all resources without a cloud. It creates, refreshes and destroys a private key, which
// needs no cloud.
func TestEngine(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	log := progress.New(os.Stderr, "toolchain")
	for _, b := range []build{pulumi, plugins} {
		require.NoError(t, b.ensure(".", log))
	}
	var exports bytes.Buffer
	require.NoError(t, printEnv(&exports))
	project := t.TempDir()
	for _, file := range []string{"../../go.mod", "../../go.sum", "testdata/program/main.go",
		"testdata/program/Pulumi.yaml"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(project, filepath.Base(file)), text, 0o600))
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("bash",
			append([]string{"-c", exports.String() + `exec pulumi --non-interactive "$@"`, "pulumi"}, args...)...)
		cmd.Dir = project
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		require.NoError(t, err, "%s\n%s", &stdout, &stderr)
		require.NotContains(t, strings.ToLower(stdout.String()+stderr.String()), "warning")
		return stdout.String()
	}

	var listed []struct{ Name, Version string }
	require.NoError(t, json.Unmarshal([]byte(run("plugin", "ls", "--json")), &listed))
	require.Len(t, listed, len(plugins.programs))

	run("stack", "init", "test")
	preview := run("preview")
	_, err := os.ReadDir(pulumiHome("logs"))
	require.Error(t, err, "pulumi must not write logs")
	require.Contains(t, preview, "openstack:networking:Network")
	require.Contains(t, preview, "+ 3 to create")

	const key = "**tls:index/privateKey:PrivateKey**"
	require.Contains(t, run("up", "--yes", "--target", key), "+ 2 created")
	run("preview", "--target", key, "--expect-no-changes")
	require.Contains(t, run("refresh", "--yes"), "2 unchanged")
	require.Contains(t, run("destroy", "--yes"), "- 2 deleted")
}

// TestDisableLogsBesidePulumi disables the logs twice at the same time, while Pulumi adds files.
func TestDisableLogsBesidePulumi(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	logs := pulumiHome("logs")
	for range 20 {
		var started, ended, pulumi sync.WaitGroup
		stop := make(chan struct{})
		for writer := range 4 {
			started.Add(1)
			pulumi.Go(func() {
				os.MkdirAll(logs, 0o700)
				started.Done()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						os.WriteFile(filepath.Join(logs, fmt.Sprintf("%d-%d", writer, i)), nil, 0o600)
					}
				}
			})
		}
		started.Wait()
		for range 2 {
			ended.Go(func() { assert.NoError(t, disableLogs()) })
		}
		ended.Wait()
		close(stop)
		pulumi.Wait()
		target, err := os.Readlink(logs)
		require.NoError(t, err)
		require.Equal(t, os.DevNull, target)
		require.NoError(t, os.Remove(logs))
	}
}
