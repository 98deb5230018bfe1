//go:build e2e

package tests

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	swift "github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// volatile matches the keys of objects that their writers delete, or write again with another name.
var volatile = regexp.MustCompile(`^(/registry/(events|leases|masterleases)/|/calico/felix/)`)

// keys returns the names of all other keys in etcd.
func (e *engine) keys(t *testing.T) []string {
	t.Helper()
	keys := strings.Fields(e.on(t, "e2e-etcd-0", `etcdctl get --prefix "" --keys-only`))
	return slices.DeleteFunc(keys, volatile.MatchString)
}

// testRestore takes a snapshot of etcd, deletes all volumes of etcd, and restores the snapshot.
func testRestore(t *testing.T, e *engine, api *api, openstack cloud, keeper *keeper) {
	const container = "e2e-etcd"
	store := openstack.clients["object-store"]
	newest := func(t *testing.T) string {
		t.Helper()
		pages, err := swift.List(store, container, swift.ListOpts{Prefix: "e2e-2"}).AllPages(t.Context())
		require.NoError(t, err)
		names, err := swift.ExtractNames(pages)
		require.NoError(t, err)
		require.NotEmpty(t, names)
		return slices.Max(names)
	}
	var snapshot string
	var keys []string
	var writer *writer
	step(t, "a snapshot of etcd is in the object storage", func(t *testing.T) {
		first := newest(t) // the timer's
		writer = api.startWriter(t)
		writer.waitForMore(t, 20)
		writer.end()
		api.kubectl(t, "create", "configmap", "earlier")
		keys = e.keys(t)
		begin := time.Now()
		out := e.on(t, "e2e-etcd-0", "TMPDIR=/var/tmp etcd-backup save-now")
		snapshot = newest(t)
		assert.NotEqual(t, first, snapshot)
		t.Logf("saved %s after %.1f s: %s", snapshot, time.Since(begin).Seconds(), out)
		api.kubectl(t, "create", "configmap", "later")
	})
	step(t, "an empty cluster, and a truncated and an altered snapshot are refused", func(t *testing.T) {
		out, err := e.ssh("e2e-etcd-0", "etcd-backup check-empty").CombinedOutput()
		assert.Error(t, err)
		assert.Contains(t, string(out), "the newest is "+snapshot+": set etcd.restore to this name")
		download := swift.Download(t.Context(), store, container, snapshot, nil)
		content, err := download.ExtractContent()
		require.NoError(t, err)
		altered := bytes.Clone(content)
		altered[len(altered)/2] ^= 1
		for name, damaged := range map[string][]byte{"truncated": content[:len(content)/2], "altered": altered} {
			object := name + ".db"
			err := swift.Create(t.Context(), store, container, object,
				swift.CreateOpts{Content: bytes.NewReader(damaged)}).Err
			require.NoError(t, err)
			out, err := e.ssh("e2e-etcd-0", "etcd-backup fetch "+object+" /run/"+object).CombinedOutput()
			t.Log(string(out))
			assert.Error(t, err)
			assert.Contains(t, string(out), object+" in container "+container)
			assert.Contains(t, string(out), name)
			e.on(t, "e2e-etcd-0", "test ! -e /run/"+object)
		}
	})
	step(t, "etcd is restored after the loss of all volumes", func(t *testing.T) {
		members := machines[:3]
		begin := time.Now()
		openstack.loseVolumes(t, members...)
		lost := time.Since(begin)
		e.configure(t, func(text string) string {
			text = patched(t, "replaced.yaml")(patched(t, "abac.yaml")(patched(t, "e2e.yaml")(text)))
			return merged(t, "etcd: {restore: "+snapshot+"}")(text)
		})
		begin = time.Now()
		e.must("up", "--yes", "--skip-preview", "--refresh", "--exclude", "**$kubernetes:**")
		up := time.Since(begin)
		waiting, err := api.notReady(4)
		require.NoError(t, err)
		require.Empty(t, waiting)
		restored := e.keys(t)
		assert.Empty(t, slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
			_, found := slices.BinarySearch(restored, key)
			return found
		}), "missing after the restore")
		assert.Empty(t, writer.lost(t))
		api.kubectl(t, "get", "configmap", "earlier")
		_, err = api.try("get", "configmap", "later")
		assert.ErrorContains(t, err, "NotFound")

		t.Log("all controllers watch the restored objects, and the new pods answer")
		router := openNamespace(t, "router")
		service := "http://" + api.field(t, ".spec.clusterIP", "service", "hello")
		eventually(t, time.Minute, func() error { _, err := router.get(service, answerTime); return err })
		answered := time.Since(begin)
		api.kubectl(t, "delete", "pod", "--selector=app=hello")
		api.await(t, "rollout", "status", "deployment/hello")
		eventually(t, time.Minute, func() error { _, err := router.get(service, answerTime); return err })
		keeper.waitForMove(t, "")
		t.Logf("the volumes were lost after %.0f s; the up took %.0f s, and pods answered the router %.0f s after its "+
			"start; %d keys of the snapshot, none missing", lost.Seconds(), up.Seconds(), answered.Seconds(), len(keys))
		e.must("preview", "--expect-no-changes")
	})
}
