package cluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/field"
)

// backups returns a small configuration with backups of etcd and some keys of `etcd.backup` changed. nil deletes a key.
func backups(t *testing.T, change map[string]any) map[string]any {
	t.Helper()
	object := valid(t)
	set(object, "etcd.backup.container", "test-etcd")
	for key, value := range change {
		set(object, "etcd.backup."+key, value)
	}
	return object
}

// Each row expects exactly one error.
func TestBackupErrors(t *testing.T) {
	const container = `etcd.backup.container: must be the name of a Swift container of 1 to 63 letters, digits, '-' and ` +
		`'_', such as prod-etcd, not `
	const restore = `etcd.restore: must be the name of an object in etcd.backup.container, or a local file whose path ` +
		`contains '/', with a name of up to 240 letters, digits, '.', '-' and '_', not `
	long := strings.Repeat("a", 64)
	for _, row := range []struct {
		path  string
		value any
		want  string
	}{
		{"etcd.backup.container", "prod/etcd", container + `"prod/etcd"`},
		{"etcd.backup.container", "prod.etcd", container + `"prod.etcd"`}, // any character, in an access rule
		{"etcd.backup.container", "{name}", container + `"{name}"`},
		{"etcd.backup.container", "*", container + `"*"`},
		{"etcd.backup.container", "prod etcd", container + `"prod etcd"`},
		{"etcd.backup.container", "prod\n", container + `"prod\n"`},
		{"etcd.backup.container", "größe", container + `"größe"`},
		{"etcd.backup.container", long, container + `"` + long + `"`},
		{"etcd.backup.container", 1, "etcd.backup.container: must be a string in quotes, not 1"},
		{"etcd.backup.interval", "0s", "etcd.backup.interval: must be a duration from 1m to 24h, not 0s"},
		{"etcd.backup.interval", "-1h", "etcd.backup.interval: must be a duration from 1m to 24h, not -1h0m0s"},
		{"etcd.backup.interval", "59s", "etcd.backup.interval: must be a duration from 1m to 24h, not 59s"},
		{"etcd.backup.interval", "48h", "etcd.backup.interval: must be a duration from 1m to 24h, not 48h0m0s"},
		{"etcd.backup.interval", 60, "etcd.backup.interval: must be a duration such as 15m, not 60"},
		{"etcd.backup.keep", 0, "etcd.backup.keep: must be between 1 and 10000, not 0"},
		{"etcd.backup.keep", -1, "etcd.backup.keep: must be between 1 and 10000, not -1"},
		{"etcd.backup.keep", "all", `etcd.backup.keep: must be a number, not "all"`},
		{"etcd.backup.roles", "member", `etcd.backup.roles: must be a list of strings, not "member"`},
		{"etcd.backup.roles", []any{"member", ""}, "etcd.backup.roles[1]: must be set to the name of a role"},
		{"etcd.backup.Container", "x", "etcd.backup.Container: unknown key: docs/configuration.md lists all keys"},
		{"etcd.backup", "test-etcd", "etcd.backup: must be an object of keys and values"}, // can be a secret, so not shown
		{"etcd.backup", map[string]any{"keep": 2},
			"etcd.backup.container: must be set to a Swift container, because without it there are no backups"},
		{"etcd.backup", map[string]any{"interval": "2h"},
			"etcd.backup.container: must be set to a Swift container, because without it there are no backups"},
		{"etcd.backup", map[string]any{"roles": []any{"member"}},
			"etcd.backup.container: must be set to a Swift container, because without it there are no backups"},
		{"etcd.backup", map[string]any{"applicationCredential": map[string]any{
			"id": "0123456789abcdef0123456789abcdef", "secret": "secret"}},
			"etcd.backup.container: must be set to a Swift container, because without it there are no backups"},
		{"etcd.restore", "a b.db", restore + `"a b.db"`},
		{"etcd.restore", "-a.db", restore + `"-a.db"`},
		{"etcd.restore", "./a=b.db", restore + `"./a=b.db"`},
		{"etcd.restore", "./" + strings.Repeat("a", 241), restore + `"./` + strings.Repeat("a", 241) + `"`},
		{"etcd.restore", "..", restore + `".."`},
		{"etcd.restore", "/", restore + `"/"`},
		{"etcd.restore", "a\n", restore + `"a\n"`},
		{"etcd.restore", strings.Repeat("a", 241), restore + `"` + strings.Repeat("a", 241) + `"`},
	} {
		t.Run(fmt.Sprint(row.path, " ", row.value), func(t *testing.T) {
			object := backups(t, nil)
			set(object, row.path, row.value)
			text, err := json.Marshal(object)
			require.NoError(t, err)
			_, err = Decode("test", string(text))
			var errs field.Errors
			require.ErrorAs(t, err, &errs)
			require.Len(t, errs, 1, "%s", errs)
			assert.Equal(t, row.want, errs[0].Error())
		})
	}
}

// All mistakes are reported at once.
func TestRestoreWithoutBackups(t *testing.T) {
	object := backups(t, map[string]any{"container": nil, "interval": "1s", "keep": 0})
	set(object, "etcd.restore", "./a b")
	text, err := json.Marshal(object)
	require.NoError(t, err)
	_, err = Decode("test", string(text))
	assert.EqualError(t, err, `kubernetes-openstack:cluster has 4 errors:
  etcd.backup.interval: must be a duration from 1m to 24h, not 1s
  etcd.backup.keep: must be between 1 and 10000, not 0
  etcd.restore: must be the name of an object in etcd.backup.container, or a local file whose path contains '/', `+
		`with a name of up to 240 letters, digits, '.', '-' and '_', not "./a b"
  etcd.backup.container: must be set to a Swift container, because without it there are no backups`)
}

func TestBackup(t *testing.T) {
	c := small(t)
	assert.Empty(t, c.Etcd.Backup.Container, "no backups without a container")
	assert.Empty(t, c.Etcd.RestoreFile())
	for _, m := range NewPlan(c).Machines {
		for _, a := range m.Artifacts {
			assert.NotEqual(t, "etcd-backup", a.Name, m.ID)
		}
	}

	object := backups(t, nil)
	c = decoded(t, object)
	assert.Equal(t, Backup{Container: "test-etcd", Interval: time.Hour, Keep: 24}, c.Etcd.Backup)
	assert.Equal(t, 10*time.Minute, c.Etcd.Backup.Period())
	assert.Equal(t, []string{"member"}, c.Etcd.Backup.CredentialRoles())
	assert.Equal(t, []AccessRule{
		{"GET", "test-etcd"}, {"HEAD", "test-etcd"}, {"DELETE", "test-etcd/**"}, {"GET", "test-etcd/**"},
		{"HEAD", "test-etcd/**"}, {"PUT", "test-etcd/**"},
	}, c.Etcd.Backup.AccessRules())
	for _, m := range NewPlan(c).Machines {
		var names []string
		for _, a := range m.Artifacts {
			names = append(names, a.Name)
		}
		if m.Role == RoleEtcd {
			assert.Equal(t, []string{"etcd-join", "etcd-backup", "etcd"}, names)
		} else {
			assert.NotContains(t, names, "etcd-backup")
		}
	}

	for interval, want := range map[string]time.Duration{"1m": 10 * time.Second, "100s": 16 * time.Second,
		"24h": 4 * time.Hour} {
		set(object, "etcd.backup.interval", interval)
		assert.Equal(t, want, decoded(t, object).Etcd.Backup.Period(), interval)
	}
}

// A credential with other settings has another name, because Keystone allows only one of a name.
func TestBackupCredentialName(t *testing.T) {
	names := map[string]string{}
	for _, change := range []map[string]any{
		nil, {"container": "other"}, {"roles": []any{"swiftoperator"}}, {"roles": []any{"member", "reader"}},
	} {
		name := decoded(t, backups(t, change)).BackupCredentialName()
		assert.Regexp(t, `^test-1\.etcd-backup\.[0-9a-f]{8}$`, name)
		assert.NotContains(t, names, name)
		names[name] = ""
	}
	for _, change := range []map[string]any{{"roles": []any{"member"}}, {"keep": 3, "interval": "5m"}} {
		assert.Contains(t, names, decoded(t, backups(t, change)).BackupCredentialName())
	}
}

func TestRestoreFile(t *testing.T) {
	for restore, want := range map[string]string{
		"prod-20270131T120000Z.db": "", // an object
		"":                         "",
		"./snapshot.db":            "snapshot-1f2e3d4c.db",
		"/srv/a b/snapshot.1.db":   "snapshot.1-1f2e3d4c.db",
		"../x/s_1":                 "s_1-1f2e3d4c",
	} {
		object := backups(t, nil)
		set(object, "etcd.restore", restore)
		e := decoded(t, object).Etcd
		if want == "" {
			assert.Empty(t, e.RestoreFile(), restore)
			continue
		}
		assert.Equal(t, restore, e.RestoreFile())
		name := e.UploadName("1f2e3d4c5b6a")
		assert.Equal(t, want, name)
		assert.Regexp(t, objectName, name)
	}
}
