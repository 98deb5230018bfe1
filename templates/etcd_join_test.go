package templates

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// etcdMachines returns path → content of etcdMember with etcd-backup of the working tree, and with the
// script run-machine. It runs the commands of etcd.service for one of the three members, like systemd. Each member has
// its own volume, root disk and /run. They survive a kill.
func etcdMachines(t *testing.T) map[string]string {
	files := etcdMember(t)
	for name, source := range map[string]string{
		"etcd-backup": "cmd/etcd-backup", "fake-swift": "tests/swift/serve",
	} {
		files["/usr/local/bin/"+name] = built(t, "kubernetes-openstack/"+source)
	}
	files["/usr/local/sbin/wait-for-artifact"] = "#!/bin/sh\n"

	unit := strings.ReplaceAll(files["/etc/systemd/system/etcd.service"], "\\\n", "")
	lines := func(key string) (out []string) {
		for _, match := range regexp.MustCompile(`(?m)^`+key+`=[-+]?(.*)$`).FindAllStringSubmatch(unit, -1) {
			out = append(out, match[1])
		}
		return out
	}
	environment := ""
	for _, file := range lines("EnvironmentFile") {
		environment += "[ ! -e " + file + " ] || . " + file + "\n"
	}
	files["/usr/local/sbin/run-unit"] = "#!/bin/sh\nset -aeu\n" + environment +
		strings.Join(lines("ExecStartPre"), "\n") + "\n" + environment +
		execStart(t, unit) + ` --listen-metrics-urls="http://10.0.0.1$1:2381" &
etcd=$! MAINPID=$!
until curl --http1.1 --silent --output /dev/null --max-time 1 --cacert /etc/etcd/pki/ca.crt \
	--cert /etc/etcd/pki/client.crt --key /etc/etcd/pki/client.key "https://10.0.0.1$1:2379/version"; do
	grep -q 'State:.[^Z]' /proc/$etcd/status 2>/dev/null || exit 1
	sleep 0.3
done
` + strings.Join(lines("ExecStartPost"), "\n") + " &\npost=$!\nwait $etcd || true\n" +
		"kill $post 2>/dev/null || true\n"
	files["/usr/local/sbin/run-machine"] = `#!/bin/sh
set -eu
cd /machines/$1
mkdir -p lib/etcd volume
mount --bind lib /var/lib
mount --bind volume /var/lib/etcd
mount --bind etcd.env /etc/etcd/etcd.env
mount -t tmpfs tmpfs /run
mkdir /run/cloud-init
echo '{"ds": {"meta_data": {"meta": {"members": "'$(cat members)'"}}}}' >/run/cloud-init/instance-data.json
install -d -m 0700 /var/lib/etcd/data
[ ! -e backup.env ] || mount --bind backup.env /etc/etcd/backup.env
while :; do
	run-unit $1 || true
	echo restarts
	sleep 1
done
`
	return files
}

// startMachines continues after startEtcd.
const startMachines = `
systemd-sysusers /etc/sysusers.d/etcd.conf
. /etc/profile.d/etcdctl.sh
export ETCDCTL_DIAL_TIMEOUT=1s ETCDCTL_COMMAND_TIMEOUT=3s
# plan COUNT: sets the number of members of the plan, for clients and for machines without an instance
plan() {
	count=$1 ETCDCTL_ENDPOINTS=
	for i in $(seq 0 $((count - 1))); do
		ETCDCTL_ENDPOINTS=${ETCDCTL_ENDPOINTS:+$ETCDCTL_ENDPOINTS,}https://10.0.0.1$i:2379
		[ -e /machines/$i/lib ] || echo $count >/machines/$i/members
	done
}
for i in 0 1 2 3 4; do
	mkdir -p /machines/$i
	sed "/MEMBERS=/!{s/dev-etcd-0/dev-etcd-$i/; s/10.0.0.10/10.0.0.1$i/}" /etc/etcd/etcd.env >/machines/$i/etcd.env
	[ $i = 0 ] || sed -i s/https:..127.0.0.1:2379,// /machines/$i/etcd.env # all are in one namespace
done
plan 3
boot() {
	for machine; do
		setsid unshare --mount run-machine $machine >>/log-$machine 2>&1 &
		eval "pid_$machine=$!"
	done
}
stop() { # like a power failure
	for machine; do
		eval "pid=\${pid_$machine-}"
		# before setsid runs, the process has no group of its own yet
		[ -z "$pid" ] || { kill -KILL $pid -$pid; wait $pid; } 2>/dev/null || true
		eval "pid_$machine="
	done
}
lose_volume() { for machine; do stop $machine; rm -rf /machines/$machine/volume; done; }
replace() {
	for machine; do
		stop $machine
		rm -rf /machines/$machine/lib
		echo $count >/machines/$machine/members
	done
}
# healthy: succeeds if all are voting members of one cluster. curl starts much faster than etcdctl.
healthy() {
	for i in $(seq 0 $((count - 1))); do
		curl --silent --fail --output /dev/null --max-time 3 http://10.0.0.1$i:2381/health || return
	done
	status=$(etcdctl --write-out=fields endpoint status 2>/dev/null) &&
		[ "$(echo "$status" | grep -c '"IsLearner" : false')" = $count ] &&
		[ "$(echo "$status" | grep '"ClusterID"' | sort -u | wc -l)" = 1 ]
}
# put KEY...: writes, and records the acknowledged writes
put() { for key; do etcdctl put w/$key x >/dev/null 2>&1 && echo w/$key >>/acknowledged || return; done; }
keys() { ETCDCTL_ENDPOINTS=https://10.0.0.1$1:2379 etcdctl get --prefix w/ --keys-only >/keys 2>/dev/null; }
# lost: prints the number of acknowledged writes that a member lacks. A read that fails on a slow machine is not a loss.
lost() {
	sort -u /acknowledged >/sorted
	for i in $(seq 0 $((count - 1))); do
		eventually keys $i
		grep . /keys | sort >/found
		comm -23 /sorted /found
	done | wc -l
}
seconds() { cut -d . -f 1 /proc/uptime; }
# took SINCE EVENT: waits until all members are healthy, and prints the seconds and the writes
took() {
	until [ "$(seconds)" -gt $(($1 + 120)) ]; do
		if healthy; then
			echo "$2: $(wc -l </acknowledged) writes acknowledged, $(lost) lost, healthy after" \
				"$(($(seconds) - $1)) s"
			return
		fi
		sleep 0.5
	done
	echo "$2: never healthy"
	etcdctl --write-out=table endpoint status 2>&1 | tail -n 9 || true
	etcdctl member list || true
	tail -n 8 /log-*
	exit 1
}
: >/acknowledged
`

// noLoss requires a line of the function took for each of the events.
func noLoss(t *testing.T, out string, events ...string) {
	for _, event := range events {
		assert.Regexp(t, `(?m)^`+event+`: \d+ writes acknowledged, 0 lost, healthy after \d+ s$`, out)
	}
}

// TestEtcdMemberWithoutData takes the data of members away. A member without data joins again by itself. It never votes
// as if it had its data, so no acknowledged write is lost.
func TestEtcdMemberWithoutData(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	out, err := guest.Run(t, etcdMachines(t), "unshare", "--net", "sh", "-c", startEtcd+startMachines+`
		now=$(seconds)
		boot 2 1 0
		took $now 'first boot'
		etcd-join users
		put 1 2 3
		id() { etcdctl member list | grep dev-etcd-$1 | cut -d , -f 1; }
		before=$(id 2)

		replace 2
		boot 2
		took $(seconds) 'new machine, old volume'
		[ "$(id 2)" = "$before" ] && echo 'the member is the same'

		lose_volume 2
		eventually put 4 5 6
		now=$(seconds)
		: >/log-2
		boot 2
		took $now 'lost volume'
		[ "$(id 2)" != "$before" ] && echo "another member, $(grep -c restarts /log-2 || true) restarts"

		stop 1
		eventually put 7 8 9
		stop 0 2
		lose_volume 2
		: >/log-2
		boot 2 1
		sleep 8
		eventually grep -q 'cannot join' /log-2
		put lost && echo 'a quorum has forgotten writes' || echo 'no quorum without member 0'
		grep -m 1 'cannot join' /log-2 || tail /log-2
		now=$(seconds)
		boot 0
		took $now 'lost volume and cold start'
	`)
	t.Log(out)
	require.NoError(t, err)
	noLoss(t, out, "first boot", "new machine, old volume", "lost volume", "lost volume and cold start")
	assert.Contains(t, out, "the member is the same\n")
	assert.Contains(t, out, "another member, 0 restarts\n")
	assert.Contains(t, out, "no quorum without member 0\n")
	assert.Regexp(t, `dev-etcd-2 has no data and cannot join the cluster: .*no answer from dev-etcd-0 `, out)
}

// TestEtcdGrows adds members to a cluster while a client writes. They join it one after the other, although they start
// in parallel. The first machine still has the number of members with which it was created. It does not create another
// cluster after it has lost its data.
func TestEtcdGrows(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	out, err := guest.Run(t, etcdMachines(t), "unshare", "--net", "sh", "-c", startEtcd+startMachines+`
		for i in 3 4; do ip address add 10.0.0.1$i/32 dev lo; done
		plan 1
		boot 0
		took $(seconds) 'one member'
		etcd-join users
		write() {
			while [ ! -e /stop ]; do
				n=$((${n-0} + 1))
				put $n || true
				sleep 0.2 # a process for each write takes the processor time of the members
			done
			rm /stop
		}
		identity() { etcdctl --write-out=fields endpoint status | grep '"ClusterID"' | sort -u; }
		before=$(identity)
		for members in 3 5; do
			write &
			writer=$!
			now=$(seconds)
			plan $members
			boot $((members - 1)) $((members - 2))
			until healthy; do sleep 0.2; done
			touch /stop
			wait $writer || true
			took $now "$members members"
		done
		[ "$(identity)" = "$before" ] && echo 'one cluster'
		cat /machines/0/members

		echo the first machine has lost its data:
		stop 0 1 2 3 4
		lose_volume 0
		: >/log-0
		boot 0
		eventually grep 'restore a backup' /log-0
		tail -n 1 /log-0
		echo a new machine:
		replace 0
		: >/log-0
		boot 0
		eventually grep 'waits for all members' /log-0
		now=$(seconds)
		boot 1 2 3 4
		took $now 'all members'
	`)
	t.Log(out)
	require.NoError(t, err)
	noLoss(t, out, "one member", "3 members", "5 members", "all members")
	assert.Contains(t, out, "one cluster\n1\nthe first machine has lost its data:\n"+
		"data lost: no member has data, but dev-etcd-0 had data before: restore a backup\n")
}

// TestEtcdWithoutQuorumOfData takes the data of more members than the cluster can replace. No member starts then, and
// the log has the reason.
func TestEtcdWithoutQuorumOfData(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	out, err := guest.Run(t, etcdMachines(t), "unshare", "--net", "sh", "-c", startEtcd+startMachines+`
		boot 0 1 2
		took $(seconds) 'first boot'
		put 1 2 3
		cluster() { etcdctl --write-out=fields endpoint status | grep -m 1 '"ClusterID"'; }
		before=$(cluster)
		stop 0
		cp -a /machines/0/volume /earlier
		boot 0
		took $(seconds) restart

		echo two volumes lost:
		lose_volume 1 2
		: >/log-1
		boot 1 2
		eventually grep 'restore a backup' /log-1
		grep -o 'etcd-1 has no data.*' /log-1 | tail -n 1
		put lost && echo 'a member has voted without data'

		echo all volumes lost:
		lose_volume 0 1 2
		: >/log-0
		boot 0 1 2
		eventually grep 'restore a backup' /log-0
		tail -n 1 /log-0
		sleep 3
		put lost && echo 'a cluster without data'

		stop 0 1 2
		replace 0 1 2
		: >/acknowledged
		boot 0 1 2
		took $(seconds) 'new cluster'
		[ "$(cluster)" != "$before" ] && echo 'another cluster'
		put 11 12
		stop 0
		rm -rf /machines/0/volume
		cp -a /earlier /machines/0/volume
		eventually put 13
		: >/log-0
		boot 0
		eventually grep 'is not a member of the cluster' /log-0
		grep -o 'the volume of .* has' /log-0
		put 14 15 && echo 'the volume of the earlier cluster has no effect'
		lose_volume 0
		boot 0
		took $(seconds) 'right volume'
	`)
	t.Log(out)
	require.NoError(t, err)
	noLoss(t, out, "first boot", "restart", "new cluster", "right volume")
	assert.Regexp(t, `two volumes lost:\netcd-1 has no data and cannot join the cluster: .*; no data on dev-etcd-1, `+
		`dev-etcd-2: data lost, the cluster has no quorum any more: restore a backup\nall`, out)
	assert.Contains(t, out, "all volumes lost:\n"+
		"data lost: no member has data, but dev-etcd-0, dev-etcd-1, dev-etcd-2 had data before: restore a backup\n"+
		"new cluster")
	assert.Contains(t, out, "another cluster\n")
	assert.Contains(t, out, "the volume of dev-etcd-0 has\n")
	assert.Contains(t, out, "the volume of the earlier cluster has no effect\n")
}

// TestEtcdStartsAtRandomTimes boots three new machines at random times and kills them at random moments, while a client
// writes. Then it kills all, takes a volume, and boots them again. Another seed gives other times.
func TestEtcdStartsAtRandomTimes(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	r := rand.New(rand.NewPCG(0, 0))
	out, err := guest.Run(t, etcdMachines(t), "unshare", "--net", "sh", "-c", startEtcd+startMachines+`
		while [ ! -e /stop ]; do
			n=$((${n-0} + 1))
			put $n || true
			sleep 0.2
		done &
		now=$(seconds)
		`+randomBoots(r, 6)+`
		took $now 'first boot'
		stop 0 1 2
		`+fmt.Sprintf("lose_volume %d\nnow=$(seconds)\n", r.IntN(3))+randomBoots(r, 3)+`
		took $now 'cold start'
		touch /stop
	`)
	t.Log(out)
	require.NoError(t, err)
	noLoss(t, out, "first boot", "cold start")
}

// randomBoots returns commands that boot three machines in the first 3 s, and kill and boot machines at random moments
// of the first 10 s.
func randomBoots(r *rand.Rand, kills int) string {
	type event struct {
		at      int // ms
		command string
	}
	var events []event
	first := map[int]int{}
	for i := range 3 {
		first[i] = r.IntN(3000)
		events = append(events, event{first[i], fmt.Sprint("boot ", i)})
	}
	for range kills {
		i := r.IntN(3)
		at := first[i] + 10 + r.IntN(10000-first[i])
		events = append(events, event{at, fmt.Sprintf("stop %[1]d; boot %[1]d", i)})
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at - b.at })
	out, now := "", 0
	for _, e := range events {
		out += fmt.Sprintf("sleep %d.%03d; %s\n", (e.at-now)/1000, (e.at-now)%1000, e.command)
		now = e.at
	}
	return out
}
