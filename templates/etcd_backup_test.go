package templates

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
	"kubernetes-openstack/tests/swift"
)

// backupMachines returns etcdMachines with the settings of a backup, and with an etcdctl that has some steps.
func backupMachines(t *testing.T) map[string]string {
	files := etcdMachines(t)
	files["/backup.env"] = strings.Join(append(swift.Env("http://127.0.0.1:8080"), "BACKUP_CONTAINER=dev-etcd",
		"BACKUP_PREFIX=dev", "BACKUP_INTERVAL=1h", "BACKUP_KEEP=24", ""), "\n")
	files["/etc/etcd/backup.env"] = "" // each machine mounts its own
	files["/usr/local/sbin/journalctl"] = "#!/bin/sh\ncat /journal\n"
	// All machines of the test have one loopback interface. So /run of each has the address of its etcd. If the file
	// /hang exists, a snapshot takes forever.
	files["/usr/local/sbin/etcdctl"] = `#!/bin/sh
if [ "$ETCDCTL_ENDPOINTS $1" = 'https://127.0.0.1:2379 snapshot' ] && [ -e /hang ]; then
	touch /hangs
	exec sleep 600
fi
if [ "$ETCDCTL_ENDPOINTS" = https://127.0.0.1:2379 ] && [ -e /run/endpoint ]; then
	export ETCDCTL_ENDPOINTS=$(cat /run/endpoint)
fi
exec /usr/local/bin/etcdctl "$@"
`
	return files
}

// startBackups continues after startMachines. It starts Swift.
const startBackups = `
fake-swift 127.0.0.1:8080 dev-etcd &
# object NAME OPTION...: sends a request for an object
object() {
	url=http://127.0.0.1:8080/v1/AUTH_ours/dev-etcd/$1
	shift
	curl -sS --fail -H 'X-Auth-Token: token' "$@" "$url"
}
eventually object '?limit=1'
# configure RESTORE MACHINE...: sets etcd.restore of machines from their next boot
configure() {
	restore=$1
	shift
	for machine; do
		(cat /backup.env; echo "RESTORE=$restore") >/machines/$machine/backup.env
		printf '%s\n' BACKUP_CONTAINER=dev-etcd "RESTORE=$restore" >>/machines/$machine/etcd.env # the last lines are valid
	done
}
configure '' 0 1 2
# on MACHINE COMMAND...: runs a command with the settings of etcd-backup of a machine
on() {
	setsid unshare --mount sh -euc '
		mount -t tmpfs -o size=${TMP_SIZE-100m} tmpfs /tmp
		echo $$ >/process-$1
		mount -t tmpfs tmpfs /run
		echo 60.00 1.00 >/run/uptime
		mount --bind /run/uptime /proc/uptime
		echo https://10.0.0.1$1:2379 >/run/endpoint
		mkdir -p /machines/$1/lib
		mount --bind /machines/$1/lib /var/lib
		mount --bind /machines/$1/backup.env /etc/etcd/backup.env
		mount --bind /machines/$1/etcd.env /etc/etcd/etcd.env
		shift
		exec "$@"' on "$@" 2>&1
}
# notice MACHINE: prints the notice of check-etcd. startMachines sets variables that conflict with its flags.
notice() { on $1 env -u ETCDCTL_DIAL_TIMEOUT -u ETCDCTL_COMMAND_TIMEOUT check-etcd; }
# newest: prints the name of the newest snapshot
newest() { object '?prefix=dev-' | grep -o 'dev-[0-9TZ]*\.db' | tail -n 1; }
`

// TestEtcdBackup runs etcd-backup on three members of a real etcd.
func TestEtcdBackup(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	out, err := guest.Run(t, backupMachines(t), "unshare", "--net", "sh", "-c", startEtcd+startMachines+startBackups+`
		echo no access:
		sed -i 's/SECRET=.*/SECRET=wrong/' /backup.env
		configure '' 0 1 2
		now=$(seconds)
		boot 0 1 2
		eventually grep 'HTTP status 401' /log-0
		tail -n 1 /log-0
		! put lost || echo 'a cluster without knowledge of backups'
		sed -i 's/SECRET=.*/SECRET=secret/' /backup.env
		configure '' 0 1 2
		eventually grep 'creates the cluster' /log-0
		took $now 'first boot'
		etcd-join users
		put 1 2 3

		echo no backup:
		notice 0
		sed -i 's/CONTAINER=.*/CONTAINER=other/' /machines/0/backup.env
		on 0 etcd-backup save >/journal || true
		notice 0
		configure '' 0

		echo in parallel:
		running=
		for i in 0 1 2; do on $i etcd-backup save >/save-$i & running="$running $!"; done
		for pid in $running; do wait $pid || { cat /save-*; exit 1; }; done
		sort -h /save-*
		name=$(newest)
		object "?prefix=dev-" | grep -o 'dev-[0-9TZ]*\.db' | wc -l
		on 1 etcd-backup save
		for i in 0 1 2; do notice $i; done

		echo damage:
		on 0 etcd-backup fetch $name /fetched
		etcdutl --write-out=json snapshot status /fetched | grep -o '"version":"[^"]*"'
		refused() { # requires that etcd refuses the file, too
			object damaged.db --upload-file /damaged
			on 0 etcd-backup fetch damaged.db /refused || true
			ls /refused* 2>/dev/null || true
			! etcdutl snapshot restore /damaged --data-dir /refused-data >/dev/null 2>&1 && rm -rf /refused-data
		}
		size=$(stat -c %s /fetched)
		for bytes in 0 32 8192 8224 $((size - 32)) $((size - 1)); do
			head -c $bytes /fetched >/damaged
			refused
		done
		for byte in 20 4100 $((size / 2)) $((size - 1)); do
			cp /fetched /damaged
			printf '\377' | dd of=/damaged bs=1 seek=$byte conv=notrunc status=none
			cmp -s /fetched /damaged && printf '\0' | dd of=/damaged bs=1 seek=$byte conv=notrunc status=none
			refused
		done
		on 0 etcd-backup fetch missing.db /refused || true

		echo disk full:
		sed -i 's/BACKUP_INTERVAL=.*/BACKUP_INTERVAL=1s/' /backup.env
		configure '' 0 1 2
		sleep 1
		TMP_SIZE=16k on 0 etcd-backup save >/journal || true
		cat /journal
		notice 0
		notice 1

		echo take-over:
		touch /hang
		on 0 etcd-backup save >/save-0 &
		eventually test -e /hangs
		rm /hang
		on 1 etcd-backup save >/save-1 &
		next=$!
		sleep 1
		cat /save-1
		now=$(seconds)
		kill -KILL -$(cat /process-0)
		wait $next || true
		cat /save-1
		echo "$(($(seconds) - now)) s after the holder was killed"

		echo not healthy:
		stop 1 2
		sleep 1
		on 0 etcd-backup save || true
	`)
	t.Log(out)
	require.NoError(t, err)
	noLoss(t, out, "first boot")
	_, out, _ = strings.Cut(out, "no access:\n")
	access, out, _ := strings.Cut(out, "no backup:\n")
	assert.Regexp(t, `^dev-etcd-0 does not create an empty cluster: etcd-backup check-empty: log in to OpenStack with `+
		`the application credential credential: HTTP status 401 from \S+\nfirst boot: 0 writes`, access)
	missing, out, _ := strings.Cut(out, "in parallel:\n")
	assert.Equal(t, "no backup was found: etcd-backup: list container other: does not exist\n", missing)
	out = regexp.MustCompile(`dev-\d{8}T\d{6}Z`).ReplaceAllString(out, "NAME")
	out = regexp.MustCompile(`\d+\.\d+ MB, \d+ keys, revision \d+, \d+\.\d s`).ReplaceAllString(out, "NUMBERS")
	const due, refused = "no snapshot is due: NAME.db is younger than 10m0s\n",
		"etcd-backup: damaged.db in container dev-etcd is not an intact snapshot: "
	parallel, out, _ := strings.Cut(out, "damage:\n")
	assert.Equal(t, due+due+"saved NAME.db: NUMBERS\n1\n"+due, parallel)
	damage, out, _ := strings.Cut(out, "disk full:\n")
	assert.Contains(t, damage, "fetched NAME.db: NUMBERS\n\"version\":\"3.6.0\"\n"+refused+"not a snapshot of etcd: it "+
		"has 0 bytes, and does not begin with etcd's database\n")
	assert.Equal(t, 3, strings.Count(damage, refused+"truncated: "), damage)
	assert.Equal(t, 1, strings.Count(damage, refused+"without a SHA-256 at its end: "), damage)
	assert.Equal(t, 4, strings.Count(damage, refused+"altered: "), damage)
	assert.Contains(t, damage, "etcd-backup: read missing.db in container dev-etcd: does not exist\n")
	assert.NotContains(t, damage, "/refused")
	full, out, _ := strings.Cut(out, "take-over:\n")
	const noSpace = `etcd-backup: etcdctl snapshot save: could not write snapshot: .*: no space left on device\n`
	assert.Regexp(t, `^`+noSpace+`the newest backup is too old, NAME.db: `+noSpace+`$`, full)
	assert.Regexp(t, `^saved NAME\.db: NUMBERS\n\d+ s after the holder was killed\nnot healthy:\n`+
		`etcd-backup: the member of this machine is not healthy, so another member must save the snapshot: etcdctl endpoint `+
		`health: unhealthy cluster\n$`, out)
}
