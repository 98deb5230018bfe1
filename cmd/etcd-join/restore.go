package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kubernetes-openstack/internal/etcdctl"
	"kubernetes-openstack/internal/etcdsnapshot"
)

// beforeRestorePrefix is the prefix of the names of folders with data from before a restore, beside the data directory.
// The rest is the time at which the data was set aside.
const beforeRestorePrefix = "before-restore-"

// setAsideFormat is the format of this time. Names in this format sort by time.
const setAsideFormat = "20060102T150405Z"

// beside returns the path of a file of the volume.
func (m *member) beside(name string) string { return filepath.Join(filepath.Dir(m.data), name) }

// restored returns the name of the snapshot that the data was restored from, or "". If there is no data, it is that of
// the data that the volume gets next.
func (m *member) restored() (string, error) { return read(m.beside("restored")) }

func (m *member) setRestored(name string) error {
	if name == "" {
		return remove(m.beside("restored"))
	}
	return write(m.beside("restored"), name)
}

// hadData returns true if this member had the data that is expected now: that of the restore, or any data if there is
// no restore. Then data that was set aside counts, too, because a new machine has no marker. So no empty cluster is
// created if RESTORE is removed before the restore is complete.
func (m *member) hadData() (bool, error) {
	if m.restore != "" {
		name, err := read(m.marker)
		return name == m.restore, err
	}
	kept, err := m.beforeRestores()
	if err != nil || len(kept) > 0 {
		return true, err
	}
	return exists(m.marker)
}

// setAsideForRestore sets data from before the restore aside, after the snapshot was checked, downloaded and verified.
func (m *member) setAsideForRestore(ctx context.Context) error {
	if err := os.RemoveAll(m.beside("restoring")); err != nil {
		return err
	}
	restored, err := m.restored()
	if err != nil || m.restore == "" || restored == m.restore {
		return err
	}
	data := filepath.Join(m.data, "member")
	if found, err := exists(data); err != nil || !found {
		return err
	}
	for {
		if err = m.mayReplaceData(ctx); err == nil {
			_, err = m.fetch(ctx)
		}
		if err == nil {
			break
		}
		m.report("%s keeps its data, and waits for the restore of %s: %v", m.name, m.restore, err)
		if err := sleep(ctx, restorePause); err != nil {
			return err
		}
	}
	kept := m.beside(beforeRestorePrefix + time.Now().UTC().Format(setAsideFormat))
	m.log.Printf("the data of %s is from before the restore of %s: renamed to %s", m.name, m.restore, kept)
	return rename(data, kept)
}

// mayReplaceData returns an error if the snapshot was restored before, because the data can have the changes since
// then. If another member serves the restored cluster, this member has missed the restore, and joins.
func (m *member) mayReplaceData(ctx context.Context) error {
	refused := m.checkRestore(ctx)
	if refused == nil {
		return nil
	}
	client, err := m.client()
	if err != nil {
		return err
	}
	for _, p := range m.withData(m.ask(ctx, client)) {
		if name, err := m.restoredCluster(ctx, []peer{p}, "--consistency=s"); err == nil && name == m.restore {
			return nil
		}
	}
	return refused
}

// beforeRestores returns the folders with data that was set aside, sorted by time.
func (m *member) beforeRestores() ([]string, error) {
	return filepath.Glob(m.beside(beforeRestorePrefix + "*"))
}

// keepReplaced is the time for which data stays after the next data was set aside.
const keepReplaced = 7 * 24 * time.Hour

// deleteOlder deletes data that was set aside, except for the last one, keepReplaced after the next one was set aside.
// So if a restore was wrong, the next one does not delete the data from before both. A time in the future is that of a
// wrong clock, and deletes nothing.
func (m *member) deleteOlder(now time.Time) error {
	folders, err := m.beforeRestores()
	if err != nil {
		return err
	}
	previous := ""
	for _, folder := range folders {
		at, invalid := time.Parse(setAsideFormat, strings.TrimPrefix(filepath.Base(folder), beforeRestorePrefix))
		if invalid != nil {
			continue // an operator has named it
		}
		if previous != "" && now.Sub(at) > keepReplaced {
			err = errors.Join(err, os.RemoveAll(previous))
		}
		previous = folder
	}
	return err
}

// beforeRestore returns the reason why the cluster of the other members is not the one of the restore yet, or "".
func (m *member) beforeRestore(ctx context.Context, got answers) string {
	if m.restore == "" || len(got.data) == 0 {
		return ""
	}
	var reasons []string
	for _, p := range m.withData(got) {
		// Each member answers for itself, because there may be no quorum. Only the cluster of the restore has this value.
		switch name, err := m.restoredCluster(ctx, []peer{p}, "--consistency=s"); {
		case err != nil:
			reasons = append(reasons, fmt.Sprintf("%s has data, perhaps from before the restore: %v", p.name, err))
		case name == m.restore:
			return ""
		default:
			reasons = append(reasons, p.name+" still serves the data before the restore: pulumi up replaces it")
		}
	}
	return strings.Join(reasons, "; ")
}

// restoredCluster returns the name of the snapshot that the cluster was restored from, or "".
func (m *member) restoredCluster(ctx context.Context, at []peer, flags ...string) (string, error) {
	out, err := m.etcdctl(ctx, at, append([]string{"get", etcdsnapshot.RestoredKey, "--print-value-only"}, flags...)...)
	return strings.TrimSpace(string(out)), err
}

// publishRestore writes the key of the cluster, if this member created the cluster.
func (m *member) publishRestore(ctx context.Context, at []peer, restored string) error {
	if m.name != m.founder || restored == "" {
		return nil
	}
	if name, err := m.restoredCluster(ctx, at); err != nil || name == restored {
		return err
	}
	_, err := m.etcdctl(ctx, at, "put", etcdsnapshot.RestoredKey, restored)
	return err
}

// fetch downloads and verifies the snapshot, unless this run did it before. It returns the path of the file.
func (m *member) fetch(ctx context.Context) (string, error) {
	snapshot := filepath.Join(m.beside("restoring"), "snapshot.db")
	if found, err := exists(snapshot); err != nil || found {
		return snapshot, err
	}
	if err := os.MkdirAll(filepath.Dir(snapshot), 0o700); err != nil {
		return "", err
	}
	return snapshot, m.backup(ctx, "fetch", m.restore, snapshot)
}

// checkRestore returns an error if the newest snapshot has the changes since an earlier restore of the same snapshot.
func (m *member) checkRestore(ctx context.Context) error {
	return m.backup(ctx, "check-restore", m.restore)
}

// backup runs etcd-backup after it was verified since the boot. etcd.service does not wait for this, because a member
// with data must start without etcd-backup.
func (m *member) backup(ctx context.Context, args ...string) error {
	if _, err := etcdctl.Run(exec.CommandContext(ctx, "wait-for-artifact", "etcd-backup")); err != nil {
		return err
	}
	_, err := etcdctl.Run(exec.CommandContext(ctx, "etcd-backup", args...))
	return err
}

// restoreSnapshot creates the data of a cluster with this member from the snapshot.
func (m *member) restoreSnapshot(ctx context.Context) error {
	if err := m.checkRestore(ctx); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(m.beside("restoring")) }() // before another attempt
	snapshot, err := m.fetch(ctx)
	if err != nil {
		return err
	}
	data := filepath.Join(m.beside("restoring"), "data")
	if _, err := etcdctl.Run(exec.CommandContext(ctx, "etcdutl", "snapshot", "restore", snapshot,
		"--data-dir="+data,
		"--name="+m.name,
		"--initial-advertise-peer-urls="+m.url,
		"--initial-cluster="+m.name+"="+m.url,
		"--initial-cluster-token="+rand.Text(),
		// Revisions must also be higher than after an earlier restore from a newer snapshot. A microsecond has less than one
		// write, so the time grows faster than revisions.
		fmt.Sprintf("--bump-revision=%d", time.Now().UnixMicro()),
		"--mark-compacted",
	)); err != nil {
		return err
	}
	if err := m.own(data); err != nil {
		return err
	}
	if err := m.setRestored(m.restore); err != nil {
		return err
	}
	return rename(filepath.Join(data, "member"), filepath.Join(m.data, "member"))
}

// own gives the files of a folder to the owner of the data directory, and syncs the volume.
func (m *member) own(folder string) error {
	info, err := os.Stat(m.data)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	err = filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, int(owner.Uid), int(owner.Gid)))
	})
	if err != nil {
		return err
	}
	volume, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(volume.Fd())), volume.Close())
}
