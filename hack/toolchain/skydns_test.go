package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/progress"
)

// The images of kube-dns contain static programs at upstream's paths, and dnsmasq runs in its image. TestDeploy in the
// folder tests sends queries to them.
func TestSkyDNSImages(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("must run as root, because it uses chroot")
	}
	require.NoError(t, skydns.ensure(".", progress.New(os.Stderr, "toolchain")))
	for _, i := range skydns.images {
		name, err := skydns.programs[0].expand(".", strings.ReplaceAll(i.name, ":", "@"))
		require.NoError(t, err)
		root := unpack(t, name)
		file, err := elf.Open(root + i.entrypoint[0])
		require.NoError(t, err)
		for _, p := range file.Progs {
			require.NotEqual(t, elf.PT_INTERP, p.Type, "%s must be static", i.entrypoint[0])
		}
		require.NoError(t, file.Close())
		if i.recipe == "" {
			continue
		}
		write(t, root+"/dev/urandom", strings.Repeat("random", 50)) // dnsmasq reads its seed from it
		out, err := exec.Command("chroot", root, "/usr/sbin/dnsmasq", "--test").CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "syntax check OK")
		require.NoFileExists(t, root+"/usr/bin/dpkg", "only dnsmasq and its libraries remain")
	}
}
