package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

// storageBuilds are all builds of the module storage.
var storageBuilds = []build{cloudProvider, provisioner, attacher, resizer, snapshotter, registrar, livenessprobe,
	csiSanity}

// The images have the tags in cloud-provider-openstack's manifests. csi-attacher is an exception, because the module
// proxy does not serve that release.
func TestStorageImagesHaveTheTagsOfTheManifests(t *testing.T) {
	module, err := cloudProvider.programs[0].moduleDir(".")
	require.NoError(t, err)
	tags := map[string]string{} // in the manifests, by the image's name
	for _, pattern := range []string{"manifests/controller-manager/*.yaml", "manifests/cinder-csi-plugin/*.yaml",
		"examples/webhook/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(module, pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, match := range regexp.MustCompile(`image: (\S+):(\S+)`).FindAllStringSubmatch(string(text), -1) {
				tags[match[1]] = match[2]
			}
		}
	}
	require.Len(t, tags, 9)
	tags["registry.k8s.io/sig-storage/csi-attacher"] = "v4.13.0"

	built := map[string]string{}
	for _, b := range storageBuilds {
		for _, i := range b.images {
			name, err := b.programs[0].expand(".", i.name)
			require.NoError(t, err)
			name, tag, _ := strings.Cut(name, ":")
			built[name] = tag
		}
	}
	// The manifests contain no snapshot-controller, because a cluster needs only one for all drivers. It has the
	// version of csi-snapshotter.
	tags["registry.k8s.io/sig-storage/snapshot-controller"] = tags["registry.k8s.io/sig-storage/csi-snapshotter"]
	require.Equal(t, tags, built)
}

// No replace directive in go.mod changes the version that the tag of an image names.
func TestStorageIsBuiltFromTheReleasesOfItsTags(t *testing.T) {
	for _, b := range storageBuilds {
		p := b.programs[0]
		env, err := p.goEnv(".")
		require.NoError(t, err)
		cmd := exec.Command("go", "list", "-m", "-json", p.versionOf)
		cmd.Dir, cmd.Env = p.module, env
		out, err := cmd.Output()
		require.NoError(t, err)
		var module struct {
			Version string
			Replace *struct{ Version string }
		}
		require.NoError(t, json.Unmarshal(out, &module))
		if module.Replace != nil {
			module.Version = module.Replace.Version
		}
		version, err := p.expand(".", "v{version}")
		require.NoError(t, err)
		if p.packages[b.name] == "./"+b.name { // our own stand-in, which has no module version
			continue
		}
		require.Equal(t, module.Version, version, p.versionOf)
	}
}

// Each program runs at its path in the image and prints the version in the image's tag.
func TestStorageProgramsPrintTheirVersion(t *testing.T) {
	log := progress.New(os.Stderr, "toolchain")
	for _, b := range storageBuilds {
		require.NoError(t, b.ensure(".", log))
		version, err := b.programs[0].expand(".", "v{version}")
		require.NoError(t, err)
		var files []string
		for _, i := range b.images {
			name, _, _ := strings.Cut(i.name, ":")
			files = append(files, filepath.Join(unpack(t, name+"@"+version), append(i.entrypoint, i.command...)[0]))
		}
		switch b.name {
		case csiSanity.name:
			files = append(files, dirs.Mirror("devcloud.test/csi-sanity"))
		case cloudProvider.name:
			files = append(files, pulumiHome("kubectl", "client-keystone-auth"))
		}
		require.NotEmpty(t, files)
		for _, file := range files {
			out, err := exec.Command(file, "--version").CombinedOutput()
			require.NoError(t, err, "%s: %s", file, out)
			require.Contains(t, strings.Fields(string(out)), version, file)
		}
	}
}

// The image contains every tool that the driver and Kubernetes' mount libraries call, like the official image.
func TestCinderCSIPluginImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("must run as root, because it uses chroot")
	}
	require.NoError(t, cloudProvider.ensure(".", progress.New(os.Stderr, "toolchain")))
	version, err := cloudProvider.programs[0].expand(".", "v{version}")
	require.NoError(t, err)
	root := unpack(t, "registry.k8s.io/provider-os/cinder-csi-plugin@"+version)
	run := func(command ...string) string {
		t.Helper()
		cmd := exec.Command("chroot", append([]string{root}, command...)...)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%q\n%s", command, out)
		return string(out)
	}
	for _, command := range []string{
		"/bin/sh -c true", "/bin/mount -V", "/bin/umount -V", "/bin/findmnt -V", "/bin/dmesg -V", "/bin/udevadm --version",
		"/sbin/blkid -V", "/sbin/blockdev -V", "/sbin/fsck --version", "/bin/btrfs --version",
		"/sbin/mkfs.ext4 -V", "/sbin/mke2fs -V", "/sbin/dumpe2fs -V", "/sbin/e2fsck -V",
		"/sbin/mkfs.xfs -V", "/sbin/xfs_repair -V", "/usr/sbin/xfs_growfs -V", "/usr/sbin/xfs_io -V",
	} {
		run(strings.Fields(command)...)
	}
	run("sh", "-c", "command -v fsck.xfs && command -v fsck.ext4 && command -v mkfs.btrfs")
	for _, file := range []string{"/etc/mke2fs.conf", "/etc/ssl/certs/ca-certificates.crt",
		"/lib/udev/rules.d/60-persistent-storage.rules"} {
		run("test", "-s", file)
	}

	// The image's tools create ext4 and XFS, and grow ext4.
	for _, fs := range []string{"ext4", "xfs"} {
		disk := filepath.Join(root, "tmp", fs)
		write(t, disk, "")
		require.NoError(t, os.Truncate(disk, 300<<20)) // the minimum of mkfs.xfs
		run("mkfs."+fs, "/tmp/"+fs)
		require.Contains(t, run("blkid", "-p", "-s", "TYPE", "-o", "value", "/tmp/"+fs), fs)
	}
	require.NoError(t, os.Truncate(filepath.Join(root, "tmp/ext4"), 400<<20))
	write(t, filepath.Join(root, "proc/mounts"), "") // resize2fs checks here that the file system is not mounted
	run("resize2fs", "/tmp/ext4")
}
