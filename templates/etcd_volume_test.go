package templates

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// etcdVolume is the beginning of a script that runs etcd-volume with a plain file as the disk. The disk is large
// enough for a backup superblock.
const etcdVolume = `
set -eu
export VOLUME_ID=4f1c0d9e-2b7a-4c55-9e2e-0123456789ab TIMEOUT=2 DISKS=
disk=/disk
truncate --size 160M $disk
attach() { mkdir -p /dev/disk/by-id; ln -s $disk "/dev/disk/by-id/$1-4f1c0d9e-2b7a-4c55-9"; }
uuid() { blkid -p -o value -s UUID $disk; }
at() { dd of=$disk bs=1 seek="$1" conv=notrunc status=none; } # writes standard input at this byte
zero() { dd if=/dev/zero of=$disk conv=notrunc status=none "$@"; }
# member: a member's filesystem, with a file
member() {
	attach virtio
	mkfs.ext4 -q -b 4096 -L etcd $disk 159M
	echo acknowledged >/data
	debugfs -w -R 'write /data data' $disk 2>/dev/null >/data.log
}
# refused: etcd-volume fails, and writes nothing to the disk
refused() {
	cp --sparse=always $disk /before
	! etcd-volume || return
	cmp $disk /before
}
systemd-sysusers /etc/sysusers.d/etcd.conf
mkdir /mounted
`

// TestEtcdVolumeLink checks machines whose hypervisor does not pass the IDs of volumes. An existing link is never
// changed, because it leads to the right volume.
func TestEtcdVolumeLink(t *testing.T) {
	t.Parallel()
	m := machines()["etcd"]
	m.Plan.Etcd.Volume.Device = "/disk"
	files := filesOf(t, m)
	assert.Equal(t, "[Service]\nExecStartPre=/usr/local/sbin/etcd-volume-link /disk\n",
		files["/etc/systemd/system/etcd-volume.service.d/link.conf"])
	withFakes := etcdVolumeFiles(t)
	withFakes["/usr/local/sbin/etcd-volume-link"] = files["/usr/local/sbin/etcd-volume-link"]
	for name, test := range map[string]struct{ script, want string }{
		"no ID": {`etcd-volume-link /disk; etcd-volume`, "mount -t ext4 /disk /var/lib/etcd\n"},
		"attached late": {`mv /disk /late; etcd-volume-link /disk; { sleep 1; mv /late /disk; } & etcd-volume`,
			"mount -t ext4 /disk /var/lib/etcd\n"},
		"an ID": {`attach scsi; etcd-volume-link /other; etcd-volume`, "mount -t ext4 /disk /var/lib/etcd\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := guest.Run(t, withFakes, "sh", "-c", etcdVolume+test.script)
			require.NoError(t, err, out)
			require.Contains(t, out, test.want)
		})
	}
}

// etcdVolumeFiles returns the files of an etcd machine, with fakes for a plain file as the disk: mount binds a folder,
// blockdev returns the size of the file, and dd reads through the page cache. All other programs are real.
func etcdVolumeFiles(t *testing.T) map[string]string {
	files := filesOf(t, machines()["etcd"])
	files["/usr/local/sbin/mount"] = "#!/bin/sh\nset -e\necho mount \"$@\"\n" +
		"exec /usr/bin/mount --bind /mounted /var/lib/etcd\n"
	files["/usr/local/sbin/dd"] = "#!/bin/bash\nexec -a dd /usr/bin/dd \"${@/#iflag=direct/iflag=fullblock}\"\n"
	files["/usr/local/sbin/blockdev"] = "#!/bin/sh\nexec stat --dereference --format %s \"$2\"\n"
	return files
}

func TestEtcdVolume(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script string
		want   []string
	}{
		"blank disk": {
			script: `attach virtio; etcd-volume; blkid -p -o value -s LABEL $disk; stat -c '%a %U %G %n' /var/lib/etcd/data; ` +
				`fsck.ext4 -fn $disk`,
			want: []string{"is blank: formatting /disk\n", "\netcd\n", "mount -t ext4 /disk /var/lib/etcd\n",
				"700 etcd etcd /var/lib/etcd/data\n"},
		},
		"scsi name": {
			script: `attach scsi-0QEMU_QEMU_HARDDISK; etcd-volume`,
			want:   []string{"mount -t ext4 /disk /var/lib/etcd\n"},
		},
		"second start": {
			script: `attach virtio; etcd-volume; touch /var/lib/etcd/data/kept; echo again; etcd-volume; ls /var/lib/etcd/data`,
			want:   []string{"again\nkept\n"},
		},
		"reboot, with another ID of the user etcd": {
			script: `attach virtio; etcd-volume; touch /var/lib/etcd/data/kept; before=$(uuid)
				umount /var/lib/etcd; usermod --uid 4242 etcd; echo again; etcd-volume
				stat -c '%u %n' /var/lib/etcd/data/kept; test "$before" = "$(uuid)"`,
			want: []string{"again\n", "4242 /var/lib/etcd/data/kept\n"},
		},
		"filesystem of the whole disk": { // from a version before the marker
			script: `attach virtio; mkfs.ext4 -q -L etcd $disk; before=$(uuid); etcd-volume; test "$before" = "$(uuid)"`,
			want:   []string{"mount -t ext4 /disk /var/lib/etcd\n"},
		},
		"filesystem left dirty": {
			script: `attach virtio; etcd-volume; umount /var/lib/etcd; debugfs -w -R 'ssv state 0' $disk; etcd-volume; ` +
				`dumpe2fs -h $disk | grep state`,
			want: []string{"Filesystem state:         clean\n"},
		},
		"attached late": {
			script: `{ sleep 1; attach virtio; } & etcd-volume`,
			want:   []string{"mount -t ext4 /disk /var/lib/etcd\n"},
		},
		"no ID, attached late": {
			script: `export DISKS=/disk; mv $disk /late; { sleep 1; mv /late $disk; } & etcd-volume`,
			want:   []string{"using /disk, the only unused disk\n", "mount -t ext4 /disk /var/lib/etcd\n"},
		},
		"no ID, a member's filesystem": {
			script: `member; rm /dev/disk/by-id/*; export DISKS=/disk; etcd-volume`,
			want:   []string{"mount -t ext4 /disk /var/lib/etcd\n"},
		},
		"no ID, and all other disks are in use": {
			script: `truncate --size 16M /linked /partitioned /table /labelled /swap
				mkdir -p /dev/disk/by-id; ln -s /linked /dev/disk/by-id/virtio-00000000; touch /partitioned1
				echo ',,L' | sfdisk --quiet /table; mkfs.ext4 -q -L precious /labelled; mkswap --quiet /swap
				export DISKS="/linked /partitioned /table /labelled /swap /missing $disk"; etcd-volume`,
			want: []string{"using /disk, the only unused disk\n", "mount -t ext4 /disk /var/lib/etcd\n"},
		},
		"the printed command repairs a damaged superblock": {
			script: `member; zero bs=1k seek=1 count=1
				command=$(etcd-volume | sed -n 's/.* To repair the filesystem: //p')
				$command -y >/dev/null || [ $? = 1 ]
				etcd-volume; debugfs -R 'cat data' $disk 2>/dev/null`,
			want: []string{"mount -t ext4 /disk /var/lib/etcd\nacknowledged\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := guest.Run(t, etcdVolumeFiles(t), "sh", "-c", etcdVolume+test.script)
			require.NoError(t, err, out)
			for _, want := range test.want {
				require.Contains(t, out, want)
			}
		})
	}
}

// TestEtcdVolumeRefuses checks that etcd-volume writes nothing to a disk with any data, and describes the data.
func TestEtcdVolumeRefuses(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	const repair = "To repair the filesystem: e2fsck -b 32768 -B 4096 /disk\n"
	for name, test := range map[string]struct {
		script string
		want   []string
	}{
		"superblock of zeros": {
			`member; zero bs=1k seek=1 count=1`, []string{repair, "nothing found (exit status 2)"},
		},
		"one flipped byte in the magic number": {`member; printf '\122' | at 1080`, []string{repair, "data after 0 MiB"}},
		"beginning of zeros":                   {`member; zero bs=1M count=64`, []string{repair}},
		"only backup superblocks": {
			`member; zero bs=4k count=32768; zero bs=4k seek=32769 count=8191`,
			[]string{repair, "data after 128 MiB of zeros"},
		},
		"random bytes": {`attach virtio; head -c 8M /dev/urandom | dd of=$disk conv=notrunc status=none`, nil},
		"first byte":   {`attach virtio; printf x | at 0`, []string{"data after 0 MiB of zeros"}},
		"last byte":    {`attach virtio; printf x | at $((160 * 1048576 - 1))`, []string{"data after 159 MiB of zeros"}},
		"middle byte":  {`attach virtio; printf x | at $((80 * 1048576 + 4321))`, []string{"data after 80 MiB of zeros"}},
		"LVM": {`attach virtio; printf 'LABELONE' | at 512; printf 'LVM2 001' | at 536`,
			[]string{"data after 0 MiB"}},
		"LUKS": {`attach virtio; printf 'LUKS\272\276\000\002' | at 0`, []string{"data after 0 MiB"}},
		"xfs":  {`attach virtio; printf 'XFSB\000\000\020\000' | at 0`, []string{"data after 0 MiB"}},
		"swap": {`attach virtio; mkswap --quiet $disk`, []string{"TYPE=swap"}},
		"partition table": {`attach virtio; echo ',,L' | sfdisk --quiet $disk`,
			[]string{"must be blank or an ext4 filesystem", "PTTYPE=dos"}},
		"filesystem with another label": {`attach virtio; mkfs.ext4 -q -L precious $disk`,
			[]string{"must be blank or an ext4 filesystem with the label etcd, not formatting it: ", "LABEL=precious"}},
		"two filesystems": {
			// squashfs, version 4
			`member; { printf hsqs; head -c 24 /dev/zero; printf '\004'; } | dd of=$disk conv=notrunc status=none`,
			[]string{"nothing found (exit status 8)"},
		},
		"another volume's interrupted format": {
			`attach virtio; echo 'etcd-volume is formatting 00000000-2b7a-4c55-9e2e-0123456789ab' | at $((159 * 1048576))`,
			[]string{"data after 159 MiB of zeros"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := guest.Run(t, etcdVolumeFiles(t), "sh", "-c", etcdVolume+test.script+"; refused")
			require.NoError(t, err, out)
			for _, want := range append(test.want, "/disk (volume 4f1c0d9e-2b7a-4c55-9e2e-0123456789ab) must be blank or ",
				"To delete everything on /disk, so that it is formatted: wipefs --all /disk && blkdiscard --zeroout /disk\n") {
				require.Contains(t, out, want)
			}
			require.NotContains(t, out, "formatting /disk\n")
			require.NotContains(t, out, "mount -t ext4")
		})
	}
	for name, test := range map[string]struct{ script, want string }{
		"unreadable": {`rm $disk; mkdir $disk; attach virtio; ! etcd-volume`, "cannot read /disk (volume " +
			"4f1c0d9e-2b7a-4c55-9e2e-0123456789ab), not formatting it: dd: error reading '/disk': Is a directory\n"},
		"no /dev/full": {`attach virtio; umount /dev/full; rm /dev/full; ! etcd-volume; ! ls /dev/full`,
			"cannot read /disk"},
		"not attached": {`! etcd-volume`,
			"volume 4f1c0d9e-2b7a-4c55-9e2e-0123456789ab is not in /dev/disk/by-id after 2 s: is it attached?\n"},
		"no ID, and two unused disks": {`truncate --size 160M /second; DISKS="/disk /second"; export DISKS; ! etcd-volume`,
			"no disk has the ID of volume 4f1c0d9e-2b7a-4c55-9e2e-0123456789ab, and 2 disks are unused: /disk /second. " +
				"Set etcd.volume.device\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := guest.Run(t, etcdVolumeFiles(t), "sh", "-c", etcdVolume+test.script)
			require.NoError(t, err, out)
			require.Contains(t, out, test.want)
			require.NotContains(t, out, "formatting /disk\n")
			require.NotContains(t, out, "mount -t ext4")
		})
	}
}

// TestEtcdVolumeContinuesAfterAnInterruption kills mkfs, or the whole etcd-volume, at different moments. It also
// simulates a power failure after which the disk has only some of the written blocks. The next start always completes
// the format, and the one after it formats nothing.
func TestEtcdVolumeContinuesAfterAnInterruption(t *testing.T) {
	t.Parallel()
	files := etcdVolumeFiles(t)
	files["/usr/local/sbin/mkfs.ext4"] = `#!/bin/sh
[ ! -e /kill-after ] || exec timeout --signal KILL "$(cat /kill-after)" /usr/sbin/mkfs.ext4 "$@"
/usr/sbin/mkfs.ext4 "$@"
[ ! -e /power-failure ] || exit 1
`
	out, err := guest.Run(t, files, "bash", "-c", etcdVolume+`
attach virtio
blank() { truncate --size 0 $disk; truncate --size 160M $disk; }
formatted() { # and not again, when the disk has data
	etcd-volume >/log || { cat /log; return 1; }
	umount /var/lib/etcd
	fsck.ext4 -fn $disk >/log 2>&1 || { cat /log; return 1; }
	[ "$(blkid -p -o value -s LABEL $disk)" = etcd ]
	before=$(uuid)
	etcd-volume >/log
	umount /var/lib/etcd
	[ "$(uuid)" = "$before" ]
}
again=0
for n in $(seq 20); do
	blank
	if [ $((n % 2)) = 0 ]; then
		echo "0.$(printf %03d $n)" >/kill-after
		etcd-volume >/log 2>&1 || true
		rm /kill-after
	else
		timeout --signal KILL "0.$(printf %03d $((n * 10)))" etcd-volume >/log 2>&1 || true
	fi
	! mountpoint -q /var/lib/etcd || umount /var/lib/etcd
	! tail -c 1M $disk | grep -q 'is formatting' || again=$((again + 1))
	formatted
done
echo "killed during a format: $again"
for n in $(seq 5); do
	blank
	touch /power-failure
	! etcd-volume >/log 2>&1 || cat /log
	rm /power-failure
	# Any block may have reached the disk or not, except for the marker.
	python3 -c '
import os, random
random.seed('$n')
disk = os.open("'$disk'", os.O_WRONLY)
for blocks, end in 50 * [(1, 64), (16, 40704)]:
    os.pwrite(disk, bytes(4096 * blocks), 4096 * random.randrange(end))
'
	formatted
done
echo "power failures: $n"
`)
	t.Log(out)
	require.NoError(t, err)
	require.Contains(t, out, "power failures: 5\n")
	require.NotContains(t, out, "during a format: 0\n")
}

// TestEtcdVolumeOnABlockDevice formats a loop device of 256 MiB and mounts it. For a damaged filesystem, it follows the
// printed command that deletes all data. It logs the cost of reading a blank volume.
func TestEtcdVolumeOnABlockDevice(t *testing.T) {
	t.Parallel()
	out, err := guest.Run(t, filesOf(t, machines()["etcd"]), "bash", "-c", etcdVolume+`
truncate --size 256M $disk
mknod /dev/loop-control c 10 237
for n in $(seq 0 255); do mknod /dev/loop$n b 7 $n; done
loop=$(losetup --find --show $disk)
exec 9<>$loop
losetup --detach $loop # when this process has ended
disk=$loop
attach virtio
TIMEFORMAT='blank volume of 256 MiB: %R s, %U s user, %S s system'
time dd if=$disk of=/dev/full bs=1M iflag=direct conv=sparse,nocreat status=none
etcd-volume
umount /var/lib/etcd
zero bs=1k seek=1 count=1
command=$(etcd-volume 2>/dev/null | sed -n 's/.*, so that it is formatted: //p')
echo "$command"
eval "$command"
etcd-volume
mountpoint /var/lib/etcd
umount /var/lib/etcd
`)
	t.Log(out)
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(out, " is blank: formatting /dev/loop"))
}
