// Package guest runs commands in the root filesystem of the machines' image, for tests that need the machines' own tools.
package guest

import (
	"bytes"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

//go:embed run.sh
var script string

// Run runs cmd as root in a copy-on-write view of the image that also has files (absolute path → content; executable in a
// bin or sbin folder), and returns its standard output and error. The network is the caller's; mounts and processes are its
// own and end with it. The image is $GUEST_IMAGE (a squashfs), else the one that devcloud builds.
func Run(t testing.TB, files map[string]string, cmd ...string) (output string, err error) {
	t.Helper()
	path, err := image()
	require.NoErrorf(t, err, "no guest image, run make test: %s", path)

	dir := t.TempDir()
	tree := filepath.Join(dir, "files")
	require.NoError(t, os.Mkdir(tree, 0o755))
	for name, content := range files {
		target := filepath.Join(tree, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o755))
		mode := os.FileMode(0o644)
		if strings.HasSuffix(filepath.Dir(name), "bin") {
			mode = 0o755
		}
		require.NoError(t, os.WriteFile(target, []byte(content), mode))
	}

	run := exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child",
		"--propagation", "private", "sh", "-c", script, "guest", dir, path}, cmd...)...)
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	run.WaitDelay = 5 * time.Second // whatever outlived the command and holds the output is an error, not a hang
	err = run.Run()
	return out.String(), err
}

// image is the path of the squashfs, or what went wrong in finding it.
var image = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("GUEST_IMAGE"); path != "" {
		_, err := os.Stat(path)
		return path, err
	}
	build := exec.Command("go", "run", "kubernetes-openstack/devcloud", "image")
	var stderr bytes.Buffer
	build.Stderr = &stderr
	out, err := build.Output()
	if err != nil {
		return stderr.String(), err
	}
	return strings.TrimSpace(string(out)), nil
})
