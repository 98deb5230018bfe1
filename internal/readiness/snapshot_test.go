package readiness

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"kubernetes-openstack/internal/etcdsnapshot/etcdsnapshottest"
	"kubernetes-openstack/tests/swift"
)

// TestSnapshot checks the errors for objects that etcd.restore can name.
func TestSnapshot(t *testing.T) {
	s := swift.New("prod-etcd")
	s.Put("prod-etcd", "saved.db", etcdsnapshottest.New(2))
	s.Put("prod-etcd", "truncated.db", etcdsnapshottest.New(2)[:5000])
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	for _, setting := range swift.Env(server.URL) {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	snapshot := func(container, name string) error { return NewCloud().Snapshot(t.Context(), container, name) }

	assert.NoError(t, snapshot("prod-etcd", "saved.db"))
	assert.EqualError(t, snapshot("prod-etcd", "typo.db"), "etcd.restore: must be the name of an object in container "+
		`prod-etcd, not "typo.db", which does not exist. No machine was changed. `+
		"`openstack object list prod-etcd` lists the objects")
	assert.ErrorContains(t, snapshot("other", "saved.db"), `in container other, not "saved.db", which does not exist`)
	assert.EqualError(t, snapshot("prod-etcd", "truncated.db"), "etcd.restore: must be the name of a snapshot in "+
		`container prod-etcd, not "truncated.db", which has 5000 bytes, so it is truncated, or not a snapshot of etcd. No `+
		"machine was changed")

	const unknown = "etcd.restore: no machine was changed, because this `up` cannot verify that container prod-etcd has " +
		"the object saved.db: "
	s.Fail = func(r *http.Request) int {
		if r.Method == http.MethodHead {
			return http.StatusForbidden
		}
		return 0
	}
	assert.ErrorContains(t, snapshot("prod-etcd", "saved.db"), unknown)
	t.Setenv("OS_APPLICATION_CREDENTIAL_SECRET", "wrong")
	assert.ErrorContains(t, snapshot("prod-etcd", "saved.db"), unknown)
}
