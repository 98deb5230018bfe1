package templates

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// etcdUsers continues after startEtcd.
const etcdUsers = `
. /etc/profile.d/etcdctl.sh
# may USER COMMAND...: prints yes if the user has the permission. stranger has a certificate, but is not a user.
may() {
	user=$1
	shift
	case $user in
	root) certificate=/etc/etcd/pki/client ;;
	stranger) certificate=/etc/etcd/pki/peer ;;
	*) certificate=/$user ;;
	esac
	if output=$(export ETCDCTL_CERT=$certificate.crt ETCDCTL_KEY=$certificate.key; "$@" 2>&1); then
		echo "$user $*: yes"
	else
		case $output in *'permission denied'* | *'user name not found'*) output=no ;; esac
		echo "$user $*: $output"
	fi
}
read_in_txn() { printf '\nget %s\n\n\n' "$1" | etcdctl txn; }
guess() { printf 'value("%s") > "a"\n\n\n\n' "$1" | etcdctl txn; }
snapshot() { ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 etcdctl snapshot save /snapshot; }
watch() { timeout 10 etcdctl watch "$@"; }
# users prints the users, roles and permissions.
users() {
	for name in $(etcdctl user list); do etcdctl user get "$name" | paste -s -d ' '; done
	for name in $(etcdctl role list); do etcdctl role get "$name" | sed 's/\t/  /'; done
	etcdctl auth status | grep Status
}
`

// usersOfEtcd is the output of the function users.
const usersOfEtcd = `User: calico Roles: calico
User: kube-apiserver Roles: kube-apiserver
User: root Roles: root
Role calico
KV Read:
  [/calico/, /calico0) (prefix /calico/)
KV Write:
  [/calico/, /calico0) (prefix /calico/)
Role kube-apiserver
KV Read:
  [/registry/, /registry0) (prefix /registry/)
KV Write:
  [/registry/, /registry0) (prefix /registry/)
Authentication Status: true
`

// TestEtcdUsers runs etcd-auth on three members in parallel. As each of its users, and as a stranger, it then
// requests keys with and without permission. It repeats the requests at a member that was killed and started
// again with its old data.
func TestEtcdUsers(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	const secret, pool = "/registry/secrets/default/gold", "/calico/v1/pool"
	const all = "kube-apiserver calico stranger"
	var script, want strings.Builder
	// ask runs a command as some users, which must be allowed, and as others, which must be refused
	ask := func(command, users, others string) {
		for answer, list := range map[string]string{"yes": users, "no": others} {
			for user := range strings.FieldsSeq(list) {
				fmt.Fprintf(&script, "may %s %s\n", user, strings.Replace(command, "LEASE", "$lease", 1))
				fmt.Fprintf(&want, "%s %s: %s\n", user, command, answer)
			}
		}
	}
	for key, users := range map[string][2]string{
		secret: {"kube-apiserver", "calico stranger"}, pool: {"calico", "kube-apiserver stranger"},
	} {
		user, others := users[0], users[1]
		ask("etcdctl get "+key, "root "+user, others)
		ask("etcdctl get --consistency=s "+key, user, others)
		ask("etcdctl get --prefix "+path.Dir(key)+"/", user, others)
		ask("etcdctl get --from-key "+key, "root", all)
		ask("watch "+key, "", others)
		ask("etcdctl put "+key+" x", "root "+user, others)
		ask("etcdctl del "+key, "", others)
		ask("read_in_txn "+key, user, others)
		ask("guess "+key, user, others)
	}
	for _, prefix := range []string{"/", "/c", "/calico", "/r", "/registry"} {
		ask("etcdctl get --prefix "+prefix, "", all)
	}
	for _, key := range []string{"/", "/calico", "/calico0", "/registry", "/registry0", "compact_rev_key"} {
		ask("etcdctl get "+key, "root", all)
		ask("etcdctl put "+key+" x", "", all)
	}
	ask("etcdctl lease timetolive --keys LEASE", "kube-apiserver", "calico stranger")
	ask("etcdctl lease revoke LEASE", "", "calico stranger")
	for _, command := range []string{
		"user add --no-password thief", "user grant-role calico root", "role grant-permission --prefix calico read /",
		"auth disable",
		"member remove 1", "compact 1",
	} {
		ask("etcdctl "+command, "", all)
	}
	ask("snapshot", "", all)

	out, err := guest.Run(t, etcdMember(t), "unshare", "--net", "sh", "-c", startEtcd+etcdUsers+`
		for i in 0 1 2; do member $i; done
		eventually check-etcd
		may calico etcdctl put /registry/secrets/default/gold glittering
		may kube-apiserver etcdctl put /calico/v1/pool 10.244.0.0/16
		for i in 0 1 2; do etcd-auth >/auth-$i 2>&1 & eval "auth_$i=$!"; done
		for i in 0 1 2; do eval "wait \$auth_$i" || cat /auth-$i; done
		users
		check-etcd && etcdctl endpoint health --cluster | grep -c 'is healthy'
		etcdctl member list | wc -l
		before=$(etcdctl auth status)
		etcd-auth >/dev/null && [ "$(etcdctl auth status)" = "$before" ] && echo nothing changed
		lease=$(etcdctl lease grant 100 | cut -d ' ' -f 2)
		etcdctl put --lease=$lease /registry/events/e x >/dev/null
		echo permissions:
		`+script.String()+`
		echo no certificate:
		env -u ETCDCTL_CERT -u ETCDCTL_KEY ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 \
			etcdctl --command-timeout=2s get `+secret+` 2>/dev/null || echo no answer
		echo HTTP:
		curl --silent --show-error --cacert $ETCDCTL_CACERT --cert /calico.crt --key /calico.key \
			https://127.0.0.1:2379/v3/kv/range --data '{"key": "'$(printf `+secret+` | base64)'"}'
		echo
		echo restarted:
		{ kill -KILL $pid_0; wait $pid_0 || true; } 2>/dev/null
		member 0
		export ETCDCTL_ENDPOINTS=https://127.0.0.1:2379
		eventually etcdctl endpoint health
		may calico etcdctl get `+secret+`
		may calico etcdctl get --consistency=s `+secret+`
		may calico etcdctl get `+pool+`
		etcd-auth >/dev/null
		users
	`)
	t.Log(out)
	require.NoError(t, err)
	out = regexp.MustCompile(`[0-9a-f]{16}`).ReplaceAllString(out, "LEASE")
	require.Equal(t, "calico etcdctl put "+secret+" glittering: yes\nkube-apiserver etcdctl put "+pool+
		" 10.244.0.0/16: yes\n"+
		usersOfEtcd+"3\n3\nnothing changed\n"+
		"permissions:\n"+want.String()+
		"no certificate:\nno answer\n"+
		"HTTP:\nCommonName of client sending a request against gateway will be ignored and not used as expected\n\n"+
		"restarted:\ncalico etcdctl get "+secret+": no\ncalico etcdctl get --consistency=s "+secret+": no\n"+
		"calico etcdctl get "+pool+": yes\n"+usersOfEtcd, out)
}

// TestEtcdAuthConverges kills etcd-auth after each of its changes, removes its results and adds other users.
// It also kills etcd-auth while it holds the lock.
func TestEtcdAuthConverges(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	limitParallel(t)
	files := etcdMember(t)
	const env, profile = "/etc/etcd/etcd.env", "/etc/profile.d/etcdctl.sh"
	files[env] = regexp.MustCompile(`,dev-etcd-[12]=[^,\n]*`).ReplaceAllString(files[env], "")
	files[profile] = regexp.MustCompile(`,[^,\n]*`).ReplaceAllString(files[profile], "")
	// kills the caller, or also the holder of the lock, after the number of changes in /kill-after
	files["/usr/local/sbin/etcdctl"] = `#!/bin/sh
case "$1 $2" in
lock*) echo $$ >/holder; exec /usr/local/bin/etcdctl "$@" ;;
*' add' | *' grant-'* | *' revoke-'* | 'auth enable') ;;
*) exec /usr/local/bin/etcdctl "$@" ;;
esac
/usr/local/bin/etcdctl "$@" || exit
left=$(($(cat /kill-after) - 1))
echo $left >/kill-after
[ $left = 0 ] || exit 0
echo "killed after: $*"
[ ! -e /kill-holder ] || kill -KILL $(cat /holder)
kill -KILL $PPID
`
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", startEtcd+etcdUsers+`
		member 0
		eventually check-etcd
		undo() {
			etcdctl auth disable
			for user in $(etcdctl user list); do etcdctl user delete $user; done
			for role in $(etcdctl role list); do etcdctl role delete $role; done
		} >/dev/null
		n=0
		until n=$((n + 1)); echo $n >/kill-after; etcd-auth >/log 2>&1; do
			grep 'killed after' /log || cat /log
			etcd-auth >/log 2>&1 || cat /log
			users >/users-$n
			undo
		done
		users >/users
		cat /users
		for f in /users-*; do diff /users $f; done

		{
			etcdctl role grant-permission --prefix calico readwrite /registry/
			etcdctl role grant-permission --prefix calico read /calico/
			etcdctl role grant-permission calico write key
			etcdctl role add other
			etcdctl user grant-role calico other
			etcdctl user grant-role calico kube-apiserver
			etcdctl user revoke-role kube-apiserver kube-apiserver
			etcd-auth
			etcdctl role delete other
		} >/log || cat /log
		echo repaired:
		users

		undo
		echo 2 >/kill-after
		touch /kill-holder
		etcd-auth >/log 2>&1 || grep 'killed after' /log
		echo its lock is a lease:
		for lease in $(etcdctl lease list | tail -n +2); do
			etcdctl lease timetolive $lease | sed '/already expired/d; s/.* granted/granted/; s/,.*//'
		done | sort -u
		etcd-auth >/log || cat /log
		users
	`)
	t.Log(out)
	require.NoError(t, err)
	want := ""
	for _, change := range []string{
		"role add kube-apiserver", "role grant-permission --prefix kube-apiserver readwrite /registry/",
		"user add --no-password kube-apiserver", "user grant-role kube-apiserver kube-apiserver",
		"role add calico", "role grant-permission --prefix calico readwrite /calico/",
		"user add --no-password calico", "user grant-role calico calico",
		"user add --no-password root", "user grant-role root root", "auth enable",
	} {
		want += "killed after: " + change + "\n"
	}
	require.Equal(t, want+usersOfEtcd+"repaired:\n"+usersOfEtcd+
		"killed after: role grant-permission --prefix kube-apiserver readwrite /registry/\n"+
		"its lock is a lease:\ngranted with TTL(10s)\n"+usersOfEtcd, out)
}
