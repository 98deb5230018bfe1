package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pki writes ca.crt, peer.crt and peer.key, which are valid for 127.0.0.1, and client.crt and client.key of root.
func pki(t *testing.T) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	client, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "root"}, NotAfter: template.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"ca.crt": {Type: "CERTIFICATE", Bytes: certificate}, "peer.crt": {Type: "CERTIFICATE", Bytes: certificate},
		"peer.key": {Type: "PRIVATE KEY", Bytes: private}, "client.crt": {Type: "CERTIFICATE", Bytes: client},
		"client.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	return dir
}

// testMember returns member m0 of a plan with m0, m1 and m2, whose answers are handlers.
func testMember(t *testing.T, m1, m2 http.HandlerFunc) (*member, *bytes.Buffer) {
	out := &bytes.Buffer{}
	m := &member{
		name: "m0", url: "https://127.0.0.1:0", founder: "m0", pki: pki(t), log: log.New(out, "", 0),
		data: filepath.Join(t.TempDir(), "data"), environment: filepath.Join(t.TempDir(), "env"),
		marker: filepath.Join(t.TempDir(), "marker"), names: []string{"m0", "m1", "m2"},
		instance: filepath.Join(t.TempDir(), "instance-data.json"),
	}
	planned(t, m, 3)
	require.NoError(t, os.Mkdir(m.data, 0o700))
	config, err := m.tls()
	require.NoError(t, err)
	for i, handler := range []http.HandlerFunc{m1, m2} {
		server := httptest.NewUnstartedServer(handler)
		server.TLS = config
		server.StartTLS()
		t.Cleanup(server.Close)
		m.others = append(m.others, peer{fmt.Sprintf("m%d", i+1), server.URL})
	}
	t.Setenv("PATH", "/nonexistent") // no etcdctl
	return m, out
}

// planned writes the metadata of an instance: the number of members of its plan.
func planned(t *testing.T, m *member, count int) {
	text := fmt.Sprintf(`{"ds": {"meta_data": {"meta": {"role": "etcd", "members": "%d"}, "name": "m0"}}}`, count)
	require.NoError(t, os.WriteFile(m.instance, []byte(text), 0o644))
}

// blank answers with the tokens, the last one repeatedly.
func blank(asked *atomic.Int32, lost bool, tokens ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		i := min(int(asked.Add(1)), len(tokens)) - 1
		_ = json.NewEncoder(w).Encode(state{Token: tokens[i], Lost: lost})
	}
}

func prepare(t *testing.T, m *member, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	err := m.prepare(ctx)
	settings, _ := os.ReadFile(m.environment)
	return string(settings), err
}

// waitsWith requires that prepare writes the text want to its log, and then continues to wait.
func waitsWith(t *testing.T, m *member, want string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := &logUntil{want: want, found: cancel}
	m.log.SetOutput(log)
	require.ErrorIs(t, m.prepare(ctx), context.Canceled, log)
	assert.NoFileExists(t, m.environment)
}

// logUntil calls found when it contains want.
type logUntil struct {
	bytes.Buffer
	want  string
	found func()
}

func (l *logUntil) Write(p []byte) (int, error) {
	n, err := l.Buffer.Write(p)
	if strings.Contains(l.String(), l.want) {
		l.found()
	}
	return n, err
}

func TestTheFirstMemberCreatesAClusterIfAllRepeatTheirTokens(t *testing.T) {
	var one, two atomic.Int32
	m, _ := testMember(t, blank(&one, false, "a"), blank(&two, false, "b", "c", "d"))
	settings, err := prepare(t, m, time.Minute)
	require.NoError(t, err)
	assert.Regexp(t, `^ETCD_INITIAL_CLUSTER=m0=https://127.0.0.1:0\nETCD_INITIAL_CLUSTER_STATE=new\n`+
		`ETCD_INITIAL_CLUSTER_TOKEN=\w{26}\n$`, settings)
	assert.EqualValues(t, 4, two.Load(), "m2 restarted twice, so four rounds")

	again, err := prepare(t, m, time.Minute)
	require.NoError(t, err)
	assert.NotEqual(t, settings, again, "each cluster has another token")
	assert.NoFileExists(t, m.beside("restored"))

	m.backups = true
	calls := programs(t, map[string]string{"etcd-backup": ""})
	settings, err = prepare(t, m, time.Minute)
	require.NoError(t, err)
	assert.Contains(t, settings, "ETCD_INITIAL_CLUSTER_STATE=new\n", "the container is empty")
	called, err := os.ReadFile(calls)
	require.NoError(t, err)
	assert.Equal(t, "wait-for-artifact etcd-backup\netcd-backup check-empty\n", string(called))
}

func TestNoClusterIsCreated(t *testing.T) {
	var asked atomic.Int32
	empty := blank(&asked, false, "a")
	etcd := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/members" {
			http.NotFound(w, r)
			return
		}
		_, _ = fmt.Fprint(w, `[{"id":1,"peerURLs":["https://127.0.0.1:0"],"name":"m0"},`+
			`{"id":2,"peerURLs":["https://127.0.0.1:2"],"name":"m1"},{"id":3,"peerURLs":["https://127.0.0.1:3"]},`+
			`{"id":4,"peerURLs":["https://127.0.0.1:4"],"isLearner":true}]`)
	}
	fails := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	for name, test := range map[string]struct {
		m1, m2 http.HandlerFunc
		change func(t *testing.T, m *member)
		want   string
	}{
		"a member does not answer": {m1: empty, m2: fails,
			want: "m0 has no data and waits for all members, because one of them may have data: no answer from m2 (HTTP " +
				"status 503)\n"},
		"a member has data": {m1: empty, m2: etcd,
			want: "m0 has no data and cannot join the cluster: etcdctl member list: exec: \"etcdctl\": executable file not " +
				"found in $PATH; no data on m0, m1\n"},
		"a member has lost its data": {m1: blank(&asked, true, "a"), m2: empty,
			want: "data lost: no member has data, but m1 had data before: restore a backup\n"},
		"this member has lost its data": {m1: blank(&asked, true, "a"), m2: empty,
			change: func(t *testing.T, m *member) { require.NoError(t, write(m.marker, "")) },
			want:   "data lost: no member has data, but m0, m1 had data before: restore a backup\n"},
		"this member is not the first": {m1: empty, m2: empty,
			change: func(_ *testing.T, m *member) { m.founder = "m1" },
			want:   "no member has data: waiting until m1 creates the cluster\n"},
		"the container has snapshots, or does not answer": {m1: empty, m2: empty,
			change: func(t *testing.T, m *member) {
				m.backups = true
				programs(t, map[string]string{"etcd-backup": `[ "$1" = check-empty ] || exit 0
echo etcd-backup: the newest is a.db >&2; exit 1`})
			},
			want: "m0 does not create an empty cluster: etcd-backup check-empty: the newest is a.db\n"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := testMember(t, test.m1, test.m2)
			if test.change != nil {
				test.change(t, m)
			}
			waitsWith(t, m, test.want)
		})
	}
}

func TestMissingMembersAreReported(t *testing.T) {
	voters := func(learner bool) []entry {
		return []entry{{PeerURLs: []string{"u0"}}, {PeerURLs: []string{"u1"}}, {PeerURLs: []string{"u2"}, IsLearner: learner}}
	}
	self, others := peer{"m0", "u0"}, []peer{{"m1", "u1"}, {"m2", "u2"}}
	const lost = ": data lost, the cluster has no quorum any more: restore a backup"
	type lists = map[string][]entry
	silent := func(name, cause string) []silence {
		return []silence{{peer{"m" + name, "u" + name}, errors.New(cause)}, {peer{"m9", "u9"}, errors.New("no route")}}
	}
	for want, a := range map[string]answers{
		"":                              {data: lists{"m1": voters(false), "m2": voters(false)}},
		"; no answer from m2 (timeout)": {data: lists{"m1": voters(false)}, silent: silent("2", "timeout")},
		"; no data on m0, m2":           {data: lists{"m1": nil}, blank: map[string]state{"m2": {}}},
		"; no data on m0, m1" + lost:    {data: lists{"m2": voters(false)}, blank: map[string]state{"m1": {}}},
		"; no answer from m1 (refused)": {data: lists{"m2": voters(true)}, silent: silent("1", "refused")},
		"; no data on m0, m1, m2": { // the list of m3 is old
			data:  lists{"m3": voters(false), "m4": {{PeerURLs: []string{"u3"}}}},
			blank: map[string]state{"m1": {}, "m2": {}},
		},
	} {
		assert.Equal(t, want, a.missing(self, others))
	}
}

// A member with data starts as it is, whatever the others answer.
func TestAMemberWithDataStarts(t *testing.T) {
	m, out := testMember(t, http.NotFound, http.NotFound)
	wal := filepath.Join(m.data, "member", "wal")
	require.NoError(t, os.MkdirAll(wal, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(wal, firstSegment), record(entryRecord, 9), 0o600))
	require.NoError(t, write(m.environment, "of an earlier start"))
	settings, err := prepare(t, m, time.Minute)
	require.NoError(t, err)
	assert.Empty(t, settings)
	assert.NoFileExists(t, m.environment)
	assert.Empty(t, out.String())
}

func TestFlags(t *testing.T) {
	environment := map[string]string{"ETCD_NAME": "b", "MAINPID": "7", "RESTORE": "a.db", "BACKUP_CONTAINER": "c",
		"MEMBERS": "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380"}
	getenv := func(name string) string { return environment[name] }
	m, err := newMember([]string{"--pki=/pki"}, getenv)
	require.NoError(t, err)
	assert.Equal(t, &member{name: "b", url: "https://10.0.0.2:2380", founder: "a", etcd: 7, restore: "a.db",
		backups: true, names: []string{"a", "b"}, others: []peer{{"a", "https://10.0.0.1:2380"}},
		data: "/var/lib/etcd/data", environment: "/run/etcd-join.env", instance: "/run/cloud-init/instance-data.json",
		marker: "/var/lib/etcd-member", pki: "/pki"}, m)

	log := log.New(&bytes.Buffer{}, "", 0)
	require.ErrorContains(t, run(t.Context(), nil, getenv, log), `must be prepare, promote or users, not ""`)
	environment["ETCD_NAME"] = "c"
	require.ErrorContains(t, run(t.Context(), []string{"prepare"}, getenv, log), `must list ETCD_NAME "c"`)
	environment["MEMBERS"] = "a=10.0.0.1"
	require.ErrorContains(t, run(t.Context(), []string{"prepare"}, getenv, log), "NAME=https://ADDRESS:PORT")
}

// systemd waits for promote before it restarts etcd.
func TestPromoteEndsWithEtcd(t *testing.T) {
	m, _ := testMember(t, http.NotFound, http.NotFound)
	ended := exec.Command("/bin/true")
	require.NoError(t, ended.Run())
	m.etcd = ended.Process.Pid
	require.EqualError(t, m.promote(t.Context()), "etcd has ended")
	assert.NoFileExists(t, m.marker)
}

// The founder waits for the members of the plan, not for those that a later plan can have.
func TestPossibleMembersNeedNotAnswer(t *testing.T) {
	var asked atomic.Int32
	silent := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	m, _ := testMember(t, blank(&asked, false, "a"), silent)
	waitsWith(t, m, "no answer from m2 (HTTP status 503)\n")
	planned(t, m, 2)
	settings, err := prepare(t, m, time.Minute)
	require.NoError(t, err)
	assert.Contains(t, settings, "ETCD_INITIAL_CLUSTER_STATE=new\n")

	// a member that has data, and is not in the plan any more, prevents a second cluster
	m, _ = testMember(t, blank(&asked, false, "a"), http.NotFound)
	planned(t, m, 2)
	waitsWith(t, m, "m0 has no data and cannot join the cluster: ")
}

// Without the number of members of the plan, no cluster is created.
func TestTheMetadataOfTheInstanceIsNecessary(t *testing.T) {
	var asked atomic.Int32
	for text, want := range map[string]string{
		`{"ds": {"meta_data": {"meta": {"members": "0"}}}}`:   "must be a number from 1 to 3, not 0",
		`{"ds": {"meta_data": {"meta": {"members": "4"}}}}`:   "must be a number from 1 to 3, not 4",
		`{"ds": {"meta_data": {"meta": {"role": "etcd"}}}}`:   "must be a number from 1 to 3, not 0",
		`{"ds": {"meta_data": {"meta": {"members": "two"}}}}`: "invalid use of ,string",
		``: "unexpected end of JSON input",
	} {
		m, _ := testMember(t, blank(&asked, false, "a"), blank(&asked, false, "a"))
		require.NoError(t, os.WriteFile(m.instance, []byte(text), 0o644))
		_, err := prepare(t, m, time.Minute)
		require.ErrorContains(t, err, want)
		assert.NoFileExists(t, m.environment)
		require.NoError(t, os.Remove(m.instance))
		_, err = prepare(t, m, time.Minute)
		require.ErrorContains(t, err, "cannot read the metadata of the instance: ")
	}
}

func TestASingleMemberCreatesItsClusterOnce(t *testing.T) {
	m, _ := testMember(t, http.NotFound, http.NotFound)
	m.others = nil
	settings, err := prepare(t, m, time.Minute)
	require.NoError(t, err)
	assert.Contains(t, settings, "ETCD_INITIAL_CLUSTER_STATE=new\n")

	require.NoError(t, write(m.marker, ""))
	waitsWith(t, m, "data lost: no member has data, but m0 had data before: restore a backup\n")
}
