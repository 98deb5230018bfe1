// Command etcd-join decides how the etcd member of this machine starts. etcd.service runs it before and after etcd, and
// etcd-auth.service when etcd runs:
//
//	etcd-join prepare    before etcd: writes the member's initial cluster, or waits until it is known
//	etcd-join promote    after etcd is ready: makes a member that joined a voting member
//	etcd-join users      when etcd runs: creates etcd's users with their permissions, and enables authentication
//
// # The rules
//
//  1. A member with data starts as it is, except for a restore. etcd ignores the initial cluster then. If the others
//     have a quorum and do not list this member, it waits and reports the wrong volume.
//  2. A member without data never votes under an earlier identity. It gets a new member ID, in one of two ways:
//     it creates a new cluster, or it joins the existing one.
//  3. Only the first member of the configured list creates a cluster, and only if no member has data. The cluster
//     has this one member at first, and a random token. So its IDs differ from those of every earlier cluster with
//     the same name and addresses, and a forgotten volume of such a cluster cannot take part.
//  4. Every other member joins: it removes its earlier entry, if there is one, and adds itself as a learner. All this
//     needs a quorum of the members with data. It becomes a voting member when it has the leader's data.
//
// With `initial-cluster-state: new` on every member, as etcd's documentation shows, the identity of a member depends
// only on its name and address. Then a member with an empty volume votes as if it had its data. Together with a member
// that was down for a while it is a quorum that has forgotten writes.
//
// # Members that do not exist
//
// MEMBERS lists all members that the cluster can ever have, because user-data must not change with their number. The
// first member waits only for those that the plan had when its instance was created: Nova puts their number into the
// metadata of the instance, and cloud-init writes it to a file. An older number does no harm, because only a member
// without data reads it. Such a member has a new instance with the current number, or a marker (see below), so that it
// creates no cluster.
//
// # No member has data
//
// A member without data serves its state on etcd's peer port, with the peer certificate: a token that is random for
// each run of the program, its RESTORE, and whether the machine has been a member before (the marker on its root disk).
// etcd itself answers this request with 404, so an answer of 404 means that a member has data.
//
// Data could move while the first member asks: member 1 reports no data and joins member 2. Then member 2 loses its
// volume and reports no data. So the first member asks twice. A run of the program ends before its member
// has data. If all members repeat their tokens, then each of them was without data for the whole time between the
// answers, so there was a moment when no member had data. After this moment only the first member can create data.
//
// A machine with the marker and without data has lost its data. If no member has data and there is a marker, no
// cluster is created, because a backup must be restored.
//
// New machines with new volumes have no marker. They cannot distinguish a new cluster from one that has lost
// everything. So with BACKUP_CONTAINER, the first member creates an empty cluster only if etcd-backup finds no snapshot
// of the cluster in the container. It waits while the container has one, or does not answer. The other members need not
// answer again after this check, because only the first member creates data.
//
// # Restore
//
// RESTORE names a snapshot in object storage. The file `restored`, beside the data directory, names the snapshot from
// which the data of the volume was restored. The key /kubernetes-openstack/restored names that of the cluster.
//
//  1. If RESTORE and the file differ, the data is from before the restore. The member sets it aside, and is a member
//     without data. First it runs `check-restore`, then it downloads and verifies the snapshot. If this fails, it keeps
//     its data and tries again. So an operator can correct the name, and the members start with their data. A refusal
//     of `check-restore` does not count if another member serves the restored cluster: then this member was late.
//  2. If no member has data, as described above, and all have the same RESTORE, the first member restores the snapshot.
//     So a member that still serves data prevents it. The restored cluster has this one member and a random token. Its
//     revisions are higher than before, so no watcher misses a change.
//  3. A member without data joins only a cluster with RESTORE in its key. The first member writes the key after its
//     start.
//  4. If RESTORE and the file are equal, nothing happens. The marker contains the name of the restore. If the data is
//     lost after a restore, the same snapshot is not restored again, because it is older than the data. A marker of
//     other data does not prevent a restore. New machines have no marker, so etcd-backup also prevents a restore if the
//     newest snapshot in the container is of the cluster that was restored from RESTORE.
//  5. The volume keeps the data that was set aside last. A member with a vote deletes older data 7 days after the next
//     data was set aside. So a second restore, because the first one was wrong, does not delete the only right data.
//  6. If RESTORE is removed before the restore is complete, no member has data. Data that was set aside counts as a
//     marker then.
//
// The member writes the file before complete data gets its final name, or before it joins. So data never lacks its
// file. A run that is killed between both finds no data, and restores or joins again.
//
// # Interruptions
//
// Apart from that file, the program keeps no state. A run that is killed between the removal and the addition finds no
// entry, and adds one. A run that is killed after the addition finds its own learner, and removes and adds it again: a
// learner has no vote, so this changes no quorum. etcd that is killed before it has written its first log entry has no
// data (see hasData).
//
// A member with data may still be a learner, because the promotion was interrupted. So promote runs at every start.
//
// Until the first cluster has its third member, one lost volume can cost the quorum. This is within seconds after the
// start of the last machine, before `pulumi up` is complete.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	log := log.New(os.Stderr, "", 0) // the journal adds the time
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, log); err != nil {
		log.Fatalf("etcd-join: %v", err)
	}
}

// pkiFolder is the folder of the certificates.
const pkiFolder = "/etc/etcd/pki"

func run(ctx context.Context, args []string, getenv func(string) string, log *log.Logger) error {
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	if command == "users" {
		client, err := connect(pkiFolder, "https://127.0.0.1:2379")
		if err != nil {
			return err
		}
		defer func() { _ = client.Close() }()
		return ensureUsers(ctx, client, log)
	}
	m, err := newMember(args, getenv)
	if err != nil {
		return err
	}
	m.log = log
	switch command {
	case "prepare":
		return m.prepare(ctx)
	case "promote":
		return m.promote(ctx)
	}
	return fmt.Errorf("the first argument must be prepare, promote or users, not %q", command)
}

// newMember reads the flags and the environment: ETCD_NAME, MEMBERS (all possible members), BACKUP_CONTAINER, RESTORE,
// and MAINPID.
func newMember(args []string, getenv func(string) string) (*member, error) {
	m := &member{name: getenv("ETCD_NAME"), restore: getenv("RESTORE"), backups: getenv("BACKUP_CONTAINER") != ""}
	flags := flag.NewFlagSet("etcd-join", flag.ContinueOnError)
	flags.StringVar(&m.data, "data-dir", "/var/lib/etcd/data", "data directory of etcd")
	flags.StringVar(&m.instance, "instance-data", "/run/cloud-init/instance-data.json", "metadata of the instance")
	flags.StringVar(&m.environment, "environment", "/run/etcd-join.env", "file with the decision, for etcd")
	flags.StringVar(&m.marker, "marker", "/var/lib/etcd-member", "file that exists after this machine was a member")
	flags.StringVar(&m.pki, "pki", pkiFolder, "folder of the certificates")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	all, err := parseCluster(getenv("MEMBERS"))
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		m.names = append(m.names, p.name)
		if p.name == m.name {
			m.url = p.url
		} else {
			m.others = append(m.others, p)
		}
	}
	if m.url == "" {
		return nil, fmt.Errorf("MEMBERS must list ETCD_NAME %q", m.name)
	}
	m.founder = all[0].name
	if pid := getenv("MAINPID"); pid != "" { // systemd sets it after etcd has started
		if m.etcd, err = strconv.Atoi(pid); err != nil {
			return nil, fmt.Errorf("MAINPID: %w", err)
		}
	}
	return m, nil
}
