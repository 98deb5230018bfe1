package main

import (
	"context"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
)

// parallel is the largest number of instances that are deleted at the same time. With 305 deletes at
// once, a small cloud failed: Nova answered 500, and an instance got the status ERROR.
const parallel = 16

// deleteInstances deletes instances without a shutdown, at most parallel at the same time, and waits until they no
// longer exist. It reports no failure, because the OpenStack provider runs next, deletes the rest, and reports errors.
func (c cloud) deleteInstances(ctx context.Context, ids []string, interval time.Duration) {
	var deleting []string
	for {
		if existing, err := c.instances(ctx); err == nil {
			deleting = slices.DeleteFunc(deleting, func(id string) bool {
				return existing[id].ID == "" || existing[id].Status == "ERROR"
			})
			for len(ids) > 0 && len(deleting) < parallel {
				if err := servers.Delete(ctx, c.Compute, ids[0]).ExtractErr(); err == nil {
					deleting = append(deleting, ids[0])
				}
				ids = ids[1:]
			}
			if len(deleting) == 0 {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
	}
}
