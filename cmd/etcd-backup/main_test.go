package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/etcdsnapshot/etcdsnapshottest"
	"kubernetes-openstack/tests/swift"
)

const bucket = "prod-etcd"

// site is a machine with an etcd whose snapshot has the content of the file snapshot, and with a fake Swift.
type site struct {
	*swift.Swift
	snapshot    string
	environment map[string]string
	out         bytes.Buffer
}

func (s *site) getenv(name string) string { return s.environment[name] }

// run runs the command.
func (s *site) run(t *testing.T, args ...string) error {
	s.out.Reset()
	return run(t.Context(), args, s.getenv, log.New(&s.out, "", 0))
}

// save saves a snapshot in segments of 5000 bytes.
func (s *site) save(t *testing.T) error {
	b, err := newBackup(s.getenv, log.New(&s.out, "", 0))
	require.NoError(t, err)
	b.container, err = connect(t.Context(), s.getenv)
	require.NoError(t, err)
	b.container.segmentSize = 5000
	return b.save(t.Context())
}

// names returns the names of the snapshots.
func (s *site) names() (out []string) {
	for _, name := range s.Names(bucket) {
		if !strings.HasPrefix(name, segments) {
			out = append(out, name)
		}
	}
	return out
}

// program writes a shell script to a folder of PATH.
func program(t *testing.T, name, script string) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func newSite(t *testing.T) *site {
	s := &site{Swift: swift.New(bucket), snapshot: filepath.Join(t.TempDir(), "snapshot")}
	server := httptest.NewTLSServer(s.Swift)
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(ca,
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	s.environment = map[string]string{"OS_CACERT": ca, "BACKUP_CONTAINER": bucket, "BACKUP_PREFIX": "prod",
		"BACKUP_INTERVAL": "1h", "BACKUP_KEEP": "4", "BACKUP_STATUS": filepath.Join(t.TempDir(), "status")}
	for _, setting := range swift.Env(server.URL) {
		name, value, _ := strings.Cut(setting, "=")
		s.environment[name] = value
	}
	t.Setenv("TMPDIR", t.TempDir())
	require.NoError(t, os.WriteFile(s.snapshot, etcdsnapshottest.New(5), 0o600))
	program(t, "etcdctl", `case "$1 $2" in
'endpoint health') ;;
'lock etcd-backup') echo etcd-backup/1; exec sleep 60 ;;
'snapshot save') cp '`+s.snapshot+`' "$3" ;;
'get /kubernetes-openstack/restored') cat '`+s.snapshot+`.restored' 2>/dev/null || true ;;
*) exit 2 ;;
esac`)
	program(t, "etcdutl", `echo '{"hash":1,"revision":7,"totalKey":3,"totalSize":20480,"version":"3.6.0"}'`)
	return s
}

func TestSave(t *testing.T) {
	s := newSite(t)
	require.NoError(t, s.save(t), &s.out)
	names := s.names()
	require.Len(t, names, 1)
	assert.Regexp(t, `^prod-\d{8}T\d{6}Z\.db$`, names[0])
	assert.Equal(t, etcdsnapshottest.New(5), s.Content(bucket, names[0]))
	assert.Len(t, s.Names(bucket), 1+5, "20512 bytes in segments of 5000")
	assert.Regexp(t, `^saved `+names[0]+`: 0\.02 MB, 3 keys, revision 7, \d\.\d s\n$`, s.out.String())
	temporary, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, temporary)

	b := &backup{}
	b.container, err = connect(t.Context(), s.getenv)
	require.NoError(t, err)
	size, metadata, err := b.container.head(t.Context(), names[0])
	require.NoError(t, err)
	assert.EqualValues(t, 20512, size)
	assert.Equal(t, map[string]string{"Etcd-Version": "3.6.0", "Revision": "7",
		"Sha256": fmt.Sprintf("%x", sha256.Sum256(etcdsnapshottest.New(5)))}, metadata)

	require.NoError(t, s.run(t, "save"))
	assert.Equal(t, "no snapshot is due: "+names[0]+" is younger than 10m0s\n", s.out.String())
	assert.Equal(t, names, s.names())
}

// A snapshot that an operator wants at once, for example before an upgrade, does not wait until it is due.
func TestSaveNow(t *testing.T) {
	s := newSite(t)
	recent := "prod-" + time.Now().UTC().Add(-time.Minute).Format(timeFormat) + ".db"
	s.Put(bucket, recent, nil)
	require.NoError(t, s.run(t, "save"))
	require.Equal(t, []string{recent}, s.names())
	require.NoError(t, s.run(t, "save-now"))
	require.Regexp(t, `^saved prod-\d{8}T\d{6}Z\.db: `, s.out.String())
	require.Len(t, s.names(), 2)
}

// Other objects and the snapshot of the restore are never deleted.
func TestSaveDeletesTheOldestSnapshots(t *testing.T) {
	s := newSite(t)
	var kept []string
	for i := range 10 {
		day := fmt.Sprintf("200612%02d", i+1)
		s.Put(bucket, "prod-"+day+"T120000Z.db", nil)
		s.Put(bucket, "segments/prod-"+day+"T120000Z.db/00000000", nil)
		kept = append(kept, "prod-eu-"+day+"T120000Z.db")
		s.Put(bucket, kept[i], nil)
	}
	s.Put(bucket, "prod-upgrade.db", nil)
	s.Put(bucket, "segments/prod-eu-20061201T120001Z.db/00000000", nil)
	s.environment["RESTORE"] = "prod-20061202T120000Z.db"
	require.NoError(t, s.save(t), &s.out)
	names := s.names()
	kept = append([]string{"prod-20061202T120000Z.db", "prod-20061208T120000Z.db", "prod-20061209T120000Z.db",
		"prod-20061210T120000Z.db", names[4]}, append(kept, "prod-upgrade.db")...)
	assert.Equal(t, kept, names)
	assert.Contains(t, s.out.String(), "deleted prod-20061207T120000Z.db, because there are 4 newer ones\n")
	for _, name := range names[:4] {
		assert.Contains(t, s.Names(bucket), segments+name+"/00000000")
	}
	assert.Contains(t, s.Names(bucket), "segments/prod-eu-20061201T120001Z.db/00000000")
	assert.Len(t, s.Names(bucket), len(kept)+4+5+1)
}

// TestAnInterruptedUploadLeavesNoSnapshot interrupts each of the uploads of five segments and a manifest, with an error
// and with a lost connection.
func TestAnInterruptedUploadLeavesNoSnapshot(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, 0} {
		for n := range int32(6) {
			t.Run(fmt.Sprintf("request %d, status %d", n+1, status), func(t *testing.T) {
				s := newSite(t)
				var puts atomic.Int32
				s.Fail = func(r *http.Request) int {
					if r.Method == http.MethodPut && puts.Add(1) == n+1 {
						if status == 0 {
							panic(http.ErrAbortHandler)
						}
						return status
					}
					return 0
				}
				err := s.save(t)
				require.ErrorContains(t, err, "upload ")
				require.NotContains(t, err.Error(), "\n")
				require.Empty(t, s.names())
				require.Len(t, s.Names(bucket), int(n))

				require.NoError(t, s.save(t))
				require.Len(t, s.names(), 1)
				require.Len(t, s.Names(bucket), 6)
			})
		}
	}
}

// A list can be older than the objects.
func TestSegmentsOfAnUnlistedSnapshotAreKept(t *testing.T) {
	s := newSite(t)
	require.NoError(t, s.save(t))
	s.Unlisted = s.names()[0]
	s.environment["BACKUP_INTERVAL"] = "1ns"
	time.Sleep(1100 * time.Millisecond) // the next snapshot has another name
	require.NoError(t, s.save(t))
	assert.Len(t, s.Names(bucket), 12)
	assert.Equal(t, etcdsnapshottest.New(5), s.Content(bucket, s.Unlisted))
}

func TestSaveFails(t *testing.T) {
	damaged := etcdsnapshottest.New(5)
	damaged[9000] ^= 1
	for name, test := range map[string]struct {
		change func(t *testing.T, s *site)
		want   string
	}{
		"not healthy": {func(t *testing.T, _ *site) {
			program(t, "etcdctl", `echo 'Error: unhealthy cluster' >&2; exit 1`)
		}, "the member of this machine is not healthy, so another member must save the snapshot: etcdctl endpoint " +
			"health: unhealthy cluster"},
		"no lock": {func(t *testing.T, _ *site) {
			program(t, "etcdctl", `[ "$1" != lock ]`)
		}, "etcdctl lock: exit status 1"},
		"no lock, without an error": {func(t *testing.T, _ *site) {
			program(t, "etcdctl", "exit 0")
		}, "etcdctl lock: ended without the lock"},
		"lost lock": {func(t *testing.T, s *site) {
			program(t, "etcdctl", `started='`+s.snapshot+`.started'
				case $1 in lock) echo key; until [ -e $started ]; do sleep 0.01; done ;;
				snapshot) touch $started; exec sleep 60 ;; esac`)
		}, "etcdctl has lost the lock: etcdctl snapshot save: signal: killed"},
		"disk full": {func(t *testing.T, s *site) {
			program(t, "etcdctl", `case $1 in lock) echo key; exec sleep 60 ;; snapshot)
				echo 'Error: could not write snapshot: no space left on device' >&2; exit 1 ;; esac`)
		}, "etcdctl snapshot save: could not write snapshot: no space left on device"},
		"damaged": {func(t *testing.T, s *site) {
			require.NoError(t, os.WriteFile(s.snapshot, damaged, 0o600))
		}, "the snapshot of this member is damaged, so another member must save it: altered: "},
		"damaged content": {func(t *testing.T, _ *site) {
			program(t, "etcdutl", `echo 'Error: snapshot file integrity check failed' >&2; exit 1`)
		}, "etcdutl snapshot status: snapshot file integrity check failed"},
		"no container": {func(_ *testing.T, s *site) { s.environment["BACKUP_CONTAINER"] = "other" },
			"list container other: does not exist"},
		"wrong credential": {func(_ *testing.T, s *site) { s.environment["OS_APPLICATION_CREDENTIAL_SECRET"] = "old" },
			"log in to OpenStack with the application credential credential: HTTP status 401 from https://127.0.0.1"},
		"unknown certificate": {func(_ *testing.T, s *site) { s.environment["OS_CACERT"] = "" },
			"log in to OpenStack with the application credential credential: Post \"https://127.0.0.1"},
		"wrong region": {func(_ *testing.T, s *site) { s.environment["OS_REGION_NAME"] = "other" },
			"find Swift in region \"other\", interface \"internal\": "},
		"no permission": {func(_ *testing.T, s *site) {
			s.Fail = func(r *http.Request) int {
				if r.Method == http.MethodGet {
					return http.StatusForbidden
				}
				return 0
			}
		}, "list container prod-etcd: HTTP status 403 from https://127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			test.change(t, s)
			err := s.run(t, "save")
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "\n")
			assert.Empty(t, s.Names(bucket))
			temporary, err := os.ReadDir(os.Getenv("TMPDIR"))
			require.NoError(t, err)
			assert.Empty(t, temporary)
		})
	}
}

// SIGTERM cancels the context.
func TestSaveEnds(t *testing.T) {
	s := newSite(t)
	program(t, "etcdctl", `case $1 in lock) echo key; exec sleep 60 ;; snapshot) touch '`+s.snapshot+`.started'
		exec sleep 60 ;; esac`)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for _, err := os.Stat(s.snapshot + ".started"); err != nil; _, err = os.Stat(s.snapshot + ".started") {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	err := run(ctx, []string{"save"}, s.getenv, log.New(&s.out, "", 0))
	require.ErrorIs(t, err, context.Canceled)
}

func TestFetch(t *testing.T) {
	intact := etcdsnapshottest.New(5)
	altered := bytes.Clone(intact)
	altered[10000] ^= 1
	replace := func(content []byte) func(s *site, name string) {
		return func(s *site, name string) { s.Put(bucket, name, content) }
	}
	const refused = "NAME in container prod-etcd is not an intact snapshot: "
	for name, test := range map[string]struct {
		change func(s *site, name string)
		want   string
	}{
		"intact": {func(*site, string) {}, ""},
		"uploaded without metadata": {func(s *site, name string) {
			s.Delete(bucket, name)
			s.Put(bucket, name, intact)
		}, ""},
		"missing":                      {(*site).delete, "read NAME in container prod-etcd: does not exist"},
		"truncated":                    {replace(intact[:9000]), refused + "truncated: it has 9000 bytes, but must have"},
		"truncated to a possible size": {replace(intact[:8224]), refused + "truncated: it has 8224 bytes, but must have"},
		"empty":                        {replace(nil), refused + "not a snapshot of etcd: it has 0 bytes"},
		"another kind of file":         {replace([]byte("text")), refused + "not a snapshot of etcd: it has 4 bytes"},
		"without a hash":               {replace(intact[:20480]), refused + "without a SHA-256 at its end"},
		"altered":                      {replace(altered), refused + "altered: the SHA-256 of its database is "},
		"another snapshot": {replace(etcdsnapshottest.New(6)),
			"NAME in container prod-etcd is another file than the saved one: its SHA-256 is "},
		"a segment is missing": {func(s *site, name string) { s.Delete(bucket, segments+name+"/00000003") },
			"download NAME: after 15000 bytes: unexpected EOF"},
		"a segment is altered": {func(s *site, name string) {
			s.Put(bucket, segments+name+"/00000002", altered[10000:15000])
		}, "download NAME: after 10000 bytes: unexpected EOF"},
		"no answer": {func(s *site, _ string) {
			s.Fail = func(r *http.Request) int {
				if r.Method == http.MethodGet {
					return http.StatusServiceUnavailable
				}
				return 0
			}
		}, "download NAME in container prod-etcd: HTTP status 503 from https://"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			require.NoError(t, s.save(t))
			object := s.names()[0]
			test.change(s, object)
			dir := t.TempDir()
			file := filepath.Join(dir, "file")
			err := s.run(t, "fetch", object, file)
			if test.want == "" {
				require.NoError(t, err)
				content, err := os.ReadFile(file)
				require.NoError(t, err)
				require.Equal(t, intact, content)
				require.Regexp(t, "^fetched "+object+`: 0\.02 MB, 3 keys, revision 7, \d\.\d s\n$`, s.out.String())
				return
			}
			require.ErrorContains(t, err, strings.Replace(test.want, "NAME", object, 1))
			require.NotContains(t, err.Error(), "\n")
			files, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, files)
		})
	}
}

func (s *site) delete(name string) { s.Delete(bucket, name) }

// An empty cluster is created only if its container is reachable and has no snapshot of the cluster.
func TestCheckEmpty(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"saved-12345678.db", "prod-upgrade.db", "prod-eu-20061202T120000Z.db"} {
		s.Put(bucket, name, nil)
	}
	require.NoError(t, s.run(t, "check-empty"))
	s.Put(bucket, "prod-20061201T120000Z.db", nil)
	s.Put(bucket, "prod-20061202T120000Z.db", nil)
	require.EqualError(t, s.run(t, "check-empty"), "container prod-etcd has snapshots of cluster prod: 2, the newest is "+
		"prod-20061202T120000Z.db: set etcd.restore to this name, or set another etcd.backup.container for an empty cluster")
	assert.NoFileExists(t, s.environment["BACKUP_STATUS"])
	s = newSite(t)
	s.Fail = func(r *http.Request) int {
		if r.Method == http.MethodGet {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	require.ErrorContains(t, s.run(t, "check-empty"), "list container prod-etcd: HTTP status 503")
	require.ErrorContains(t, s.run(t, "check-restore", "a.db"), "list container prod-etcd: HTTP status 503")
}

// A snapshot from the future counts, but it is not the newest one if its machine had a wrong clock.
func TestCheckEmptyNamesTheNewestSnapshot(t *testing.T) {
	s := newSite(t)
	s.Put(bucket, "prod-20991201T120000Z.db", nil)
	require.ErrorContains(t, s.run(t, "check-empty"), ": 1, the newest is prod-20991201T120000Z.db: ")
	s.Put(bucket, "prod-20061202T120000Z.db", nil)
	require.ErrorContains(t, s.run(t, "check-empty"), ": 2, the newest is prod-20061202T120000Z.db: ")
}

// A container is empty only if Swift itself responds, and not for example a proxy with a page of its own.
func TestCheckEmptyRequiresAListOfSwift(t *testing.T) {
	const noList = "list container prod-etcd: the response is not a list of Swift: HTTP status "
	for name, test := range map[string]struct {
		status                   int
		contentType, count, body string
		want                     string
	}{
		"an empty list": {http.StatusOK, "application/json; charset=utf-8", "0", "[]", ""},
		"a page of HTML": {http.StatusOK, "text/html; charset=utf-8", "", "<html>maintenance</html>",
			noList + `200, Content-Type "text/html; charset=utf-8", X-Container-Object-Count "" from https://127.0.0.1`},
		"a text":     {http.StatusOK, "text/plain", "0", "", noList + `200, Content-Type "text/plain"`},
		"no content": {http.StatusNoContent, "", "", "", noList + `204, Content-Type ""`},
		"JSON of another program": {http.StatusOK, "application/json", "", "[]",
			noList + `200, Content-Type "application/json", X-Container-Object-Count "" from https://127.0.0.1`},
		"an incomplete list": {http.StatusOK, "application/json", "3", "[]",
			"list container prod-etcd: it has 3 objects, but its list has 0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.Put(bucket, "prod-20061201T120000Z.db", nil)
			asked := 0
			s.Respond = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, bucket) {
					return false
				}
				asked++
				assert.Equal(t, "true", r.Header.Get("X-Newest"), "of all replicas")
				w.Header()["Content-Type"] = nil
				for key, value := range map[string]string{"Content-Type": test.contentType,
					"X-Container-Object-Count": test.count} {
					if value != "" {
						w.Header().Set(key, value)
					}
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
				return true
			}
			err := s.run(t, "check-empty")
			assert.Positive(t, asked)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// A snapshot is restored again only if no newer one has the changes since the first restore.
func TestCheckRestore(t *testing.T) {
	s := newSite(t)
	require.NoError(t, s.run(t, "check-restore", "a.db"))
	s.Put(bucket, "prod-20061201T120000Z.db", nil)
	require.NoError(t, s.run(t, "check-restore", "a.db"), "before the restore")
	require.NoError(t, os.WriteFile(s.snapshot+".restored", []byte("a.db\n"), 0o600))
	require.NoError(t, s.save(t))
	newest := s.names()[1]
	s.Put(bucket, "prod-20991201T120000Z.db", nil) // by a machine with a wrong clock
	require.EqualError(t, s.run(t, "check-restore", "a.db"), "it was restored before, and "+newest+" has the changes "+
		"since then: set etcd.restore to "+newest+", or restore a copy of a.db with another name")
	require.NoError(t, s.run(t, "check-restore", "b.db"))
	require.NoError(t, s.run(t, "check-restore", newest))
}

// The clock of this machine can be wrong, too.
func TestCheckRestoreOfAMachineWhoseClockIsBehind(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.WriteFile(s.snapshot+".restored", []byte("a.db\n"), 0o600))
	require.NoError(t, s.save(t))
	const newest = "prod-20991201T120000Z.db" // from the future, as seen from this machine
	s.Rename(bucket, s.names()[0], newest)
	s.Put(bucket, "prod-20061201T120000Z.db", nil)
	require.ErrorContains(t, s.run(t, "check-restore", "a.db"), "it was restored before, and "+newest+" has the changes ")
	require.NoError(t, s.run(t, "check-restore", "b.db"))
}

// A list of Swift can still have a deleted snapshot. The next older one decides then.
func TestCheckRestoreIgnoresADeletedSnapshot(t *testing.T) {
	s := newSite(t)
	s.Deleted = "prod-20061201T120000Z.db"
	s.Put(bucket, s.Deleted, nil)
	require.NoError(t, s.run(t, "check-restore", "a.db"), "no other snapshot")
	require.NoError(t, os.WriteFile(s.snapshot+".restored", []byte("a.db\n"), 0o600))
	require.NoError(t, s.save(t))
	const newest = "prod-20061130T120000Z.db"
	s.Rename(bucket, s.names()[1], newest)
	require.ErrorContains(t, s.run(t, "check-restore", "a.db"), "it was restored before, and "+newest+" has the changes ")
	require.NoError(t, s.run(t, "check-restore", "b.db"))
}

// The first snapshot of a new cluster is nearly empty, so the second one is due early.
func TestTheSecondSnapshotIsDueEarly(t *testing.T) {
	for name, test := range map[string]struct {
		keep string
		ages []time.Duration
		due  bool
	}{
		"no snapshot":  {"4", nil, true},
		"a new one":    {"4", []time.Duration{9 * time.Minute}, false},
		"a single one": {"4", []time.Duration{11 * time.Minute}, true},
		"a single one, and the timer is a second early": {"4", []time.Duration{10*time.Minute - 5*time.Second}, true},
		"two, and the timer is a second early": {"4",
			[]time.Duration{time.Hour - 5*time.Second, 120 * time.Minute}, true},
		"two":                          {"4", []time.Duration{11 * time.Minute, 70 * time.Minute}, false},
		"two old ones":                 {"4", []time.Duration{61 * time.Minute, 120 * time.Minute}, true},
		"only one is kept":             {"1", []time.Duration{11 * time.Minute}, false},
		"only one is kept, an old one": {"1", []time.Duration{61 * time.Minute}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.environment["BACKUP_KEEP"] = test.keep
			for _, age := range test.ages {
				s.Put(bucket, "prod-"+time.Now().UTC().Add(-age).Format(timeFormat)+".db", nil)
			}
			require.NoError(t, s.run(t, "save"))
			assert.Equal(t, test.due, strings.Contains(s.out.String(), "saved "), &s.out)
		})
	}
}

// Each run writes the newest snapshot for check-etcd, also one that another member has saved.
func TestStatus(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	young, old, ahead := now.Add(-5*time.Minute), now.Add(-3*time.Hour), now.Add(5*time.Minute)
	name := func(at time.Time) string { return "prod-" + at.Format(timeFormat) + ".db" }
	line := func(at time.Time) string { return fmt.Sprintf("%d %s\n", at.Add(90*time.Minute).Unix(), name(at)) }
	unreachable := func(s *site) { s.environment["OS_APPLICATION_CREDENTIAL_SECRET"] = "old" }
	fails := func(s *site) { _ = os.Remove(s.snapshot) }
	for description, test := range map[string]struct {
		before  string
		objects []time.Time
		change  func(s *site)
		want    string
	}{
		"another member has saved it":         {"", []time.Time{old, young}, nil, line(young)},
		"nothing was ever saved":              {"", nil, fails, "0 \n"},
		"the container was emptied":           {line(old), nil, fails, "0 \n"},
		"the save fails":                      {line(now.Add(-4 * time.Hour)), []time.Time{old}, fails, line(old)},
		"the first run has no access":         {"", []time.Time{young}, unreachable, "0 \n"},
		"a later run has no access":           {line(old), []time.Time{young}, unreachable, line(old)},
		"a snapshot from the future":          {"", []time.Time{young, now.Add(48 * time.Hour)}, nil, line(young)},
		"a clock that is a few minutes ahead": {"", []time.Time{ahead}, nil, line(ahead)},
	} {
		t.Run(description, func(t *testing.T) {
			s := newSite(t)
			status := s.environment["BACKUP_STATUS"]
			if test.before != "" {
				require.NoError(t, os.WriteFile(status, []byte(test.before), 0o600))
			}
			for _, at := range test.objects {
				s.Put(bucket, name(at), nil)
			}
			if test.change != nil {
				test.change(s)
			}
			err := s.run(t, "save")
			assert.Equal(t, test.change != nil, err != nil, err)
			content, err := os.ReadFile(status)
			require.NoError(t, err)
			assert.Equal(t, test.want, string(content))
		})
	}
	s := newSite(t)
	require.NoError(t, s.run(t, "save-now"))
	content, err := os.ReadFile(s.environment["BACKUP_STATUS"])
	require.NoError(t, err)
	assert.Regexp(t, `^\d+ `+s.names()[0]+`\n$`, string(content))
}

func TestReadSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "backup.env")
	_, err := readSettings(file)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(file, []byte("OS_AUTH_URL=https://a/v3?b=c\nRESTORE=\nBACKUP_KEEP=24\n"), 0o600))
	settings, err := readSettings(file)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"OS_AUTH_URL": "https://a/v3?b=c", "RESTORE": "", "BACKUP_KEEP": "24"}, settings)
}

func TestSettings(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"BACKUP_CONTAINER", "", "BACKUP_CONTAINER: must be set"},
		{"BACKUP_PREFIX", "", "BACKUP_PREFIX: must be the name of the cluster"},
		{"BACKUP_INTERVAL", "-1h", `BACKUP_INTERVAL: must be a positive duration such as 1h, not "-1h"`},
		{"BACKUP_INTERVAL", "3600", `BACKUP_INTERVAL: must be a positive duration such as 1h, not "3600"`},
		{"BACKUP_KEEP", "0", `BACKUP_KEEP: must be a positive number such as 24, not "0"`},
		{"BACKUP_KEEP", "", `BACKUP_KEEP: must be a positive number such as 24, not ""`},
		{"OS_AUTH_URL", "", "OS_AUTH_URL: must be set"},
		{"OS_CACERT", "/nonexistent", "OS_CACERT: open /nonexistent: no such file or directory"},
		{"OS_CACERT", "/dev/null", "OS_CACERT: /dev/null must contain a certificate"},
	} {
		s := newSite(t)
		s.environment[test.name] = test.value
		require.EqualError(t, s.run(t, "save"), test.want)
	}
	s := newSite(t)
	for _, args := range [][]string{nil, {"load"}, {"save", "x"}, {"fetch", "a.db"}, {"check-restore"}} {
		require.EqualError(t, s.run(t, args...),
			"use: etcd-backup save | save-now | fetch NAME FILE | check-empty | check-restore NAME")
	}
}
