package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestShutDownLosesUnsyncedData stops the filesystems of a process that runs like a machine. The disk is also mounted
// outside of the machine, and the volume only inside. Of both, only synced data survives.
func TestShutDownLosesUnsyncedData(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount filesystems")
	}
	const folder = "/instances/0a"
	root := t.TempDir()
	at := func(elem ...string) string { return filepath.Join(append([]string{root, folder}, elem...)...) }
	shell := func(line string) string {
		t.Helper()
		command := exec.Command("sh", "-euc", line)
		command.Dir = at()
		output, err := command.CombinedOutput()
		require.NoError(t, err, "%s: %s", line, output)
		return strings.TrimSpace(string(output))
	}
	require.NoError(t, os.MkdirAll(at("disk"), 0o755))
	require.NoError(t, os.Mkdir(at("mounted here"), 0o755))
	_, err := openDisks(root, folder, os.Getpid())
	require.ErrorContains(t, err, "the machine's disk is not mounted", "the host's filesystem must never stop")

	device := shell(`
		for file in disk.ext4 volume; do truncate --size 32M $file; mkfs.ext4 -q $file; done
		losetup --find --show volume`)
	t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })
	shell("mount -o loop disk.ext4 disk")
	t.Cleanup(func() { exec.Command("umount", "--lazy", at("disk")).Run() })
	require.NoError(t, os.WriteFile(at("volumes.json"), fmt.Appendf(nil, `{"0b": {"loop": %q}}`, device), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "dev"), 0o755))
	require.NoError(t, os.Symlink(device, filepath.Join(root, device)))

	machine := exec.Command("unshare", "--mount", "sh", "-euc", `
		mount "$1" 'mounted here'
		for folder in disk 'mounted here'; do
			cd "$folder"
			echo unsynced >created
			echo synced >longer
			sync longer . # also writes the name of created
			echo unsynced >>longer
			echo unsynced >other
			cd ..
		done
		echo written
		exec sleep infinity`, "sh", device)
	machine.Dir, machine.Stderr = at(), os.Stderr
	output, err := machine.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, machine.Start())
	t.Cleanup(func() { machine.Process.Kill() })
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err, line)

	disks, err := openDisks(root, folder, machine.Process.Pid)
	require.NoError(t, err)
	require.Len(t, disks, 2)
	require.NoError(t, shutDown(disks))
	_, err = os.ReadFile(at("disk", "longer"))
	require.ErrorContains(t, err, "input/output error")
	require.NoError(t, machine.Process.Kill())
	machine.Wait()
	shell(`umount disk; mount -o loop disk.ext4 disk; mount ` + device + ` 'mounted here'`)
	t.Cleanup(func() { exec.Command("umount", at("mounted here")).Run() })
	for _, folder := range []string{"disk", "mounted here"} {
		assert.Equal(t, "created: longer:synced other:",
			shell(`cd '`+folder+`'; echo created:$(cat created) longer:$(cat longer) other:$(cat other 2>/dev/null)`), folder)
	}
}
