package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

func TestImageIsReproducible(t *testing.T) {
	digest := func(written time.Time) string {
		dir := t.TempDir()
		write(t, filepath.Join(dir, parts, "tool"), "tool")
		write(t, filepath.Join(dir, parts, "tree", "etc", "tool.conf"), "configuration")
		for _, file := range []string{"tool", "tree/etc/tool.conf", "tree/etc"} {
			require.NoError(t, os.Chtimes(filepath.Join(dir, parts, file), written, written))
		}
		i := image{name: "example.com/a/tool:v{version}", folder: "usr/bin", files: []string{parts + "/tool"},
			links: []string{"other"}, tree: parts + "/tree"}
		require.NoError(t, i.write(dir, nil,
			func(text string) (string, error) { return strings.ReplaceAll(text, "{version}", "1"), nil }))
		index, err := layout.ImageIndexFromPath(filepath.Join(dir, "oci", "example.com/a/tool@v1"))
		require.NoError(t, err)
		hash, err := index.Digest()
		require.NoError(t, err)
		return hash.String()
	}
	require.Equal(t, digest(time.Now()), digest(time.Unix(0, 0)))
}

// unpack extracts an image of the mirror to a temporary folder and returns the folder.
func unpack(t *testing.T, name string) string {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dirs.Mirror("oci", name))
	require.NoError(t, err)
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	require.Len(t, manifest.Manifests, 1)
	image, err := index.Image(manifest.Manifests[0].Digest)
	require.NoError(t, err)

	dir, content := t.TempDir(), mutate.Extract(image)
	defer content.Close()
	tar := exec.Command("tar", "--extract", "--directory", dir)
	tar.Stdin = content
	out, err := tar.CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// The images contain only their binaries, so each binary must be static.
func TestImagesHaveStaticBinaries(t *testing.T) {
	require.NoError(t, images.ensure(".", progress.New(os.Stderr, "toolchain")))
	for name, binary := range map[string]string{"registry.k8s.io/pause@3.10.2": "pause",
		"devcloud.test/busybox@1.35": "bin/sh"} {
		file, err := elf.Open(filepath.Join(unpack(t, name), binary))
		require.NoError(t, err)
		for _, p := range file.Progs {
			require.NotEqual(t, elf.PT_INTERP, p.Type, "%s: %s must be static", name, binary)
		}
	}
	out, err := exec.Command(filepath.Join(unpack(t, "devcloud.test/busybox@1.35"), "bin/echo"), "it works").Output()
	require.NoError(t, err)
	require.Equal(t, "it works\n", string(out))
}

// TestPauseReapsOrphans runs pause as the first process of a PID namespace with an orphan.
func TestPauseReapsOrphans(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("must run as root, because it creates a PID namespace")
	}
	require.NoError(t, images.ensure(".", progress.New(os.Stderr, "toolchain")))
	pause := filepath.Join(unpack(t, "registry.k8s.io/pause@3.10.2"), "pause")
	cmd := exec.Command("sh", "-c", `(sleep 0.5 &); exec "$0"`, pause)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	proc := filepath.Join("/proc", fmt.Sprint(cmd.Process.Pid))
	children := func() string {
		lists, err := filepath.Glob(proc + "/task/*/children")
		require.NoError(t, err)
		var all strings.Builder
		for _, list := range lists {
			text, _ := os.ReadFile(list) // the thread may have ended
			all.Write(text)
		}
		return strings.TrimSpace(all.String())
	}
	isPause := func() bool {
		exe, _ := os.Readlink(proc + "/exe")
		return filepath.Base(exe) == "pause" && children() != ""
	}
	require.Eventually(t, isPause, 5*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return children() == "" }, 5*time.Second, 10*time.Millisecond,
		"pause must reap the orphan")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}
