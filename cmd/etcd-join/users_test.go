package main

import (
	"context"
	"io"
	"log"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/authpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"kubernetes-openstack/internal/dirs"
)

func TestChanges(t *testing.T) {
	desired := []user{{"reader", []permission{readOnly("/a/"), readWrite("/a/b/")}}, {root, nil}}
	complete := func() access {
		return access{
			users:   map[string][]string{"reader": {"reader"}, root: {root}},
			roles:   map[string][]permission{"reader": slices.Clone(desired[0].permissions), root: nil},
			enabled: true,
		}
	}
	for name, test := range map[string]struct {
		change func(*access)
		want   []string
	}{
		"complete": {func(*access) {}, nil},
		"nothing": {func(a *access) { *a = access{roles: map[string][]permission{root: nil}} }, []string{
			"add role reader", "grant READ [/a/, /a0) to role reader", "grant READWRITE [/a/b/, /a/b0) to role reader",
			"add user reader", "grant role reader to user reader", "add user root", "grant role root to user root",
			"enable authentication",
		}},
		"authentication is off": {func(a *access) { a.enabled = false }, []string{"enable authentication"}},
		"no role of the user":   {func(a *access) { a.users[root] = nil }, []string{"grant role root to user root"}},
		"no user": {func(a *access) { delete(a.users, root) },
			[]string{"add user root", "grant role root to user root"}},
		"other roles of users": {func(a *access) {
			a.users = map[string][]string{"reader": {"reader", root}, root: {"other", root}}
		}, []string{"revoke role root from user reader", "revoke role other from user root"}},
		"another role instead": {func(a *access) { a.users["reader"] = []string{root} },
			[]string{"grant role reader to user reader", "revoke role root from user reader"}},
		"other users and roles": {func(a *access) {
			a.users["other"], a.roles["other"] = []string{root}, []permission{readWrite("/")}
		}, nil},
		"no permission": {func(a *access) { a.roles["reader"] = a.roles["reader"][1:] },
			[]string{"grant READ [/a/, /a0) to role reader"}},
		"another order": {func(a *access) { slices.Reverse(a.roles["reader"]) }, nil},
		"other ranges": {func(a *access) {
			a.roles["reader"] = []permission{{authpb.READ, "/a/", ""}, {authpb.READ, "/a/", "/a1"}, readOnly("/"),
				readWrite("/a/b/"), {authpb.WRITE, "/z", "\x00"}}
		}, []string{"grant READ [/a/, /a0) to role reader", "revoke READ [/a/, ) from role reader",
			"revoke READ [/a/, /a1) from role reader", "revoke READ [/, 0) from role reader",
			"revoke WRITE [/z, \x00) from role reader"}},
		"other permissions for the ranges": {func(a *access) {
			a.roles["reader"] = []permission{readWrite("/a/"), readOnly("/a/b/")}
		}, []string{"revoke READWRITE [/a/, /a0) from role reader", "grant READ [/a/, /a0) to role reader",
			"revoke READ [/a/b/, /a/b0) from role reader", "grant READWRITE [/a/b/, /a/b0) to role reader"}},
		"two permissions for a range": {func(a *access) {
			a.roles["reader"] = append(a.roles["reader"], readWrite("/a/"), readOnly("/c/"), readWrite("/c/"))
		}, []string{"revoke READ [/a/, /a0) from role reader", "grant READ [/a/, /a0) to role reader",
			"revoke READ [/c/, /c0) from role reader"}},
	} {
		t.Run(name, func(t *testing.T) {
			now := complete()
			test.change(&now)
			assert.Equal(t, test.want, texts(changes(now, desired)))
		})
	}
}

func texts(all []change) (out []string) {
	for _, c := range all {
		out = append(out, c.text)
	}
	return out
}

// runEtcd runs a real etcd until the end of the test, and returns its pki and its endpoint.
func runEtcd(t *testing.T) (dir, endpoint string) {
	programs := t.TempDir()
	archive := dirs.Mirror("github.com/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz")
	out, err := exec.Command("tar", "--extract", "--directory", programs, "--strip-components=1", "--file",
		archive).CombinedOutput()
	require.NoError(t, err, "run make test: %s", out)
	dir = pki(t)
	certificate, key, ca := filepath.Join(dir, "peer.crt"), filepath.Join(dir, "peer.key"), filepath.Join(dir, "ca.crt")
	const anyPort = "https://127.0.0.1:0"
	etcd := exec.CommandContext(t.Context(), filepath.Join(programs, "etcd"), "--data-dir="+t.TempDir(),
		"--listen-client-urls="+anyPort, "--advertise-client-urls="+anyPort, "--listen-peer-urls=http://127.0.0.1:0",
		"--client-cert-auth", "--trusted-ca-file="+ca, "--cert-file="+certificate, "--key-file="+key,
		"--unsafe-no-fsync")
	ready, cancel := context.WithTimeout(t.Context(), time.Minute)
	log := &logUntil{want: "serving client traffic securely", found: cancel}
	etcd.Stderr = struct{ io.Writer }{log} // without the ReadFrom of log, which does not call Write
	require.NoError(t, etcd.Start())
	t.Cleanup(func() { _ = etcd.Wait() }) // after the end of the context
	<-ready.Done()
	require.ErrorIs(t, ready.Err(), context.Canceled, log)
	address := regexp.MustCompile(`serving client traffic securely.*"address":"([^"]*)"`).FindStringSubmatch(log.String())
	require.NotNil(t, address, log)
	return dir, "https://" + address[1]
}

// ensure runs ensureUsers with a client of its own, and returns the log. It interrupts the run after the change last.
// On a slow machine, a run can lose its lock before its first change. Then ensure repeats it, like systemd.
func ensure(t *testing.T, dir, endpoint, last string) (done string, err error) {
	client, err := connect(dir, endpoint)
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Close() }()
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		out := &logUntil{want: logOf(last), found: cancel}
		err = ensureUsers(ctx, client, log.New(out, "", 0))
		cancel()
		if done = out.String(); err == nil || done != "" {
			break
		}
		t.Log(err)
	}
	return done, err
}

func logOf(changes ...string) (out string) {
	for _, text := range changes {
		out += text + ": done\n"
	}
	return out
}

// TestUsersConverge interrupts ensureUsers after each of its changes, like a kill, and runs it again. It also runs it
// three times in parallel, and after other programs have changed the permissions.
func TestUsersConverge(t *testing.T) {
	t.Parallel()
	dir, endpoint := runEtcd(t)
	client, err := connect(dir, endpoint)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	ctx := t.Context()
	all := []string{
		"add role kube-apiserver", "grant READWRITE [/registry/, /registry0) to role kube-apiserver",
		"add user kube-apiserver", "grant role kube-apiserver to user kube-apiserver",
		"add role calico", "grant READWRITE [/calico/, /calico0) to role calico",
		"add user calico", "grant role calico to user calico",
		"add role calico-node", "grant READ [/calico/, /calico0) to role calico-node",
		"grant READWRITE [/calico/ipam/v2/, /calico/ipam/v20) to role calico-node",
	}
	const resources = "/calico/resources/v3/projectcalico.org/"
	for _, r := range [][2]string{
		{"felixconfigurations/node.", "felixconfigurations/node/"}, {"nodes/", "nodes0"}, {"tiers/", "tiers0"},
		{"workloadendpoints/", "workloadendpoints0"},
	} {
		all = append(all, "grant READWRITE ["+resources+r[0]+", "+resources+r[1]+") to role calico-node")
	}
	all = append(all, "add user calico-node", "grant role calico-node to user calico-node", "add user root",
		"grant role root to user root", "enable authentication")

	// complete requires that ensureUsers makes the changes, and no others afterwards
	complete := func(changes ...string) {
		t.Helper()
		done, err := ensure(t, dir, endpoint, "never")
		require.NoError(t, err)
		require.Equal(t, logOf(changes...), done)
		done, err = ensure(t, dir, endpoint, "never")
		require.NoError(t, err)
		require.Empty(t, done)
		leases, err := client.Leases(ctx)
		require.NoError(t, err)
		require.Empty(t, leases.Leases, "the lock is released")
	}
	undo := func() {
		require.NoError(t, failure(client.AuthDisable(ctx)))
		got, err := client.UserList(ctx)
		require.NoError(t, err)
		for _, name := range got.Users {
			require.NoError(t, failure(client.UserDelete(ctx, name)))
		}
		roles, err := client.RoleList(ctx)
		require.NoError(t, err)
		for _, name := range roles.Roles {
			require.NoError(t, failure(client.RoleDelete(ctx, name)))
		}
	}
	// locked returns the lease of the run that was interrupted
	locked := func() clientv3.LeaseID {
		leases, err := client.Leases(ctx)
		require.NoError(t, err)
		require.Len(t, leases.Leases, 1)
		return leases.Leases[0].ID
	}
	for i, last := range all {
		done, err := ensure(t, dir, endpoint, last)
		require.Equal(t, logOf(all[:i+1]...), done, err)
		if last != "enable authentication" {
			require.ErrorIs(t, err, context.Canceled)
		}
		require.NoError(t, failure(client.Revoke(ctx, locked()))) // instead of waiting until it expires
		complete(all[i+1:]...)
		undo()
	}

	_, err = ensure(t, dir, endpoint, all[1])
	require.ErrorIs(t, err, context.Canceled)
	lease, err := client.TimeToLive(ctx, locked())
	require.NoError(t, err)
	require.EqualValues(t, 10, lease.GrantedTTL)
	complete(all[2:]...)

	undo()
	var logs [3]string
	var group errgroup.Group
	for i := range logs {
		group.Go(func() (err error) {
			logs[i], err = ensure(t, dir, endpoint, "never")
			return err
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, logOf(all...), strings.Join(logs[:], ""), "one of them makes all changes")

	for role, permissions := range map[string][]permission{
		"calico":      {readOnly("/registry/"), readOnly("/calico/"), {authpb.WRITE, "key", ""}},
		"calico-node": {{authpb.READ, "/calico/", "/calico/z"}, readWrite("/calico/")},
	} {
		for _, p := range permissions {
			_, err := client.RoleGrantPermission(ctx, role, p.key, p.end, clientv3.PermissionType(p.kind))
			require.NoError(t, err)
		}
	}
	require.NoError(t, failure(client.RoleAdd(ctx, "other")))
	require.NoError(t, failure(client.UserGrantRole(ctx, "calico", "other")))
	require.NoError(t, failure(client.UserGrantRole(ctx, "calico", "kube-apiserver")))
	require.NoError(t, failure(client.UserRevokeRole(ctx, "kube-apiserver", "kube-apiserver")))
	complete("grant role kube-apiserver to user kube-apiserver",
		"revoke READ [/calico/, /calico0) from role calico", "grant READWRITE [/calico/, /calico0) to role calico",
		"revoke READ [/registry/, /registry0) from role calico", "revoke WRITE [key, ) from role calico",
		"revoke role kube-apiserver from user calico", "revoke role other from user calico",
		"revoke READWRITE [/calico/, /calico0) from role calico-node",
		"grant READ [/calico/, /calico0) to role calico-node",
		"revoke READ [/calico/, /calico/z) from role calico-node")
}
