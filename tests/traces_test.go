//go:build e2e

package tests

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
)

// testLeaks searches all that the engine, the machines and devcloud wrote for the secrets of the stack. It plants a
// secret of its own in each kind of place, and must find it there.
func testLeaks(t *testing.T, e *engine, api *api, plan cluster.Plan) {
	step(t, "no secret is in logs, consoles, processes, readable files, objects or the state", func(t *testing.T) {
		begin, worker := time.Now(), plan.WithRole(cluster.RoleWorker)[0]
		secrets := e.secrets(t, plan)
		planted := "planted-" + rand.Text()
		secrets["planted"] = planted
		where := plantSecret(t, e, api, worker.ID, planted)

		s, found := newSearch(secrets), map[string][]string{}
		see := func(place, text string) {
			for _, name := range s.in(text) {
				if !slices.Contains(found[place], name) {
					found[place] = append(found[place], name)
				}
			}
		}
		see("output of the engine", e.output.String())
		see("objects", api.readableObjects(t))
		see("data of etcd", e.on(t, plan.WithRole(cluster.RoleEtcd)[0].ID, "etcdctl get --prefix /"))
		for _, m := range plan.WithRole(cluster.RoleWorker) {
			see("user-data of "+m.ID, e.on(t, m.ID, "curl -sS --fail http://169.254.169.254/openstack/latest/user_data | zcat"))
		}
		logs := t.TempDir()
		e.run(t, `exec "$1" logs --copy "$2"`, e.devcloud(), logs)
		for folder, place := range map[string]string{
			logs: "log ", e.backend: "state ", "testdata": "golden ", "../templates/testdata": "golden ",
		} {
			require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
				if err != nil || !entry.Type().IsRegular() {
					return err
				}
				content, err := os.ReadFile(path)
				see(place+strings.TrimPrefix(path, folder+"/"), string(unzipped(content)))
				return err
			}))
		}
		t.Logf("searched logs and objects after %.1f s", time.Since(begin).Seconds())
		box := openNamespace(t, "").root
		processes, err := filepath.Glob(filepath.Join(box, "proc/[0-9]*"))
		require.NoError(t, err)
		for _, process := range processes {
			read := func(file string) string { // the process may have ended
				content, _ := os.ReadFile(filepath.Join(process, file))
				return string(content)
			}
			name := strings.TrimSpace(read("comm"))
			see("arguments of "+name, read("cmdline"))
			see("environment of "+name, read("environ"))
			if status := strings.Fields(read("status")); name == "systemd" && isFirst(status) {
				machine := strings.TrimSpace(read("root/etc/hostname"))
				if slices.ContainsFunc(plan.Machines, func(m cluster.Machine) bool { return m.ID == machine }) {
					// the copied logs contain the journals
					skip := []string{"/dev", "/proc", "/sys", "/run/log/journal", "/var/log/journal"}
					files := 0
					require.NoError(t, readable(filepath.Join(process, "root"), skip, "/var/log",
						func(path string, content []byte) { see("file "+machine+":"+path, string(content)); files++ }))
					t.Logf("searched %d files of %s after %.1f s", files, machine, time.Since(begin).Seconds())
				}
			}
		}

		for place, names := range found { // an instance's ID is in the names of its logs
			if i := slices.Index(names, "planted"); i >= 0 {
				found[place] = slices.Delete(names, i, i+1)
				at := slices.IndexFunc(where, func(start string) bool { return strings.HasPrefix(place, start) })
				if assert.GreaterOrEqual(t, at, 0, "the planted secret is also in %s", place) {
					where = slices.Delete(where, at, at+1)
				}
			}
		}
		assert.Empty(t, where, "the planted secret was not found there")
		assert.Len(t, found["user-data of "+worker.ID], 1)
		assert.Empty(t, leaks(found))
		t.Logf("searched for %d secrets in %.0f s", len(secrets), time.Since(begin).Seconds())
	})
}

// isFirst reports whether a process is the first one of its PID namespace.
func isFirst(status []string) bool {
	i := slices.Index(status, "NSpid:")
	end := i + 1
	for end < len(status) && !strings.HasSuffix(status[end], ":") {
		end++
	}
	return i >= 0 && status[end-1] == "1"
}

// secrets returns the secrets of the stack by their names. It fails if one of the plan's keys is missing.
func (e *engine) secrets(t *testing.T, plan cluster.Plan) map[string]string {
	t.Helper()
	secrets := exportedSecrets(t, e.must("stack", "export", "--show-secrets"))
	keys := []string{"ssh"}
	for _, a := range plan.Authorities {
		keys = append(keys, a.Name)
	}
	for _, k := range plan.Keys {
		keys = append(keys, k.Name)
	}
	for _, c := range plan.Certificates {
		keys = append(keys, c.Name)
	}
	for _, key := range keys {
		assert.Contains(t, secrets, "token of "+plan.Name+"-"+key)
	}
	return secrets
}

// plantSecret writes a text to all kinds of places, and returns the beginnings of their names.
func plantSecret(t *testing.T, e *engine, api *api, worker, text string) (where []string) {
	t.Helper()
	e.on(t, worker, strings.ReplaceAll(`
		echo TEXT >/run/planted
		(umask 077; echo TEXT >/var/log/planted)
		logger TEXT
		echo TEXT >/dev/console
		(export PLANTED=TEXT; exec -a TEXT sleep 300) >/dev/null 2>&1 </dev/null & echo $! >/run/planted.pid`, "TEXT", text))
	t.Cleanup(func() {
		e.on(t, worker, "kill $(cat /run/planted.pid); rm /run/planted /run/planted.pid /var/log/planted")
	})
	api.kubectl(t, "annotate", "node", worker, "planted="+text)
	t.Cleanup(func() { api.kubectl(t, "annotate", "node", worker, "planted-") })
	log, state := dirs.State("devcloud", "log", "planted.log"), filepath.Join(e.backend, "planted")
	for _, path := range []string{log, state} {
		require.NoError(t, os.WriteFile(path, zipped(text), 0o600))
		t.Cleanup(func() { os.Remove(path) })
	}
	_, err := e.try(text) // the error names the unknown command
	require.Error(t, err)
	return []string{
		"file " + worker + ":/run/planted", "file " + worker + ":/var/log/planted", "log machines/" + worker + "-",
		"log machines/" + worker + "-", "arguments of sleep", "environment of sleep", "objects", "data of etcd",
		"log services/planted.log", "state planted", "output of the engine",
	}
}

// readableObjects returns all objects in the API, except for Secrets.
func (a *api) readableObjects(t testing.TB) string {
	t.Helper()
	kinds := strings.Fields(a.kubectl(t, "api-resources", "--verbs=list", "--output=name"))
	kinds = slices.DeleteFunc(kinds, func(kind string) bool { return kind == "secrets" })
	return a.kubectl(t, "get", strings.Join(kinds, ","), "--all-namespaces", "--output=json")
}
