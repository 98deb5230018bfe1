package status

import (
	"context"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"

	"kubernetes-openstack/internal/pages"
)

// backupTime is the format of the time in the name of a snapshot, as etcd-backup writes it.
const backupTime = "20060102T150405Z"

// NewestBackup returns the time of the newest snapshot of a cluster in its Swift container, or zero without snapshots.
// A snapshot after latest has the time of a wrong clock, and does not count.
func NewestBackup(ctx context.Context, swift *gophercloud.ServiceClient, container, cluster string, latest time.Time,
) (newest time.Time, err error) {
	// the segments of snapshots are in a folder
	pager := objects.List(swift, container, objects.ListOpts{Prefix: cluster + "-", Delimiter: "/"})
	times, err := pages.Collect(ctx, pager, objects.ExtractInfo, func(o objects.Object) (time.Time, bool) {
		name, isDB := strings.CutSuffix(strings.TrimPrefix(o.Name, cluster+"-"), ".db")
		at, err := time.Parse(backupTime, name)
		return at, isDB && err == nil && !at.After(latest)
	})
	for _, at := range times {
		if at.After(newest) {
			newest = at
		}
	}
	return newest, err
}
