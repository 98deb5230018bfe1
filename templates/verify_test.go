package templates

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// These tests hand what we render to the machines' own tools, in the machines' own root filesystem.

func TestCloudInitAcceptsTheSchema(t *testing.T) {
	for role, m := range machines() {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			config, err := CloudConfig(m)
			require.NoError(t, err)
			out, err := guest.Run(t, map[string]string{"/user-data": string(config)},
				"cloud-init", "schema", "--config-file", "/user-data")
			require.NoError(t, err, out)
			require.Contains(t, out, "Valid")
		})
	}
}

func TestSystemdAcceptsTheUnits(t *testing.T) {
	for role, m := range machines() {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			files := landed(t, m)
			var units []string
			for name := range files {
				switch {
				case path.Dir(name) == "/etc/systemd/system":
					units = append(units, name)
				case strings.HasPrefix(name, "/etc/systemd/system/"): // a drop-in: its unit is verified with it
					units = append(units, strings.TrimSuffix(path.Base(path.Dir(name)), ".d"))
				}
			}
			files["/usr/local/bin/etcd"] = "#!/bin/sh\n" // downloaded later
			out, err := guest.Run(t, files, append([]string{"systemd-analyze", "verify", "--man=no"}, units...)...)
			require.NoError(t, err, out)
			require.Empty(t, out)
		})
	}
}

// landed is path → content of all that m gets.
func landed(t *testing.T, m Machine) map[string]string {
	files, err := m.files()
	require.NoError(t, err)
	byPath := map[string]string{}
	for _, f := range files {
		byPath[f.Path] = f.Content
	}
	return byPath
}

const member = "tool-v1-linux-amd64/tool"

// archive is a tool's release as upstreams pack theirs, and its sha256.
func archive(t *testing.T) (tarball []byte, sum string) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	packed := tar.NewWriter(zipped)
	content := "#!/bin/sh\necho tool runs\n"
	require.NoError(t, packed.WriteHeader(&tar.Header{Name: member, Mode: 0o644, Size: int64(len(content))}))
	_, err := packed.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, packed.Close())
	require.NoError(t, zipped.Close())
	return out.Bytes(), fmt.Sprintf("%x", sha256.Sum256(out.Bytes()))
}

func TestInstallArtifacts(t *testing.T) {
	tarball, sum := archive(t)
	const again = "; echo again; install-artifacts && tool"
	for name, test := range map[string]struct {
		statuses []int  // of the mirror's first answers; then it serves
		sha256   string // expected by the list; the right one if empty
		member   string // the right one if empty
		script   string
		fails    bool
		requests int32
		want     []string
	}{
		"first try, then from the cache": {
			script: "install-artifacts && tool" + again, requests: 1,
			want: []string{"tool: installed /usr/local/bin/tool\ntool runs\nagain\ntool runs\n"},
		},
		"mirror down twice": {
			statuses: []int{503, 503}, script: "install-artifacts && tool", requests: 3,
			want: []string{"tool runs"},
		},
		"not there": {
			statuses: []int{404}, script: "install-artifacts", fails: true, requests: 1,
			want: []string{"tool: cannot download http://127.0.0.1:", "404"},
		},
		"not there, and then it is": {
			statuses: []int{404}, script: "install-artifacts" + again, requests: 2,
			want: []string{"again\n", "tool runs"},
		},
		"wrong checksum": {
			sha256: strings.Repeat("0", 64), script: "install-artifacts || { ls /usr/local/bin; exit 1; }", fails: true, requests: 1,
			want: []string{"tool: http://127.0.0.1:", "/tool.tar.gz has sha256 " + sum + ", expected " + strings.Repeat("0", 64) + "\n"},
		},
		"no such member": {
			member: "tool-v1-linux-amd64/other", script: "install-artifacts", fails: true, requests: 1,
			want: []string{"lacks a member of: tool-v1-linux-amd64/other"},
		},
		"cache damaged": {
			script: "install-artifacts; echo x >/var/cache/artifacts/" + sum + again, requests: 2,
			want: []string{"tool runs"},
		},
		"binary damaged": {
			script: "install-artifacts; : >/usr/local/bin/tool" + again, requests: 1,
			want: []string{"again\ntool: installed /usr/local/bin/tool\ntool runs\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n := int(requests.Add(1)); n <= len(test.statuses) {
					w.WriteHeader(test.statuses[n-1])
					return
				}
				_, _ = w.Write(tarball)
			}))
			defer mirror.Close()

			m := Machine{Hostname: "test", Artifacts: []Artifact{{Name: "tool", URL: mirror.URL + "/tool.tar.gz",
				SHA256: or(test.sha256, sum), Install: []string{or(test.member, member)}}}}
			out, err := guest.Run(t, landed(t, m), "sh", "-c", test.script)
			require.Equal(t, test.fails, err != nil, out)
			for _, want := range test.want {
				require.Contains(t, out, want)
			}
			if test.fails {
				require.NotContains(t, out, "installed")
			}
			require.Equal(t, test.requests, requests.Load(), out)
		})
	}
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// TestEtcdVolume runs etcd-volume with a plain file as the disk. mount is a stand-in that binds a folder, so that no loop
// device is needed; blkid, mkfs and fsck are real.
func TestEtcdVolume(t *testing.T) {
	const prelude = `
set -eu
export VOLUME_ID=4f1c0d9e-2b7a-4c55-9e2e-0123456789ab TIMEOUT=2
disk=/disk
truncate --size 64M $disk
attach() { mkdir -p /dev/disk/by-id; ln -s $disk "/dev/disk/by-id/$1-4f1c0d9e-2b7a-4c55-9"; }
uuid() { blkid -p -o value -s UUID $disk; }
systemd-sysusers /etc/sysusers.d/etcd.conf
mkdir /mounted
`
	for name, test := range map[string]struct {
		script string
		fails  bool
		want   []string
	}{
		"blank disk": {
			script: `attach virtio; etcd-volume; blkid -p -o value -s LABEL $disk; stat -c '%a %U %G %n' /var/lib/etcd/data; fsck.ext4 -fn $disk`,
			want:   []string{"is blank: formatting /disk\n", "\netcd\n", "mount -t ext4 /disk /var/lib/etcd\n", "700 etcd etcd /var/lib/etcd/data\n"},
		},
		"scsi name": {
			script: `attach scsi-0QEMU_QEMU_HARDDISK; etcd-volume`,
			want:   []string{"mount -t ext4 /disk /var/lib/etcd\n"},
		},
		"second start": {
			script: `attach virtio; etcd-volume; touch /var/lib/etcd/data/kept; echo again; etcd-volume; ls /var/lib/etcd/data`,
			want:   []string{"again\nkept\n"},
		},
		"reboot, with another number for the user etcd": {
			script: `attach virtio; etcd-volume; touch /var/lib/etcd/data/kept; before=$(uuid)
				umount /var/lib/etcd; usermod --uid 4242 etcd; echo again; etcd-volume
				stat -c '%u %n' /var/lib/etcd/data/kept; test "$before" = "$(uuid)"`,
			want: []string{"again\n", "4242 /var/lib/etcd/data/kept\n"},
		},
		"formatting that was cut off": {
			// all that mkfs writes but for the superblock, which comes last
			script: `attach virtio; mkfs.ext4 -q -L etcd $disk; dd if=/dev/zero of=$disk bs=1k seek=1 count=1 conv=notrunc status=none; etcd-volume; fsck.ext4 -fn $disk`,
			want:   []string{"is blank: formatting /disk\n"},
		},
		"filesystem left dirty": {
			script: `attach virtio; etcd-volume; umount /var/lib/etcd; debugfs -w -R 'ssv state 0' $disk; etcd-volume; dumpe2fs -h $disk | grep state`,
			want:   []string{"Filesystem state:         clean\n"},
		},
		"another's filesystem": {
			script: `attach virtio; mkfs.ext4 -q -L precious $disk; etcd-volume || { echo "still $(blkid -p -o value -s LABEL $disk)"; exit 1; }`,
			fails:  true,
			want:   []string{"holds something else than an ext4 labelled etcd, not touching it: ", "LABEL=precious", "still precious\n"},
		},
		"partition table": {
			script: `attach virtio; echo ',,L' | sfdisk --quiet $disk; etcd-volume`,
			fails:  true,
			want:   []string{"holds something else", "PTTYPE=dos"},
		},
		"two filesystems at once": {
			script: `attach virtio; mkfs.ext4 -q -L etcd $disk
				{ printf hsqs; head -c 24 /dev/zero; printf '\004'; } | dd of=$disk conv=notrunc status=none # squashfs, version 4
				etcd-volume`,
			fails: true,
			want:  []string{"blkid cannot tell what is on /disk", "exit status 8: not formatting it\n"},
		},
		"unreadable": {
			script: `disk=/proc/self/mem; attach virtio; etcd-volume`,
			fails:  true,
			want:   []string{"cannot read /proc/", "not formatting it\n"},
		},
		"not attached": {
			script: `etcd-volume`,
			fails:  true,
			want:   []string{"volume 4f1c0d9e-2b7a-4c55-9e2e-0123456789ab is not in /dev/disk/by-id after 2 s: is it attached?\n"},
		},
		"attached late": {
			script: `{ sleep 1; attach virtio; } & etcd-volume`,
			want:   []string{"mount -t ext4 /disk /var/lib/etcd\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := landed(t, machines()["etcd"])
			files["/usr/local/sbin/mount"] = "#!/bin/sh\nset -e\necho mount \"$@\"\nexec /usr/bin/mount --bind /mounted /var/lib/etcd\n"
			out, err := guest.Run(t, files, "sh", "-c", prelude+test.script)
			require.Equal(t, test.fails, err != nil, out)
			for _, want := range test.want {
				require.Contains(t, out, want)
			}
			if test.fails {
				require.NotContains(t, out, "formatting /disk")
				require.NotContains(t, out, "mount -t ext4")
			}
		})
	}
}
