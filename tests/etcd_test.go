//go:build e2e

package tests

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// loseVolumes shuts etcd machines down, and deletes their volumes with all data.
func (c cloud) loseVolumes(t *testing.T, machines ...string) {
	t.Helper()
	compute, volume := c.clients["compute"], c.clients["volume"]
	c.stop(t, machines...)
	for _, machine := range machines {
		server := c.server(t, machine)
		pages, err := volumeattach.List(compute, server).AllPages(t.Context())
		require.NoError(t, err)
		attached, err := volumeattach.ExtractVolumeAttachments(pages)
		require.NoError(t, err)
		require.Len(t, attached, 1)
		id := attached[0].VolumeID
		require.NoError(t, volumeattach.Delete(t.Context(), compute, server, id).ExtractErr())
		require.NoError(t, volumes.WaitForStatus(t.Context(), volume, id, "available"))
		require.NoError(t, volumes.Delete(t.Context(), volume, id, nil).ExtractErr())
		eventually(t, time.Minute, func() error {
			found, err := volumes.Get(t.Context(), volume, id).Extract()
			switch {
			case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
				return nil
			case err != nil:
				return err
			}
			return fmt.Errorf("volume %s is %s", id, found.Status)
		})
	}
}

// blankVolume writes zeros to the volume of the etcd machine on which it runs.
const blankVolume = `set -e
systemctl stop etcd-auth etcd etcd-volume
device=$(findmnt --noheadings --output SOURCE /var/lib/etcd)
umount /var/lib/etcd
wipefs --all "$device"
blkdiscard --zeroout "$device"`

// members maps the names of etcd's members to their IDs, and checks that each member has a vote.
func (e *engine) members(t *testing.T) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for line := range strings.Lines(e.on(t, "e2e-etcd-0", "etcdctl member list")) {
		fields := strings.Split(strings.TrimSpace(line), ", ") // ID, status, name, URL of peers, URL of clients, learner
		require.Len(t, fields, 6, line)
		assert.Equal(t, []string{"started", "false"}, []string{fields[1], fields[5]}, line)
		ids[fields[2]] = fields[0]
	}
	return ids
}

// checkJoined checks that one machine is another member than before, and that the other members are the same. It
// prints how long after begin the machine got its vote.
func (e *engine) checkJoined(t *testing.T, before map[string]string, machine string, begin time.Time) {
	t.Helper()
	after := e.members(t)
	assert.NotEqual(t, before[machine], after[machine], "the ID of %s", machine)
	want := maps.Clone(before)
	want[machine] = after[machine]
	assert.Equal(t, want, after)
	log := e.on(t, machine, "journalctl --boot --quiet --output short-unix --identifier etcd-join")
	t.Log("\n" + log)
	var vote float64
	for line := range strings.Lines(log) {
		if strings.Contains(line, machine+" is a voting member") {
			_, err := fmt.Sscan(line, &vote)
			require.NoError(t, err)
		}
	}
	require.NotZero(t, vote, "%s has not joined", machine)
	t.Logf("%s got its vote after %.0f s", machine, vote-float64(begin.UnixMilli())/1000)
}
