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

// calicoKeys is the prefix of the keys of Calico's resources.
const calicoKeys = "/calico/resources/v3/projectcalico.org/"

// workersKeys are the prefixes of the keys that workers may write.
var workersKeys = []string{
	"/calico/ipam/v2/", calicoKeys + "felixconfigurations/node.", calicoKeys + "nodes/", calicoKeys + "tiers/",
	calicoKeys + "workloadendpoints/",
}

// roleOfEtcd is the output of etcdctl for a role with these prefixes.
func roleOfEtcd(name string, read, write []string) string {
	out := "Role " + name + "\n"
	for kind, list := range [][]string{read, write} {
		out += []string{"KV Read:\n", "KV Write:\n"}[kind]
		for _, prefix := range list {
			last := len(prefix) - 1
			out += fmt.Sprintf("  [%s, %s%c) (prefix %[1]s)\n", prefix, prefix[:last], prefix[last]+1)
		}
	}
	return out
}

// usersOfEtcd is the output of etcdctl for all users and roles.
var usersOfEtcd = `User: calico Roles: calico
User: calico-node Roles: calico-node
User: kube-apiserver Roles: kube-apiserver
User: root Roles: root
` + roleOfEtcd("calico", []string{"/calico/"}, []string{"/calico/"}) +
	roleOfEtcd("calico-node", append([]string{"/calico/"}, workersKeys...), workersKeys) +
	roleOfEtcd("kube-apiserver", []string{"/registry/"}, []string{"/registry/"}) +
	"Authentication Status: true\n"

// TestEtcdUsers runs the unit etcd-auth of three members in parallel. As each of its users, and as a stranger, it then
// requests keys with and without permission. It repeats some requests at a member that was killed and started again
// with its old data.
func TestEtcdUsers(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	const secret, pool = "/registry/secrets/default/gold", "/calico/v1/pool"
	const all = "kube-apiserver calico calico-node stranger"
	var script, want strings.Builder
	// ask sends a request as some users, which must be allowed, and as others, which must be refused
	ask := func(request, users, others string) {
		for answer, list := range map[string]string{"yes": users, "no": others} {
			for user := range strings.FieldsSeq(list) {
				fmt.Fprintf(&script, "%s %s\n", user, strings.Replace(request, "LEASE", "$lease", 1))
				fmt.Fprintf(&want, "%s %s: %s\n", user, request, answer)
			}
		}
	}
	for key, users := range map[string][2]string{
		secret: {"kube-apiserver", "calico calico-node stranger"}, pool: {"calico", "kube-apiserver stranger"},
	} {
		user, others := users[0], users[1]
		ask("get "+key, "root "+user, others)
		ask("get-serializable "+key, user, others)
		ask("get-prefix "+path.Dir(key)+"/", user, others)
		ask("get-from "+key, "root", all)
		ask("watch "+key, user, others)
		ask("put "+key, "root "+user, others)
		ask("delete "+key, "", others)
		ask("get-in-txn "+key, user, others)
		ask("compare "+key, user, others)
	}
	ask("get "+pool, "calico-node", "")
	ask("put "+pool, "", "calico-node")
	for _, prefix := range workersKeys {
		ask("put "+prefix+"x", "calico calico-node", "kube-apiserver stranger")
	}
	for _, key := range []string{ // all nodes obey them
		"bgpconfigurations/default", "bgpfilters/x", "bgppeers/x", "clusterinformations/default",
		"felixconfigurations/default", "globalnetworkpolicies/x", "globalnetworksets/x", "hostendpoints/x", "ippools/x",
		"kubecontrollersconfigurations/default", "networkpolicies/default/x", "profiles/x",
	} {
		ask("put "+calicoKeys+key, "calico", "calico-node")
	}
	for _, prefix := range []string{"/", "/c", "/calico", "/r", "/registry"} {
		ask("get-prefix "+prefix, "", all)
	}
	for _, key := range []string{"/", "/calico", "/calico0", "/registry", "/registry0", "compact_rev_key"} {
		ask("get "+key, "root", all)
		ask("put "+key, "", all)
	}
	ask("keys-of-lease LEASE", "kube-apiserver", "calico stranger")
	ask("revoke-lease LEASE", "", "calico stranger")
	for _, request := range []string{
		"add-user thief", "grant-role calico", "grant-all calico", "disable-auth", "remove-member", "compact", "snapshot",
	} {
		ask(request, "", all)
	}

	files := etcdMember(t)
	files["/usr/local/bin/may"] = built(t, "kubernetes-openstack/tests/may")
	files["/usr/local/sbin/etcd-auth"] = "#!/bin/sh\nexec " + execStart(t, files["/etc/systemd/system/etcd-auth.service"])
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", startEtcd+`
		. /etc/profile.d/etcdctl.sh
		for i in 0 1 2; do member $i; done
		eventually check-etcd
		may <<-END
			calico put `+secret+`
			kube-apiserver put `+pool+`
		END
		for i in 0 1 2; do etcd-auth >/auth-$i 2>&1 & eval "auth_$i=$!"; done
		for i in 0 1 2; do eval "wait \$auth_$i" || cat /auth-$i; done
		cat /auth-* | grep -c ': done$'
		for name in $(etcdctl user list); do etcdctl user get "$name" | paste -s -d ' '; done
		for name in $(etcdctl role list); do etcdctl role get "$name" | sed 's/\t/  /'; done
		etcdctl auth status | grep Status
		check-etcd && etcdctl endpoint health --cluster | grep -c 'is healthy'
		etcdctl member list | wc -l
		before=$(etcdctl auth status)
		etcd-auth && [ "$(etcdctl auth status)" = "$before" ] && echo nothing changed
		lease=$(etcdctl lease grant 36000 | cut -d ' ' -f 2)
		etcdctl put --lease=$lease /registry/events/e x >/dev/null
		echo permissions:
		may <<-END
			`+script.String()+`
		END
		echo no certificate:
		env -u ETCDCTL_CERT -u ETCDCTL_KEY etcdctl --command-timeout=2s get `+secret+` 2>/dev/null || echo no answer
		echo HTTP:
		curl --silent --show-error --cacert $ETCDCTL_CACERT --cert /calico.crt --key /calico.key \
			https://127.0.0.1:2379/v3/kv/range --data '{"key": "'$(printf `+secret+` | base64)'"}'
		echo
		echo restarted:
		{ kill -KILL $pid_0; wait $pid_0 || true; } 2>/dev/null
		member 0
		eventually etcdctl endpoint health
		may <<-END
			calico get `+secret+`
			calico get-serializable `+secret+`
			calico get `+pool+`
		END
		etcd-auth && [ "$(etcdctl auth status)" = "$before" ] && echo nothing changed
	`)
	t.Log(out)
	require.NoError(t, err)
	out = regexp.MustCompile(`[0-9a-f]{16}`).ReplaceAllString(out, "LEASE")
	require.Equal(t, "calico put "+secret+": yes\nkube-apiserver put "+pool+": yes\n"+
		fmt.Sprintln(20)+usersOfEtcd+"3\n3\nnothing changed\n"+
		"permissions:\n"+want.String()+
		"no certificate:\nno answer\n"+
		"HTTP:\nCommonName of client sending a request against gateway will be ignored and not used as expected\n\n"+
		"restarted:\ncalico get "+secret+": no\ncalico get-serializable "+secret+": no\n"+
		"calico get "+pool+": yes\nnothing changed\n", out)
}
