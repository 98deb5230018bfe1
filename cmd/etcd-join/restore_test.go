package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// waits answers like a member without data that waits for the restore of a snapshot.
func waits(snapshot string, lost bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(state{Token: "a", Lost: lost, Restore: snapshot})
	}
}

// programs writes shell scripts, and makes them the only programs. Each one also writes its name and its arguments to
// the file calls. etcd-backup fails until wait-for-artifact has verified it, so each test requires this order.
func programs(t *testing.T, scripts map[string]string) (calls string) {
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	verified := filepath.Join(dir, "verified-")
	scripts = maps.Clone(scripts)
	if script, found := scripts["etcd-backup"]; found {
		scripts["etcd-backup"] = "[ -e " + verified + "etcd-backup ] || { echo not verified >&2; exit 126; }\n" + script
		if _, found := scripts["wait-for-artifact"]; !found {
			scripts["wait-for-artifact"] = "touch " + verified + `"$1"`
		}
	}
	for name, script := range scripts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name),
			[]byte("#!/bin/sh\nPATH=/usr/bin:/bin\necho "+name+` "$@" >>`+calls+"\n"+script), 0o755))
	}
	t.Setenv("PATH", dir)
	return calls
}

// restores are programs that restore data with the content "restored".
var restores = map[string]string{
	"etcd-backup": `[ "$1" != fetch ] || echo snapshot >"$3"`,
	"etcdutl": `[ "$(cat "$3")" = snapshot ] || exit 1
for argument; do case $argument in --data-dir=*) data=${argument#*=} ;; esac; done
mkdir -p "$data/member/wal"
echo restored >"$data/member/wal/0000000000000001-0000000000000001.wal"`,
}

// put writes data of a member.
func put(t *testing.T, folder, content string) {
	file := filepath.Join(folder, "wal", "0000000000000001-0000000000000001.wal")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, []byte(content+"\n"), 0o600))
}

// volume returns path → content of the data, and of the data that was set aside, without times.
func volume(t *testing.T, m *member) map[string]string {
	out := map[string]string{}
	files, err := filepath.Glob(m.beside("*/*/wal/*.wal"))
	require.NoError(t, err)
	aside, err := filepath.Glob(m.beside("before-restore-*/wal/*.wal"))
	require.NoError(t, err)
	for _, file := range append(files, aside...) {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		name, _, _ := strings.Cut(strings.TrimPrefix(file, m.beside("")+"/"), "/")
		if strings.HasPrefix(name, beforeRestorePrefix) {
			name = beforeRestorePrefix
		}
		out[name] = strings.TrimSpace(string(content))
	}
	if name, err := m.restored(); name != "" {
		require.NoError(t, err)
		out["restored"] = name
	}
	return out
}

// TestTheFirstMemberRestores checks each state of the volume that an interrupted run can leave.
func TestTheFirstMemberRestores(t *testing.T) {
	const aside = beforeRestorePrefix + "20060102T150405Z"
	restored := map[string]string{"data": "restored", "restored": "a.db"}
	kept := map[string]string{"data": "restored", "restored": "a.db", beforeRestorePrefix: "old"}
	for name, test := range map[string]struct {
		before func(t *testing.T, m *member)
		want   map[string]string
	}{
		"a blank volume": {func(*testing.T, *member) {}, restored},
		"old data":       {func(t *testing.T, m *member) { put(t, filepath.Join(m.data, "member"), "old") }, kept},
		"data of an earlier restore": {func(t *testing.T, m *member) {
			put(t, filepath.Join(m.data, "member"), "old")
			require.NoError(t, m.setRestored("0.db"))
		}, kept},
		"killed after the data was set aside": {func(t *testing.T, m *member) { put(t, m.beside(aside), "old") }, kept},
		"killed during the download": {func(t *testing.T, m *member) {
			put(t, m.beside(aside), "old")
			require.NoError(t, os.MkdirAll(m.beside("restoring"), 0o700))
			require.NoError(t, os.WriteFile(m.beside("restoring/snapshot.db.part"), []byte("snap"), 0o600))
		}, kept},
		"killed during the restore": {func(t *testing.T, m *member) {
			put(t, m.beside(aside), "old")
			put(t, m.beside("restoring/data/member"), "incomplete")
		}, kept},
		"killed before the data has its name": {func(t *testing.T, m *member) {
			put(t, m.beside(aside), "old")
			put(t, m.beside("restoring/data/member"), "complete, but with another token")
			require.NoError(t, m.setRestored("a.db"))
		}, kept},
		"killed while the name was written": {func(t *testing.T, m *member) {
			put(t, m.beside(aside), "old")
			require.NoError(t, os.WriteFile(m.beside("restored.next"), []byte("a."), 0o600))
		}, kept},
		"lost data before": {func(t *testing.T, m *member) { require.NoError(t, write(m.marker, "")) }, restored},
		"lost data of an earlier restore": {func(t *testing.T, m *member) {
			require.NoError(t, write(m.marker, "0.db"))
		}, restored},
	} {
		t.Run(name, func(t *testing.T) {
			m, out := testMember(t, waits("a.db", false), waits("a.db", false))
			m.restore = "a.db"
			test.before(t, m)
			calls := programs(t, restores)
			settings, err := prepare(t, m, time.Minute)
			require.NoError(t, err, out)
			assert.Empty(t, settings, "the data has all settings")
			assert.Equal(t, test.want, volume(t, m))
			assert.NoDirExists(t, m.beside("restoring"))
			assert.Contains(t, out.String(), "no member has data: m0 restores a.db\n")
			called, err := os.ReadFile(calls)
			require.NoError(t, err)
			assert.Equal(t, 1, strings.Count(string(called), "etcd-backup fetch "))
			assert.Regexp(t, `(?m)^etcd-backup fetch a.db \S+/restoring/snapshot.db\n`, string(called))
			assert.Contains(t, string(called), "etcd-backup check-restore a.db\n")
			assert.Regexp(t, `(?m)^etcdutl snapshot restore `+
				`\S+/restoring/snapshot.db --data-dir=\S+/restoring/data --name=m0 `+
				`--initial-advertise-peer-urls=https://127.0.0.1:0 --initial-cluster=m0=https://127.0.0.1:0 `+
				`--initial-cluster-token=\w{26} --bump-revision=\d{16} --mark-compacted\n$`, string(called))

			programs(t, nil)
			settings, err = prepare(t, m, time.Minute)
			require.NoError(t, err)
			assert.Empty(t, settings)
			assert.Equal(t, test.want, volume(t, m), "the next start changes nothing")
		})
	}
}

// restoredBefore is etcd-backup at a container whose newest snapshot is of a cluster that was restored from RESTORE.
const restoredBefore = `[ $1 != check-restore ] || { echo etcd-backup: it was restored before >&2; exit 1; }
` + "[ $1 != fetch ] || echo snapshot >$3\n"

func TestNothingIsRestored(t *testing.T) {
	// oldCluster is etcdctl at a cluster that was restored from 0.db, and restoredCluster at one from a.db.
	const oldCluster, restoredCluster = "echo 0.db", "echo a.db"
	for name, test := range map[string]struct {
		m1, m2 http.HandlerFunc
		change func(t *testing.T, m *member)
		etcdctl,
		backup,
		want string
	}{
		"a member serves old data": {m1: waits("a.db", false), m2: http.NotFound, etcdctl: oldCluster,
			want: "m0 waits for the restore of a.db: m2 still serves the data before the restore: pulumi up replaces it\n"},
		"a member with data does not answer": {m1: waits("a.db", false), m2: http.NotFound,
			etcdctl: "echo 'Error: context deadline exceeded' >&2; exit 1",
			want: "m0 waits for the restore of a.db: m2 has data, perhaps from before the restore: etcdctl get " +
				"/kubernetes-openstack/restored: context deadline exceeded\n"},
		"a member does not answer": {m1: waits("a.db", false),
			m2: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
			want: "m0 has no data and waits for all members, because one of them may have data: no answer from m2 (HTTP " +
				"status 503)\n"},
		"a member has another configuration": {m1: waits("", false), m2: waits("0.db", false),
			want: `m0 has no data, and its etcd.restore is "a.db", but m1 has "", m2 has "0.db": pulumi up replaces a ` +
				"member whose value is old\n"},
		"this member has the old configuration": {m1: waits("a.db", false), m2: waits("a.db", false),
			change: func(_ *testing.T, m *member) { m.restore = "" },
			want: `m0 has no data, and its etcd.restore is "", but m1 has "a.db", m2 has "a.db": pulumi up replaces a ` +
				"member whose value is old\n"},
		"not the first member": {m1: waits("a.db", false), m2: waits("a.db", false),
			change: func(_ *testing.T, m *member) { m.founder = "m1" },
			want:   "no member has data: waiting until m1 restores a.db\n"},
		"data of this restore was lost": {m1: waits("a.db", true), m2: waits("a.db", false),
			change: func(t *testing.T, m *member) { require.NoError(t, write(m.marker, "a.db")) },
			want: "data lost: no member has data, but m0, m1 had the data of the restore of a.db: set etcd.restore to " +
				"another backup\n"},
		"etcd-backup fails": {m1: waits("a.db", false), m2: waits("a.db", false),
			want: "m0 cannot restore a.db: etcd-backup fetch a.db: a.db is truncated\n"},
		"this snapshot was restored before": {m1: waits("a.db", false), m2: waits("a.db", false),
			backup: restoredBefore,
			want:   "m0 cannot restore a.db: etcd-backup check-restore a.db: it was restored before\n"},
		"joins only the restored cluster": {m1: http.NotFound, m2: http.NotFound, etcdctl: restoredCluster,
			want: "m0 has no data and cannot join the cluster: etcdctl member list: "},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := testMember(t, test.m1, test.m2)
			m.restore = "a.db"
			if test.change != nil {
				test.change(t, m)
			}
			programs(t, map[string]string{"etcdctl": test.etcdctl,
				"etcd-backup": cmp.Or(test.backup,
					"[ $1 != fetch ] || { echo etcd-backup: a.db is truncated >&2; exit 1; }")})
			waitsWith(t, m, test.want)
			assert.Equal(t, map[string]string{}, volume(t, m))
		})
	}
}

// A wrong name or a damaged snapshot must not cost the data.
func TestDataIsKeptUntilTheSnapshotIsVerified(t *testing.T) {
	m, _ := testMember(t, http.NotFound, http.NotFound)
	data := filepath.Join(m.data, "member")
	put(t, data, "old")
	for _, reason := range []string{"read a.db: does not exist", "a.db is not an intact snapshot: altered"} {
		m.restore = "a.db"
		programs(t, map[string]string{
			"etcd-backup": "[ $1 != fetch ] || { echo etcd-backup: " + reason + " >&2; exit 1; }",
		})
		waitsWith(t, m, "m0 keeps its data, and waits for the restore of a.db: etcd-backup fetch a.db: "+reason+"\n")

		m.restore = ""
		_, err := prepare(t, m, time.Minute)
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"data": "old"}, volume(t, m))
		assert.NoDirExists(t, m.beside("restoring"))
	}
}

// The data can have changes since the first restore of the same snapshot. So all members keep it.
func TestDataIsKeptIfTheSnapshotWasRestoredBefore(t *testing.T) {
	for _, cluster := range []string{"echo 0.db", "echo 'Error: context deadline exceeded' >&2; exit 1"} {
		m, _ := testMember(t, http.NotFound, waits("a.db", false))
		put(t, filepath.Join(m.data, "member"), "new")
		require.NoError(t, m.setRestored("0.db"))
		m.restore = "a.db"
		programs(t, map[string]string{"etcd-backup": restoredBefore, "etcdctl": cluster})
		waitsWith(t, m, "m0 keeps its data, and waits for the restore of a.db: etcd-backup check-restore a.db: it was "+
			"restored before\n")
		assert.Equal(t, map[string]string{"data": "new", "restored": "0.db"}, volume(t, m))
	}
}

// A member can miss the restore and the first snapshot after it. It must join the restored cluster.
func TestALateMemberJoinsTheRestoredCluster(t *testing.T) {
	m, out := testMember(t, waits("a.db", false), http.NotFound)
	put(t, filepath.Join(m.data, "member"), "old")
	m.restore = "a.db"
	programs(t, map[string]string{"etcd-backup": restoredBefore, "etcdctl": `case "$1 $2" in
"get /kubernetes-openstack/restored") echo a.db ;;
"member list") echo '{"members": [{"ID": 1, "name": "m2", "peerURLs": ["https://127.0.0.1:1"]}]}' ;;
esac`})
	_, err := prepare(t, m, time.Minute)
	require.NoError(t, err, out)
	assert.Equal(t, map[string]string{"restored": "a.db", beforeRestorePrefix: "old"}, volume(t, m))
}

// A member with data starts although etcd-backup cannot be installed. No other member runs it before it is verified.
func TestEtcdBackupIsVerifiedBeforeItsFirstUse(t *testing.T) {
	m, _ := testMember(t, http.NotFound, http.NotFound)
	put(t, filepath.Join(m.data, "member"), "old")
	m.backups = true
	fails := map[string]string{"wait-for-artifact": "echo not installed >&2; exit 1", "etcd-backup": ""}
	calls := programs(t, fails)
	_, err := prepare(t, m, time.Minute)
	require.NoError(t, err)
	assert.NoFileExists(t, calls)

	m, _ = testMember(t, waits("", false), waits("", false))
	m.backups = true
	calls = programs(t, fails)
	waitsWith(t, m, "m0 does not create an empty cluster: wait-for-artifact etcd-backup: not installed\n")
	called, err := os.ReadFile(calls)
	require.NoError(t, err)
	assert.Equal(t, "wait-for-artifact etcd-backup\n", string(called))
}

// A member that joins the restored cluster downloads the snapshot only to verify it.
func TestAMemberThatJoinsKeepsNoSnapshot(t *testing.T) {
	m, out := testMember(t, http.NotFound, http.NotFound)
	put(t, filepath.Join(m.data, "member"), "old")
	m.restore = "a.db"
	programs(t, map[string]string{"etcd-backup": restores["etcd-backup"], "etcdctl": `case "$1 $2" in
"get /kubernetes-openstack/restored") echo a.db ;;
"member list") echo '{"members": [{"ID": 1, "name": "m1", "peerURLs": ["https://127.0.0.1:1"]}]}' ;;
esac`})
	_, err := prepare(t, m, time.Minute)
	require.NoError(t, err, out)
	assert.Equal(t, map[string]string{"restored": "a.db", beforeRestorePrefix: "old"}, volume(t, m))
	assert.NoDirExists(t, m.beside("restoring"))
}

// After a restore that failed, the data is set aside, and the machines are new. Without etcd.restore, no member may
// create an empty cluster.
func TestDataThatWasSetAsideIsLostWithoutTheRestore(t *testing.T) {
	m, _ := testMember(t, waits("", false), waits("", false))
	put(t, m.beside(beforeRestorePrefix+"20060102T150405Z"), "old")
	waitsWith(t, m, "data lost: no member has data, but m0 had data before: restore a backup\n")
	assert.Equal(t, map[string]string{beforeRestorePrefix: "old"}, volume(t, m))
}

// A member that joins records the restore of the cluster, also if RESTORE is not set any more. So it does not restore
// again if RESTORE is set again.
func TestAMemberThatJoinsRecordsTheRestore(t *testing.T) {
	for name, test := range map[string]struct{ restore, before, cluster, want string }{
		"during the restore":                 {"a.db", "", "a.db", "a.db"},
		"after RESTORE was removed":          {"", "", "a.db", "a.db"},
		"a cluster that was never restored":  {"", "", "", ""},
		"a restore that was given up before": {"", "0.db", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, out := testMember(t, http.NotFound, http.NotFound)
			m.restore = test.restore
			require.NoError(t, m.setRestored(test.before))
			programs(t, map[string]string{"etcdctl": `case "$1 $2" in
"get /kubernetes-openstack/restored") echo ` + test.cluster + ` ;;
"member list") echo '{"members": [{"ID": 1, "name": "m1", "peerURLs": ["https://127.0.0.1:1"]}]}' ;;
"member add") ;;
*) exit 1 ;;
esac`})
			settings, err := prepare(t, m, time.Minute)
			require.NoError(t, err, out)
			assert.Equal(t, "ETCD_INITIAL_CLUSTER=m1=https://127.0.0.1:1\nETCD_INITIAL_CLUSTER_STATE=existing\n", settings)
			name, err := m.restored()
			require.NoError(t, err)
			assert.Equal(t, test.want, name)
		})
	}
}

// TestDeleteOlder checks which data stays after a restore that was wrong, and the next one.
func TestDeleteOlder(t *testing.T) {
	now := time.Date(2006, 12, 31, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct{ aside, want []string }{
		"nothing":  {},
		"only one": {[]string{"20060101T000000Z"}, []string{"20060101T000000Z"}},
		"the next one is young": {[]string{"20060101T000000Z", "20061230T000000Z"},
			[]string{"20060101T000000Z", "20061230T000000Z"}},
		"7 days": {[]string{"20060101T000000Z", "20061224T000000Z"}, []string{"20060101T000000Z", "20061224T000000Z"}},
		"more than 7 days": {[]string{"20060101T000000Z", "20060102T000000Z", "20061223T235959Z"},
			[]string{"20061223T235959Z"}},
		"young and old ones": {[]string{"20060101T000000Z", "20060102T000000Z", "20061230T000000Z"},
			[]string{"20060102T000000Z", "20061230T000000Z"}},
		"the clock was wrong": {[]string{"20061230T000000Z", "20360101T000000Z", "20360102T000000Z"},
			[]string{"20061230T000000Z", "20360101T000000Z", "20360102T000000Z"}},
		"the clock was wrong before": {[]string{"19700101T000000Z", "20061230T000000Z"},
			[]string{"19700101T000000Z", "20061230T000000Z"}},
		"names of an operator": {[]string{"0", "20060101T000000Z", "20060102T000000Z-mine"},
			[]string{"0", "20060101T000000Z", "20060102T000000Z-mine"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := testMember(t, http.NotFound, http.NotFound)
			for _, folder := range test.aside {
				put(t, m.beside(beforeRestorePrefix+folder), "old")
			}
			require.NoError(t, m.deleteOlder(now))
			var got []string
			folders, err := m.beforeRestores()
			require.NoError(t, err)
			for _, folder := range folders {
				got = append(got, strings.TrimPrefix(folder, m.beside(beforeRestorePrefix)))
			}
			assert.Equal(t, test.want, got)
		})
	}
}

// A member that cannot delete older data has a vote all the same.
func TestPromoteIgnoresOlderData(t *testing.T) {
	m, out := testMember(t, http.NotFound, http.NotFound)
	programs(t, map[string]string{"etcdctl": `echo '{"members": [{"ID": 1, "peerURLs": ["https://127.0.0.1:0"]}]}'`})
	m.data = filepath.Join(t.TempDir(), "[", "data") // not a valid pattern
	require.NoError(t, os.MkdirAll(m.data, 0o700))
	require.NoError(t, m.promote(t.Context()))
	assert.Equal(t, "cannot delete data from before an earlier restore: syntax error in pattern\n", out.String())
}

// The first member writes the key. Each member writes its marker, and deletes data from before earlier restores.
func TestPromoteCompletesARestore(t *testing.T) {
	for _, founder := range []string{"m0", "m1"} {
		m, _ := testMember(t, http.NotFound, http.NotFound)
		m.founder = founder
		require.NoError(t, m.setRestored("a.db"))
		put(t, m.beside(beforeRestorePrefix+"20060102T150405Z"), "older")
		put(t, m.beside(beforeRestorePrefix+"20061202T150405Z"), "old")
		key := filepath.Join(t.TempDir(), "key")
		calls := programs(t, map[string]string{"etcdctl": `case "$1 $2" in
"member list") echo '{"members": [{"ID": 1, "name": "m0", "peerURLs": ["https://127.0.0.1:0"]}]}' ;;
"get /kubernetes-openstack/restored") cat ` + key + ` || true ;;
"put /kubernetes-openstack/restored") echo "$3" >` + key + ` ;;
*) exit 1 ;;
esac`})
		for range 2 {
			require.NoError(t, m.promote(t.Context()))
		}
		called, err := os.ReadFile(calls)
		require.NoError(t, err)
		want := 0
		if founder == "m0" {
			want = 1
		}
		assert.Equal(t, want, bytes.Count(called, []byte("etcdctl put /kubernetes-openstack/restored a.db\n")))
		marker, err := os.ReadFile(m.marker)
		require.NoError(t, err)
		assert.Equal(t, "a.db", string(marker))
		assert.Equal(t, map[string]string{"restored": "a.db", beforeRestorePrefix: "old"}, volume(t, m))
		folders, err := os.ReadDir(m.beside(""))
		require.NoError(t, err)
		assert.Len(t, folders, 3, "data, restored, and what was set aside last")
	}
}
