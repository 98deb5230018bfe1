package main

import (
	"context"
	"fmt"
	"time"
)

// checkEmpty returns an error if the container has a snapshot of this cluster.
func (b *backup) checkEmpty(ctx context.Context) error {
	names, err := b.container.list(ctx, b.cluster+"-")
	if err != nil {
		return err
	}
	if all := b.snapshots(names); len(all) > 0 {
		return fmt.Errorf("container %s has snapshots of cluster %s: %d, the newest is %s: set etcd.restore to this name, "+
			"or set another etcd.backup.container for an empty cluster", b.container.name, b.cluster, len(all), all[0])
	}
	return nil
}

// checkRestore returns an error if the newest snapshot is of a cluster that was restored from the snapshot name. Then
// another restore would lose the changes since the first one.
func (b *backup) checkRestore(ctx context.Context, name string) error {
	names, err := b.container.list(ctx, b.cluster+"-")
	if err != nil {
		return err
	}
	newest := b.latest(names, time.Now())
	if newest == "" {
		return nil
	}
	_, metadata, err := b.container.head(ctx, newest)
	if err != nil {
		return err
	}
	if metadata[restoredKey] == name {
		return fmt.Errorf("it was restored before, and %s has the changes since then: set etcd.restore to %s, or restore a "+
			"copy of %s with another name", newest, newest, name)
	}
	return nil
}
