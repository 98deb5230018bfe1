package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// member is the etcd member of this machine.
type member struct {
	name, url string   // peer URL
	founder   string   // name of the member that creates a new cluster
	names     []string // of all possible members, in the order of the plan
	others    []peer   // all other possible members
	restore   string   // RESTORE
	backups   bool     // a container can have snapshots of this cluster

	data, environment, instance, marker, pki string // paths

	etcd     int // process ID, or 0
	log      *log.Logger
	reported string
}

// peer is a possible member.
type peer struct{ name, url string }

// parseCluster parses name=url,name=url.
func parseCluster(list string) ([]peer, error) {
	var all []peer
	for entry := range strings.SplitSeq(list, ",") {
		name, address, _ := strings.Cut(entry, "=")
		u, err := url.Parse(address)
		if name == "" || err != nil || u.Scheme != "https" || u.Port() == "" {
			return nil, fmt.Errorf("MEMBERS must be a list of NAME=https://ADDRESS:PORT, not %q", list)
		}
		all = append(all, peer{name, address})
	}
	return all, nil
}

// Times between two attempts. etcd-backup logs in to OpenStack.
const (
	pause        = 500 * time.Millisecond
	restorePause = 10 * time.Second
)

// prepare writes the settings with which etcd starts a member without data. It waits until they are known. It does not
// read the settings of an earlier start.
func (m *member) prepare(ctx context.Context) error {
	if err := remove(m.environment); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(m.beside("restoring")) }() // the next run removes it, too
	if err := m.setAsideForRestore(ctx); err != nil {
		return err
	}
	found, err := hasData(m.data)
	if err != nil {
		return fmt.Errorf("cannot determine whether this member has data: %w", err)
	}
	if found {
		return m.verify(ctx)
	}
	if err := setAside(m.data); err != nil {
		return err
	}
	lost, err := m.hadData()
	if err != nil {
		return err
	}
	settings, err := m.decide(ctx, lost)
	if err != nil {
		return err
	}
	return write(m.environment, settings)
}

// verify waits while the data belongs to a member that is not in the cluster's list. The volume is then an earlier one
// of this machine, or one of another cluster, and etcd would end after each start. A member that lags does not list a
// new member yet, so only the list of a quorum counts.
func (m *member) verify(ctx context.Context) error {
	id, err := memberID(m.data)
	if err != nil || id == 0 {
		return err
	}
	client, err := m.client()
	if err != nil {
		return err
	}
	for {
		got, missing := m.ask(ctx, client), false
		for _, list := range got.data {
			if has(list, id) {
				return nil
			}
			missing = missing || len(list) > 0
		}
		if !missing {
			return nil
		}
		if list, err := m.list(ctx, m.withData(got)); err != nil || has(list, id) {
			return ctx.Err()
		}
		m.report("the volume of %s has the data of member %x, which is not a member of the cluster: attach the right "+
			"volume, or replace this one by an empty volume", m.name, id)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// decide returns the settings of etcd in environment variables.
func (m *member) decide(ctx context.Context, lost bool) (string, error) {
	planned, err := m.planned()
	if err != nil {
		return "", err
	}
	own := state{Token: rand.Text(), Lost: lost, Restore: m.restore}
	stop, err := m.serve(own)
	if err != nil {
		return "", err
	}
	defer stop() // before etcd listens on the same port
	client, err := m.client()
	if err != nil {
		return "", err
	}
	var previous answers
	for {
		got, wait := m.ask(ctx, client), pause
		silent := got.silentOf(func(p peer) bool { return slices.Contains(planned, p.name) })
		if lost {
			got.lost = append(got.lost, m.name)
			slices.Sort(got.lost)
		}
		before := m.beforeRestore(ctx, got)
		switch {
		case before != "":
			m.report("%s waits for the restore of %s: %s", m.name, m.restore, before)
		case len(got.data) > 0:
			cluster, err := m.join(ctx, m.withData(got))
			if err == nil {
				m.log.Printf("%s has no data and joins the cluster: %s", m.name, cluster)
				return "ETCD_INITIAL_CLUSTER=" + cluster + "\nETCD_INITIAL_CLUSTER_STATE=existing\n", nil
			}
			m.report("%s has no data and cannot join the cluster: %v%s", m.name, err,
				got.missing(peer{m.name, m.url}, m.others))
		case len(silent) > 0:
			m.report("%s has no data and waits for all members, because one of them may have data: no answer from %s",
				m.name, strings.Join(silent, ", "))
		case len(got.differ) > 0:
			m.report("%s has no data, and its etcd.restore is %q, but %s: pulumi up replaces a member whose value is old",
				m.name, m.restore, strings.Join(got.differ, ", "))
		case len(got.lost) > 0 && m.restore != "":
			m.report("data lost: no member has data, but %s had the data of the restore of %s: set etcd.restore to "+
				"another backup", strings.Join(got.lost, ", "), m.restore)
		case len(got.lost) > 0:
			m.report("data lost: no member has data, but %s had data before: restore a backup",
				strings.Join(got.lost, ", "))
		case m.name != m.founder && m.restore != "":
			m.report("no member has data: waiting until %s restores %s", m.founder, m.restore)
		case m.name != m.founder:
			m.report("no member has data: waiting until %s creates the cluster", m.founder)
		case !maps.Equal(got.blank, previous.blank):
		case m.restore != "":
			m.report("no member has data: %s restores %s", m.name, m.restore)
			err := m.restoreSnapshot(ctx)
			if err == nil {
				return "", nil
			}
			m.report("%s cannot restore %s: %v", m.name, m.restore, err)
			wait = restorePause
		default:
			if m.backups {
				if err := m.backup(ctx, "check-empty"); err != nil {
					m.report("%s does not create an empty cluster: %v", m.name, err)
					wait = restorePause
					break
				}
			}
			m.log.Printf("no member has data: %s creates the cluster", m.name)
			return fmt.Sprintf("ETCD_INITIAL_CLUSTER=%s=%s\nETCD_INITIAL_CLUSTER_STATE=new\n"+
				"ETCD_INITIAL_CLUSTER_TOKEN=%s\n", m.name, m.url, rand.Text()), m.setRestored("")
		}
		previous = got
		if err := sleep(ctx, wait); err != nil {
			return "", err
		}
	}
}

// promote makes this member a voting member, and marks the machine as one that has data. It repeats this until it
// succeeds, because a failure would stop etcd. It ends with etcd, because systemd would wait for it before a restart. A
// member with a vote also deletes data from before earlier restores.
func (m *member) promote(ctx context.Context) error {
	for {
		err := m.promoteOnce(ctx)
		if err == nil {
			break
		}
		if m.etcd != 0 && errors.Is(syscall.Kill(m.etcd, 0), syscall.ESRCH) {
			return errors.New("etcd has ended")
		}
		m.report("%s is not a voting member yet: %v", m.name, err)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
	if err := m.deleteOlder(time.Now()); err != nil { // it costs only space
		m.log.Printf("cannot delete data from before an earlier restore: %v", err)
	}
	return nil
}

// report logs text, once until it changes. The last line of the log is the reason on the console.
func (m *member) report(format string, values ...any) {
	if text := fmt.Sprintf(format, values...); text != m.reported {
		m.reported = text
		m.log.Print(text)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// setAside moves data without a complete log out of etcd's way. A damaged file system can be the cause, so it keeps
// the data with the largest database. An interrupted first start leaves a small one.
func setAside(data string) error {
	member, kept := filepath.Join(data, "member"), data+"-incomplete"
	now, err := databaseSize(member)
	if err != nil {
		return err
	}
	before, err := databaseSize(kept)
	if err != nil {
		return err
	}
	if found, err := exists(kept); err != nil {
		return err
	} else if found {
		if now <= before {
			return os.RemoveAll(member)
		}
		if err := os.RemoveAll(kept); err != nil {
			return err
		}
	}
	if err := os.Rename(member, kept); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// databaseSize returns the size of etcd's database in bytes, or 0 if there is none.
func databaseSize(member string) (int64, error) {
	info, err := os.Stat(filepath.Join(member, "snap", "db"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// read returns the content of a file, or "" if it does not exist.
func read(path string) (string, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(content), err
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// write replaces a file, and syncs it with its folder. After a power failure, the file has its old or its new content.
func write(path, content string) error {
	f, err := os.Create(path + ".next")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return rename(f.Name(), path)
}

// rename renames a file or a folder, and syncs the folder of the new name.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
