package main

import (
	"context"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"golang.org/x/sync/errgroup"
)

// parallel is the number of parallel deletes.
const parallel = 16

// deleteInstances deletes instances in parallel, without a shutdown, and waits until they no longer exist. It
// reports no failure, because the OpenStack provider runs next, deletes the rest, and reports errors.
func (c cloud) deleteInstances(ctx context.Context, ids []string, interval time.Duration) {
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, id := range ids {
		group.Go(func() error {
			_ = servers.Delete(ctx, c.Compute, id).ExtractErr()
			return nil
		})
	}
	_ = group.Wait()
	for {
		remaining, err := c.instances(ctx)
		if err == nil && !slices.ContainsFunc(ids, func(id string) bool { return remaining[id].ID != "" }) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
	}
}
