//go:build e2e

package tests

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
)

// TestE2ETeardown checks that a destroy keeps or deletes volumes of the cluster's claims in the real Cinder,
// and leaves all other resources alone.
func TestE2ETeardown(t *testing.T) {
	t.Parallel()
	skipUnchanged(t)
	file := ownProject(t, "teardown")
	clouds, err := os.ReadFile(file)
	require.NoError(t, err)
	openstack := connect(t, file)
	before := openstack.inventory(t)
	plan := smallPlan(t, cluster.CoreDNS)
	plan.Name = "teardown"
	s := leftoversStack(t, &plan, new([]string), "devcloud", string(clouds))
	cinder := openstack.clients["volume"]

	var volume, foreign string
	var snapshot *snapshots.Snapshot
	var all []string
	step(t, "two clusters have volumes, and one has a snapshot", func(*testing.T) { // they exist until the test ends
		volume = openstack.claim(t, plan.Name, "data")
		foreign = openstack.claim(t, plan.Name+"-2", "data")
		snapshot, err = snapshots.Create(t.Context(), cinder, snapshots.CreateOpts{
			VolumeID: volume, Name: "snapshot-data", Metadata: map[string]string{"cinder.csi.openstack.org/cluster": plan.Name},
		}).Extract()
		require.NoError(t, err)
		t.Cleanup(func() { _ = snapshots.Delete(context.Background(), cinder, snapshot.ID) })
		soon, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, snapshots.WaitForStatus(soon, cinder, snapshot.ID, "available"))
		all = openstack.inventory(t)
		require.Len(t, all, len(before)+3)
	})

	for _, row := range []struct {
		onDestroy, output string
		remaining         []string
	}{
		{cluster.Keep, "keeping these volumes", all},
		{cluster.Delete, "deleting these volumes", slices.DeleteFunc(slices.Clone(all), func(thing string) bool {
			return strings.HasSuffix(thing, volume) || strings.HasSuffix(thing, snapshot.ID)
		})},
	} {
		step(t, "onDestroy is "+row.onDestroy, func(t *testing.T) {
			plan.Storage.OnDestroy = row.onDestroy
			up, err := s.Up(t.Context())
			require.NoError(t, err, up.StdOut)
			destroy, err := s.Destroy(t.Context())
			require.NoError(t, err, destroy.StdOut)
			assert.Equal(t, row.remaining, openstack.inventory(t), row.onDestroy)
			assert.Contains(t, destroy.StdOut, row.output)
			assert.Contains(t, destroy.StdOut, "volume pvc-data ("+volume+"): 1 GiB, claim shop/data\n")
			assert.Contains(t, destroy.StdOut, "snapshot snapshot-data ("+snapshot.ID+"): 1 GiB of volume "+volume+"\n")
			assert.NotContains(t, destroy.StdOut, foreign)
		})
	}
}

// claim creates a volume as cinder-csi-plugin does for a claim in a cluster, and returns its ID. It deletes
// the volume after the test.
func (c cloud) claim(t *testing.T, cluster, name string) string {
	t.Helper()
	volume, err := volumes.Create(t.Context(),
		c.clients["volume"], volumes.CreateOpts{Size: 1, Name: "pvc-" + name, Metadata: map[string]string{
			"cinder.csi.openstack.org/cluster": cluster, "csi.storage.k8s.io/pvc/name": name,
			"csi.storage.k8s.io/pvc/namespace": "shop",
		}}, nil).Extract()
	require.NoError(t, err)
	t.Cleanup(func() {
		eventually(t, time.Minute, func() error { // Cinder may still be deleting a snapshot of it
			err := volumes.Delete(context.Background(), c.clients["volume"], volume.ID, nil).ExtractErr()
			if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
				return nil
			}
			return cmp.Or(err, errors.New("the volume still exists"))
		})
	})
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, volumes.WaitForStatus(soon, c.clients["volume"], volume.ID, "available"))
	return volume.ID
}
