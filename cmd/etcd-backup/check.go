package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// checkEmpty returns an error if the container has a snapshot of this cluster, also one from the future. It lists all
// objects, because the container reports their number.
func (b *backup) checkEmpty(ctx context.Context) error {
	names, count, err := b.container.listAndCount(ctx, "")
	if err != nil {
		return err
	}
	if all := b.snapshots(names); len(all) > 0 {
		newest := cmp.Or(b.latest(names, time.Now()), all[0])
		return fmt.Errorf("container %s has snapshots of cluster %s: %d, the newest is %s: set etcd.restore to this name, "+
			"or set another etcd.backup.container for an empty cluster", b.container.name, b.cluster, len(all), newest)
	}
	if count > len(names) {
		return fmt.Errorf("list container %s: it has %d objects, but its list has %d", b.container.name, count, len(names))
	}
	return nil
}

// checkRestore returns an error if the newest snapshot is of a cluster that was restored from the snapshot name. Then
// another restore would lose the changes since the first one. If there are snapshots from the future, either their
// clocks were wrong or the clock of this machine is. So the newest snapshot with and without them must pass.
func (b *backup) checkRestore(ctx context.Context, name string) error {
	names, err := b.container.list(ctx, b.cluster+"-")
	if err != nil {
		return err
	}
	all := b.snapshots(names)
	latest := slices.Index(all, b.latest(names, time.Now()))
	for _, first := range []int{max(latest, 0), 0} {
		newest, metadata, err := b.firstExisting(ctx, all[first:])
		if err != nil {
			return err
		}
		if metadata[restoredKey] == name {
			return fmt.Errorf("it was restored before, and %s has the changes since then: set etcd.restore to %s, or "+
				"restore a copy of %s with another name", newest, newest, name)
		}
		if first == 0 {
			break
		}
	}
	return nil
}

// firstExisting returns the first snapshot that exists, and its metadata. The list of a container can be old.
func (b *backup) firstExisting(ctx context.Context, names []string) (string, map[string]string, error) {
	for _, name := range names {
		if _, metadata, err := b.container.head(ctx, name); !errors.Is(err, errNotFound) {
			return name, metadata, err
		}
	}
	return "", nil, nil
}
