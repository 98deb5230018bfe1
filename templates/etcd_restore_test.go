package templates

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// startRestores continues after startBackups.
const startRestores = `
# backup: saves a snapshot at member 0, and records the writes of which it consists
backup() {
	on 0 etcd-backup save >/save || cat /save
	cp /acknowledged /in-snapshot
	name=$(newest)
}
# restored SINCE EVENT: waits until all members are healthy, and prints the seconds and the writes of the snapshot
restored() {
	cp /in-snapshot /acknowledged
	took "$@"
}
revision() { etcdctl --write-out=fields get w/ | sed -n 's/^"Revision" : //p'; }
`

// TestEtcdRestore restores a cluster that lost all volumes. It then takes volumes away again.
func TestEtcdRestore(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	out, err := guest.Run(t, backupMachines(t), "unshare", "--net", "sh", "-c", startEtcd+startMachines+startBackups+
		startRestores+`
		boot 0 1 2
		took $(seconds) 'first boot'
		etcd-join users
		put 1 2 3 4 5
		backup
		old=$(revision)
		put 6 7

		lose_volume 0 1 2
		replace 0 1 2
		configure $name 0 1 2
		now=$(seconds)
		boot 0 1 2
		restored $now restore
		etcdctl get --prefix w/ --keys-only | grep -c '[67]' || true
		new=$(revision)
		[ $new -gt $old ] && echo "the revision is higher"
		timeout 5 etcdctl watch w/1 --rev=$old 2>&1 | grep -o 'required revision has been compacted' | head -n 1
		etcdctl auth status | grep Status
		etcdctl get --print-value-only /kubernetes-openstack/restored | sed "s/$name/the snapshot/"
		etcd-join users
		put 11 12 13

		lose_volume 0
		boot 0
		took $(seconds) 'lost volume of the first member'
		put 14 15
		stop 0 1 2
		replace 1
		: >/log-0
		boot 0 1 2
		took $(seconds) 'cold start and a new machine'
		grep -c restores /log-0 || true
		stop 0 1
		lose_volume 2
		configure '' 0 1 2
		boot 0 1 2
		took $(seconds) 'without etcd.restore, and a lost volume'
		stop 0 1 2
		configure $name 0 1 2
		boot 0 1 2
		took $(seconds) 'with etcd.restore again'

		echo everything lost:
		cp /in-snapshot /first
		on 0 etcd-backup save-now >/save || cat /save
		cp /acknowledged /in-snapshot
		newest=$(newest)
		names() { sed "s/$name/the snapshot/g; s/$newest/the newest snapshot/g"; }
		refused() {
			lose_volume 0 1 2
			replace 0 1 2
			: >/log-0
			boot 0 1 2
			eventually grep -e 'cannot restore' -e 'does not create' /log-0
			tail -n 1 /log-0 | names
			! put lost || echo 'a cluster without the newest writes'
		}
		refused
		configure '' 0 1 2
		refused
		stop 0 1 2
		configure $newest 0 1 2
		now=$(seconds)
		boot 0 1 2
		restored $now 'restore of the newest snapshot'

		lose_volume 0 1 2
		boot 0 1 2
		eventually grep 'data lost' /log-1
		tail -n 1 /log-1 | names
		stop 0 1 2
		object $name --output /snapshot
		object other.db --upload-file /snapshot
		configure other.db 0 1 2
		cp /first /in-snapshot
		now=$(seconds)
		boot 0 1 2
		restored $now 'second restore'
	`)
	t.Log(out)
	require.NoError(t, err)
	noLoss(t, out, "first boot", "restore", "lost volume of the first member", "cold start and a new machine",
		"without etcd.restore, and a lost volume", "with etcd.restore again", "restore of the newest snapshot",
		"second restore")
	assert.Regexp(t, `(?m)^restore: 5 writes acknowledged, 0 lost, healthy after \d+ s\n0\nthe revision is higher\n`+
		`required revision has been compacted\nAuthentication Status: true\nthe snapshot$`, out)
	assert.Regexp(t, `(?m)^cold start and a new machine: .*\n0$`, out)
	assert.Contains(t, out, "everything lost:\n"+
		"dev-etcd-0 cannot restore the snapshot: etcd-backup check-restore the snapshot: it was restored before, and the "+
		"newest snapshot has the changes since then: set etcd.restore to the newest snapshot, or restore a copy of the "+
		"snapshot with another name\n"+
		"dev-etcd-0 does not create an empty cluster: etcd-backup check-empty: container dev-etcd has snapshots of cluster "+
		"dev: 2, the newest is the newest snapshot: set etcd.restore to this name, or set another etcd.backup.container for "+
		"an empty cluster\nrestore of the newest snapshot: ")
	assert.Contains(t, out, "data lost: no member has data, but dev-etcd-0, dev-etcd-1, dev-etcd-2 had the data of the "+
		"restore of the newest snapshot: set etcd.restore to another backup\n")
}

// TestEtcdRestoreOfWrongData restores a cluster whose data is wrong, while a client writes. The machines are replaced
// one after the other, which is the slowest that pulumi up can be.
func TestEtcdRestoreOfWrongData(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	out, err := guest.Run(t, backupMachines(t), "unshare", "--net", "sh", "-c", startEtcd+startMachines+startBackups+
		startRestores+`
		boot 0 1 2
		took $(seconds) 'first boot'
		put 1 2 3
		backup
		put wrong

		echo wrong name:
		stop 0 1 2
		configure typo.db 0 1 2
		boot 0 1 2
		for i in 0 1 2; do eventually grep 'does not exist' /log-$i; done
		tail -qn 1 /log-0 /log-1 /log-2
		stop 0 1 2
		configure '' 0 1 2
		boot 0 1 2
		took $(seconds) 'no restore'

		echo one after the other:
		change() { stop $1; replace $1; configure $name $1; : >/log-$1; boot $1; }
		change 0
		eventually grep 'still serves' /log-0
		eventually put a b && echo 'the other members have a quorum'
		change 1
		eventually grep 'still serves' /log-1
		put c || echo 'no quorum'
		now=$(seconds)
		change 2
		restored $now 'restore'
		grep -o 'dev-etcd-0 waits.*' /log-0 | sed "s/$name/the snapshot/"
		grep -o 'dev-etcd-1 waits.*' /log-1 | sed "s/$name/the snapshot/" | head -n 1
		etcdctl get --prefix w/ --keys-only | grep -c '[abcw][a-z]' || true
		for i in 0 1 2; do ls /machines/$i/volume; done | sed 's/-[0-9TZ]*$/-TIME/' | sort | uniq -c
		# the data that was set aside is complete
		kept=$(echo /machines/1/volume/before-restore-*)
		mkdir /kept
		cp -r $kept /kept/member
		etcd --data-dir=/kept --force-new-cluster --listen-client-urls=http://127.0.0.1:3379 \
			--advertise-client-urls=http://127.0.0.1:3379 --listen-peer-urls=http://127.0.0.1:3380 >/log-kept 2>&1 &
		kept_get() { env -i PATH=$PATH etcdctl --endpoints=127.0.0.1:3379 get --prefix w/ --keys-only | grep .; }
		eventually kept_get
		echo "kept: $(kept_get | paste -s -d ' ')"

		echo damaged snapshot:
		object $name --output /snapshot
		head -c 9000 /snapshot >/truncated
		cp /snapshot /altered
		printf altered | dd of=/altered bs=1 seek=9000 conv=notrunc status=none
		object truncated.db --upload-file /truncated
		object altered.db --upload-file /altered
		object other.db --upload-file /snapshot
		stop 0 1 2
		configure truncated.db 0 1 2
		boot 0 1 2
		for i in 0 1 2; do eventually grep 'truncated' /log-$i; done
		tail -n 1 /log-0
		stop 0 1 2
		configure altered.db 0 1 2
		boot 0 1 2
		for i in 0 1 2; do eventually grep 'altered:' /log-$i; done
		tail -n 1 /log-0
		tail -n 1 /log-2
		ls -d /machines/*/volume/before-restore-* | wc -l
		stop 0 1 2
		configure other.db 0 1 2
		now=$(seconds)
		boot 0 1 2
		restored $now 'restore of another snapshot'
	`)
	t.Log(out)
	require.NoError(t, err)
	noLoss(t, out, "first boot", "no restore", "restore", "restore of another snapshot")
	wrong, out, _ := strings.Cut(out, "one after the other:\n")
	for _, i := range []string{"0", "1", "2"} {
		assert.Contains(t, wrong, "dev-etcd-"+i+" keeps its data, and waits for the restore of typo.db: etcd-backup fetch "+
			"typo.db: read typo.db in container dev-etcd: does not exist\n")
	}
	assert.Contains(t, wrong, "no restore: 4 writes acknowledged, 0 lost")
	rolling, out, _ := strings.Cut(out, "damaged snapshot:\n")
	assert.Regexp(t, `^the other members have a quorum\nno quorum\nrestore: 3 writes acknowledged, .*\n`+
		`dev-etcd-0 waits for the restore of the snapshot: dev-etcd-1 still serves the data before the restore: pulumi up `+
		`replaces it; dev-etcd-2 still serves the data before the restore: pulumi up replaces it\n`, rolling)
	assert.Contains(t, rolling, "\ndev-etcd-1 waits for the restore of the snapshot: dev-etcd-2 still serves the data "+
		"before the restore: pulumi up replaces it\n")
	assert.Regexp(t, `\n0\n +3 before-restore-TIME\n +3 data\n +3 restored\nkept: w/1 w/2 w/3 .*w/wrong\n$`, rolling)
	assert.Regexp(t, `^dev-etcd-0 keeps its data, and waits for the restore of truncated.db: etcd-backup fetch `+
		`truncated.db: truncated.db in container dev-etcd is not an intact snapshot: truncated: it has 9000 bytes, .*\n`+
		`dev-etcd-0 keeps its data, and waits for the restore of altered.db: etcd-backup fetch altered.db: altered.db in `+
		`container dev-etcd is not an intact snapshot: altered: .*\ndev-etcd-2 keeps its data, and waits for .*: altered: `+
		`.*\n3\n`, out)
}

// TestEtcdRestoreIsKilled kills etcd-join at each step of a restore: before, during and after the download and the
// restore. The cluster has a single member.
func TestEtcdRestoreIsKilled(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	files := backupMachines(t)
	// The programs kill their caller, etcd-join, at the step in the file /kill-at.
	const step = `#!/bin/sh
step() {
	n=$(($(cat /step) + 1))
	echo $n >/step
	[ $n = "$(cat /kill-at)" ] || return 0
	echo "killed $1" >>/kills
	kill -KILL $PPID
	exit 1
}
`
	files["/usr/local/sbin/etcd-backup"] = step + `
[ $1 = fetch ] || exec /usr/local/bin/etcd-backup "$@"
step 'before the download'
/usr/local/bin/etcd-backup fetch "$2" "$3"
mv "$3" "$3.part"
step 'during the download'
mv "$3.part" "$3"
step 'after the download'
`
	files["/usr/local/sbin/etcdutl"] = step + `
[ "$2" = restore ] || exec /usr/local/bin/etcdutl "$@"
step 'before the restore'
/usr/local/bin/etcdutl "$@"
for argument; do case $argument in --data-dir=*) data=${argument#*=} ;; esac; done
mv $data/member/wal $data/wal
step 'during the restore'
mv $data/wal $data/member/wal
step 'after the restore'
`
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", startEtcd+startMachines+startBackups+startRestores+`
		found() { [ "$(etcdctl get --prefix w/ --keys-only 2>/dev/null | grep -c .)" = $1 ]; }
		plan 1
		: >/kills
		echo 0 >/kill-at
		boot 0
		eventually put 1 2 3
		backup
		put wrong
		stop 0
		cp -a /machines/0/volume /before
		configure $name 0
		for at in 1 2 3 4 5 6; do
			lose_volume 0
			replace 0
			cp -a /before /machines/0/volume
			echo 0 >/step
			echo $at >/kill-at
			now=$(seconds)
			boot 0
			eventually found 3
			tail -n 1 /kills
			echo "3 writes after $(($(seconds) - now)) s, volume: $(ls /machines/0/volume | paste -s -d ' ')"
		done
	`)
	t.Log(out)
	require.NoError(t, err)
	out = regexp.MustCompile(`\d{8}T\d{6}Z|\d+ s`).ReplaceAllString(out, "TIME")
	want := ""
	for _, step := range []string{"before the download", "during the download", "after the download",
		"before the restore", "during the restore", "after the restore"} {
		want += "killed " + step + "\n3 writes after TIME, volume: before-restore-TIME data restored\n"
	}
	assert.Contains(t, out, want)
}

// TestEtcdRestoreAtRandomTimes boots the members of a restore at random times, and kills them at random moments.
// Another seed gives other times.
func TestEtcdRestoreAtRandomTimes(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	r := rand.New(rand.NewPCG(0, 0))
	out, err := guest.Run(t, backupMachines(t), "unshare", "--net", "sh", "-c", startEtcd+startMachines+startBackups+
		startRestores+`
		boot 0 1 2
		took $(seconds) 'first boot'
		put 1 2 3
		backup
		put wrong
		stop 0 1 2
		replace 0 1 2
		configure $name 0 1 2
		now=$(seconds)
		`+randomBoots(r, 8)+`
		restored $now restore
		etcdctl get --prefix w/ --keys-only | grep -c .
		for i in 0 1 2; do ls -d /machines/$i/volume/before-restore-*; done | wc -l
	`)
	t.Log(out)
	require.NoError(t, err)
	noLoss(t, out, "first boot", "restore")
	assert.Regexp(t, `\n3\n3\n$`, out, "all have the snapshot, and keep the data from before the restore")
}
