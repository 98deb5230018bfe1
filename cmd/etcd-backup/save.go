package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kubernetes-openstack/internal/etcdctl"
	"kubernetes-openstack/internal/etcdsnapshot"
)

// save saves a snapshot if it is due and no other member does it.
func (b *backup) save(ctx context.Context) error {
	if due, err := b.due(ctx); !due {
		return err
	}
	return b.exclusively(ctx, func(ctx context.Context) error {
		if due, err := b.due(ctx); !due { // another member was first
			return err
		}
		return b.saveNow(ctx)
	})
}

func (b *backup) due(ctx context.Context) (bool, error) {
	names, err := b.container.list(ctx, b.cluster+"-")
	if err != nil {
		return false, err
	}
	now := time.Now()
	b.listed, b.newest = true, b.latest(names, now)
	if at, ok := b.time(b.newest); ok && now.Sub(at)+b.slack() < b.wait(names) {
		b.log.Printf("no snapshot is due: %s is younger than %v", b.newest, b.wait(names))
		return false, nil
	}
	return true, nil
}

// exclusively waits for the lock, and runs work while this member has it. If the lock is lost, it cancels work. Without
// a quorum it returns an error, because etcdctl would wait for the lock forever.
func (b *backup) exclusively(ctx context.Context, work func(ctx context.Context) error) error {
	if _, err := b.etcd.Run(ctx, "endpoint", "health"); err != nil {
		return fmt.Errorf("the member of this machine is not healthy, so another member must save the snapshot: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lock := b.etcd.Command(ctx, "lock", "etcd-backup")
	lock.Cancel = func() error { return lock.Process.Signal(syscall.SIGTERM) } // it releases the lock
	lock.WaitDelay = 10 * time.Second                                          // the lock expires then
	lock.Stderr = os.Stderr
	output, err := lock.StdoutPipe()
	if err != nil {
		return err
	}
	if err := lock.Start(); err != nil {
		return err
	}
	_, err = bufio.NewReader(output).ReadString('\n') // the key of the lock
	ended := make(chan error)
	go func() {
		err := lock.Wait()
		cancel(errors.New("etcdctl has lost the lock"))
		ended <- err
	}()
	if err != nil { // etcdctl has ended
		return fmt.Errorf("etcdctl lock: %w", cmp.Or(<-ended, errors.New("ended without the lock")))
	}
	if err = work(ctx); err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	cancel(nil)
	<-ended
	return err
}

func (b *backup) saveNow(ctx context.Context) error {
	start := time.Now()
	folder, err := os.MkdirTemp("", "etcd-backup-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }() // the unit has a temporary folder of its own
	path := filepath.Join(folder, "snapshot.db")
	if _, err := b.etcd.Run(ctx, "snapshot", "save", path); err != nil {
		return err
	}
	s, err := inspect(ctx, path)
	if err != nil {
		return fmt.Errorf("the snapshot of this member is damaged, so another member must save it: %w", err)
	}
	if err := b.prune(ctx); err != nil { // before the upload, because the container can have a quota
		return err
	}
	metadata := map[string]string{sumKey: s.sum, "Etcd-Version": s.Version,
		"Revision": strconv.FormatInt(s.Revision, 10)}
	restored, err := b.etcd.Run(ctx, "get", etcdsnapshot.RestoredKey, "--print-value-only")
	if err != nil {
		return err
	}
	if name := strings.TrimSpace(string(restored)); name != "" {
		metadata[restoredKey] = name
	}
	name := b.name(start)
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	err = b.container.upload(ctx, name, file, s.size, metadata)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	b.newest = name
	b.log.Printf("saved %s: %v, %.1f s", name, s, time.Since(start).Seconds())
	return b.prune(ctx)
}

// prune deletes outdated snapshots, and segments without a snapshot. The deletion of a snapshot and an interrupted
// upload leave such segments. The list of a container can be old, so prune verifies that the snapshot does not exist.
func (b *backup) prune(ctx context.Context) error {
	names, err := b.container.list(ctx, b.cluster+"-")
	if err != nil {
		return err
	}
	for _, name := range b.outdated(names, time.Now()) {
		if err := b.container.remove(ctx, name); err != nil {
			return err
		}
		b.log.Printf("deleted %s, because there are %d newer ones", name, b.keep)
		names = slices.DeleteFunc(names, func(other string) bool { return other == name })
	}
	segmentNames, err := b.container.list(ctx, segments+b.cluster+"-")
	if err != nil {
		return err
	}
	orphans := b.orphans(names, segmentNames)
	for _, name := range slices.Sorted(maps.Keys(orphans)) {
		switch _, _, err := b.container.head(ctx, name); {
		case err == nil:
			continue
		case !errors.Is(err, errNotFound):
			return err
		}
		for _, segment := range orphans[name] {
			if err := b.container.remove(ctx, segment); err != nil {
				return err
			}
		}
		b.log.Printf("deleted %d segments of %s", len(orphans[name]), name)
	}
	return nil
}

// Keys in the metadata of a snapshot.
const (
	sumKey      = "Sha256"
	restoredKey = "Restored" // the snapshot that the cluster was restored from
)

// snapshot describes a verified snapshot. etcdutl prints the exported fields.
type snapshot struct {
	Revision int64
	TotalKey int    // number of keys
	Version  string // of etcd's storage

	size int64 // bytes
	sum  string
}

// String returns the size and the number of keys.
func (s snapshot) String() string {
	return fmt.Sprintf("%.2f MB, %d keys, revision %d", float64(s.size)/1e6, s.TotalKey, s.Revision)
}

// inspect verifies a snapshot.
func inspect(ctx context.Context, path string) (s snapshot, err error) {
	if s.sum, err = etcdsnapshot.VerifyFile(path); err != nil {
		return s, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return s, err
	}
	s.size = info.Size()
	out, err := etcdctl.Run(exec.CommandContext(ctx, "etcdutl", "snapshot", "status", path, "--write-out=json"))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("etcdutl snapshot status: %w", err)
	}
	return s, nil
}
