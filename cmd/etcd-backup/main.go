// Command etcd-backup saves snapshots of etcd in object storage, and fetches them for a restore:
//
//	etcd-backup save                  saves a snapshot, unless the newest one is younger than the interval
//	etcd-backup save-now              saves a snapshot
//	etcd-backup fetch NAME FILE       downloads a snapshot into a file
//	etcd-backup check-empty           succeeds if the container has no snapshot of this cluster
//	etcd-backup check-restore NAME    succeeds if the newest snapshot does not have the changes since a restore of NAME
//
// It runs as root on a member of etcd, and reads its settings from /etc/etcd/backup.env. They are not in the
// environment of a unit: etcd-join runs in the unit of etcd, and etcd must not have the credential, because it allows
// to delete all snapshots.
//
// # Save
//
// A timer runs `save` on every member, several times per interval. A lock in etcd lets one member work at a time. If
// its machine fails, the lock expires after 10 s, and another member continues. So one healthy member is sufficient.
//
// A snapshot is named CLUSTER-20061201T150405Z.db. It is a static large object of Swift: segments of up to 1 GiB, and a
// manifest with the name of the snapshot. Swift accepts the manifest only if all segments exist with their checksums.
// So an interrupted upload leaves no snapshot, only segments. The next run deletes segments without a manifest. It
// also deletes the oldest snapshots, if there are more than BACKUP_KEEP, but never the one that RESTORE names.
//
// Before the upload, the snapshot is verified: its SHA-256, which etcd computed, and its content, by etcdutl. Its
// metadata has the name of the snapshot that the cluster was restored from.
//
// The first snapshot of a new cluster is nearly empty. So while it is the only one, the next one is due after a sixth
// of the interval, which is the period of the timer. This does not apply if BACKUP_KEEP is 1. A snapshot may be up to
// 10 s early, so that a run of the timer does not just miss it.
//
// After each run, the file /var/lib/etcd-backup has the name of the newest snapshot in the container, and the time at
// which it is too old. check-etcd reads it. So each member reports the age of the newest snapshot, although one member
// uploads it.
//
// # Fetch
//
// The file gets its name after the same verification, so it is never incomplete. etcd-join runs `fetch` for a restore.
//
// # Checks
//
// Members without data cannot distinguish a new cluster from one that has lost all volumes and all machines. The
// container can: etcd-join runs `check-empty` before it creates an empty cluster, and `check-restore` before a restore.
// So a value of RESTORE that stayed in the configuration does not restore the same old snapshot twice. Both checks
// accept only a list of Swift itself, and not for example the page of a proxy.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kubernetes-openstack/internal/etcdctl"
)

// commands maps the commands to their numbers of arguments, and to the timeouts that end one whose connection hangs.
// During a fetch, the cluster waits: a slow download must not start again.
var commands = map[string]struct {
	arguments int
	timeout   time.Duration
}{
	"save":          {0, time.Hour},
	"save-now":      {0, time.Hour},
	"fetch":         {2, 6 * time.Hour},
	"check-empty":   {0, time.Minute},
	"check-restore": {1, time.Minute},
}

func main() {
	log := log.New(os.Stderr, "", 0) // the journal adds the time
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	settings, err := readSettings("/etc/etcd/backup.env")
	if err == nil {
		err = run(ctx, os.Args[1:], func(name string) string { return settings[name] }, log)
	}
	if err != nil {
		log.Fatalf("etcd-backup: %v", err)
	}
}

// readSettings reads a file with lines NAME=VALUE.
func readSettings(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	settings := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		settings[name] = value
	}
	return settings, err
}

func run(ctx context.Context, args []string, getenv func(string) string, log *log.Logger) error {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	command, found := commands[name]
	if !found || command.arguments != len(args) {
		return errors.New("use: etcd-backup save | save-now | fetch NAME FILE | check-empty | check-restore NAME")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, command.timeout, fmt.Errorf("not complete after %v", command.timeout))
	defer cancel()
	err := execute(ctx, name, args, getenv, log)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

func execute(ctx context.Context, command string, args []string, getenv func(string) string, log *log.Logger) error {
	b, err := newBackup(getenv, log)
	if err != nil {
		return err
	}
	if b.container, err = connect(ctx, getenv); err == nil {
		switch command {
		case "fetch":
			return b.fetch(ctx, args[0], args[1])
		case "check-empty":
			return b.checkEmpty(ctx)
		case "check-restore":
			return b.checkRestore(ctx, args[0])
		case "save-now":
			err = b.exclusively(ctx, b.saveNow)
		case "save":
			err = b.save(ctx)
		}
	}
	if strings.HasPrefix(command, "save") {
		if unwritten := b.report(err != nil); err == nil {
			err = unwritten
		}
	}
	return err
}

// backup contains the settings of the backup.
type backup struct {
	cluster  string        // prefix of the names of the snapshots
	interval time.Duration // minimum age of the newest snapshot before the next one
	keep     int           // number of snapshots
	restore  string        // name of the snapshot of a restore, or ""
	status   string        // file for check-etcd

	listed bool   // the container was listed
	newest string // name of its newest snapshot, or ""

	container *container
	etcd      etcdctl.Client // uses only the member of this machine
	log       *log.Logger
}

func newBackup(getenv func(string) string, log *log.Logger) (*backup, error) {
	b := &backup{
		cluster: getenv("BACKUP_PREFIX"), restore: getenv("RESTORE"), log: log,
		status: cmp.Or(getenv("BACKUP_STATUS"), "/var/lib/etcd-backup"), // only tests set it
		etcd:   etcdctl.Client{PKI: "/etc/etcd/pki", Endpoints: []string{"https://127.0.0.1:2379"}},
	}
	if b.cluster == "" {
		return nil, errors.New("BACKUP_PREFIX: must be the name of the cluster")
	}
	var err error
	if b.interval, err = time.ParseDuration(getenv("BACKUP_INTERVAL")); err != nil || b.interval <= 0 {
		return nil, fmt.Errorf("BACKUP_INTERVAL: must be a positive duration such as 1h, not %q", getenv("BACKUP_INTERVAL"))
	}
	if b.keep, err = strconv.Atoi(getenv("BACKUP_KEEP")); err != nil || b.keep <= 0 {
		return nil, fmt.Errorf("BACKUP_KEEP: must be a positive number such as 24, not %q", getenv("BACKUP_KEEP"))
	}
	return b, nil
}
