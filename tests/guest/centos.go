package guest

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// OnCentOS makes all runs of t and its subtests use a system that is similar to CentOS: bash is /bin/sh, gawk is awk,
// and dnf has repositories of stub packages in /srv/BaseOS and /srv/AppStream. It is the image with additional files,
// which hack/devcloud builds.
func OnCentOS(t testing.TB) {
	t.Helper()
	require.NoError(t, mountCentOS(), "no files of CentOS, run make test")
	onCentOS.Store(t.Name(), nil)
}

// onCentOS has the names of the tests that called OnCentOS.
var onCentOS sync.Map

// layers returns the read-only folders of the root filesystem of t's runs, as overlayfs gets them.
func layers(t testing.TB) string {
	for name := t.Name(); name != ""; name = name[:max(0, strings.LastIndexByte(name, '/'))] {
		if _, found := onCentOS.Load(name); found {
			return "/dev/shm/centos:/dev/shm/image"
		}
	}
	return "/dev/shm/image"
}

// mountCentOS mounts the additional files beside the image.
var mountCentOS = sync.OnceValue(func() error {
	b, err := base()
	if err != nil {
		return err
	}
	build := exec.Command("go", "run", "kubernetes-openstack/hack/devcloud", "image", "centos")
	var stderr bytes.Buffer
	build.Stderr = &stderr
	layer, err := build.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", &stderr, err)
	}
	out, err := exec.Command("nsenter", "--mount="+b.proc("ns/mnt"), "--", "sh", "-c",
		`mkdir /dev/shm/centos && mount -t squashfs -o loop,ro "$1" /dev/shm/centos`, "mount",
		strings.TrimSpace(string(layer))).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount %s: %w: %s", layer, err, out)
	}
	return nil
})
