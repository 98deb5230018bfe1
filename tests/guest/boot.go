package guest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

//go:embed boot.sh
var bootScript string

var officialBase = sync.OnceValues(func() (*mounted, error) { return mountImage("GUEST_OFFICIAL_IMAGE", "official") })

// Boot boots the image with the services of official images (hack/devcloud/official), and runs a bash script as one of
// its units. It returns the output of the script, and an error if the script fails or takes more than ten minutes. The
// machine has its own namespaces, and ends with the script. files are as in Run.
func Boot(t testing.TB, files map[string]string, script string) (output string, err error) {
	t.Helper()
	b, err := officialBase()
	require.NoError(t, err, "no guest image, run make test")
	files = maps.Clone(files)
	files["/usr/local/sbin/guest-test"] = "#!/bin/bash\nset -eu\n" + script
	files["/etc/systemd/system/guest-test.service"] = "[Service]\n" +
		"ExecStart=/bin/sh -c 'guest-test >/output 2>&1; systemctl --force exit $$?'\n"
	files["/etc/systemd/system/multi-user.target.d/guest-test.conf"] = "[Unit]\nWants=guest-test.service\n"
	dir := b.add(t, files)
	defer func() { require.NoError(t, os.RemoveAll(dir)) }()
	group := filepath.Join(cgroups(), "guest-"+filepath.Base(dir))
	require.NoError(t, os.Mkdir(group, 0o755))
	defer func() { require.NoError(t, removeCgroup(group)) }()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup"), []byte(group+"\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "boot.sh"), []byte(bootScript), 0o644))

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	log, err := b.run(ctx, dir, bootScript, []string{"--mount", "--pid", "--net", "--uts", "--ipc"})
	written, readErr := os.ReadFile(filepath.Join(dir, "upper", "output"))
	if readErr != nil {
		return log, errors.Join(err, readErr)
	}
	return string(written), err
}

// cgroups returns the folder of systemd's control groups.
func cgroups() string {
	const v1 = "/sys/fs/cgroup/systemd"
	if _, err := os.Stat(v1); err == nil {
		return v1
	}
	return "/sys/fs/cgroup"
}

// removeCgroup removes a group and all groups below it. The kernel needs a moment for groups of killed processes.
func removeCgroup(group string) error {
	var groups []string
	err := filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	for _, path := range slices.Backward(groups) {
		deadline := time.Now().Add(10 * time.Second)
		for err := os.Remove(path); err != nil; err = os.Remove(path) {
			if time.Now().After(deadline) {
				return fmt.Errorf("remove control group: %w", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return err
}
