package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
)

// leftover is one resource in OpenStack that a cluster's controllers created.
type leftover struct {
	kind, name, id, about string
	// data is true if the deletion loses data.
	data bool
	// of is the ID of a snapshot's volume, which cannot be deleted before the snapshot.
	of string
	// attached are the instances that the volume is attached to.
	attached []string
	status   string
	// idle is true if OpenStack accepts a delete now.
	idle   bool
	delete func(context.Context) error
}

func (l leftover) String() string { return fmt.Sprintf("%s %s (%s)", l.kind, l.name, l.id) }

// teardown deletes or keeps a cluster's leftovers.
type teardown struct {
	cloud   cloud
	cluster string
	// keep is true if volumes and snapshots are kept.
	keep     bool
	interval time.Duration
	// log shows permanent messages. status shows messages that the next one replaces.
	log, status func(message string)
}

// run lists the data that the destroy deletes or keeps, and then deletes the other resources. It returns an
// error and deletes nothing while the cluster has an instance.
func (t *teardown) run(ctx context.Context) error {
	instances, err := t.cloud.instances(ctx)
	if err != nil {
		return fmt.Errorf("list the instances: %w", err)
	}
	var alive []string
	for _, s := range instances {
		if s.Metadata["cluster"] == t.cluster {
			alive = append(alive, fmt.Sprintf("%s (%s)", s.Name, s.ID))
		}
	}
	if slices.Sort(alive); len(alive) > 0 {
		return fmt.Errorf("cluster %s still has instances, so its other resources are not deleted: %s", t.cluster,
			strings.Join(alive, ", "))
	}
	all, err := t.cloud.leftovers(ctx, t.cluster)
	if err != nil {
		return err
	}
	t.announce(all)
	foreign := map[string]string{}
	for id, s := range instances {
		foreign[id] = s.Name
	}
	return t.clear(ctx, t.toDelete(all), foreign)
}

// announce logs the resources that are deleted and kept, before the first deletion.
func (t *teardown) announce(all []leftover) {
	var data, rest string
	for _, l := range all {
		if line := fmt.Sprintf("\n  %s%s", l, l.about); l.data {
			data += line
		} else {
			rest += line
		}
	}
	switch {
	case data != "" && t.keep:
		t.log(fmt.Sprintf("keeping these volumes and snapshots of cluster %s with their data:%s\n"+
			"list them by their property %s='%[1]s'; docs/storage.md describes how another cluster can use them",
			t.cluster, data, clusterProperty))
	case data != "":
		t.log(fmt.Sprintf("deleting these volumes and snapshots of cluster %s with their data:%s", t.cluster, data))
	}
	if rest != "" {
		t.log(fmt.Sprintf("deleting these resources of the Services in cluster %s:%s", t.cluster, rest))
	}
}

// toDelete returns the resources to delete.
func (t *teardown) toDelete(all []leftover) []leftover {
	return slices.DeleteFunc(all, func(l leftover) bool { return t.keep && l.data })
}

// clear deletes each remaining resource as soon as OpenStack accepts it, and waits until no status changes any
// more. A resource that cannot be deleted does not delay others.
func (t *teardown) clear(ctx context.Context, remaining []leftover, foreign map[string]string) error {
	requested, stuck := map[string]bool{}, map[string]string{}
	for {
		waiting := t.requestDeletions(ctx, remaining, foreign, requested, stuck)
		if len(waiting) == 0 {
			t.status("")
			return t.incomplete(remaining, stuck)
		}
		lines := withReasons(remaining, waiting)
		t.status(fmt.Sprintf("waiting for %d resources, first %s", len(lines), lines[0]))
		now, err := t.list(ctx)
		if err != nil {
			maps.Copy(stuck, waiting)
			return fmt.Errorf("%w: %w", err, t.incomplete(remaining, stuck))
		}
		for _, l := range remaining {
			if !slices.ContainsFunc(now, func(n leftover) bool { return n.id == l.id }) {
				t.log("deleted " + l.String())
			}
		}
		remaining = now
	}
}

// requestDeletions requests the deletion of each resource once, as soon as OpenStack accepts it. It returns
// the resources that are worth waiting for, by ID, with the reason of the wait. The others are in stuck, with
// the reason why they cannot be deleted.
func (t *teardown) requestDeletions(ctx context.Context, remaining []leftover, foreign map[string]string,
	requested map[string]bool, stuck map[string]string) (waiting map[string]string) {
	waiting = map[string]string{}
	for _, l := range remaining {
		other := slices.IndexFunc(l.attached, func(id string) bool { return foreign[id] != "" })
		snapshot := slices.IndexFunc(remaining, func(s leftover) bool { return s.of == l.id })
		switch {
		case stuck[l.id] != "":
		case other >= 0:
			stuck[l.id] = fmt.Sprintf("it is attached to instance %s, which does not belong to the cluster",
				foreign[l.attached[other]])
		case !l.idle:
			waiting[l.id] = "its status is " + l.status
		case requested[l.id]:
			stuck[l.id] = "deletion was requested, but the status is " + l.status
		case snapshot >= 0 && stuck[remaining[snapshot].id] != "":
			stuck[l.id] = fmt.Sprintf("it has the %s", remaining[snapshot])
		case snapshot >= 0:
			waiting[l.id] = fmt.Sprintf("it has the %s", remaining[snapshot])
		default:
			requested[l.id] = true
			waiting[l.id] = "deletion was requested"
			if err := l.delete(ctx); err != nil && !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
				delete(waiting, l.id)
				stuck[l.id] = fmt.Sprintf("cannot delete it: %s", err)
			}
		}
	}
	return waiting
}

// list returns the remaining resources after interval. It repeats a failed request, because OpenStack may be
// unavailable for a moment.
func (t *teardown) list(ctx context.Context) ([]leftover, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(t.interval):
		}
		all, err := t.cloud.leftovers(ctx, t.cluster)
		if err == nil {
			return t.toDelete(all), nil
		}
		t.status(err.Error())
	}
}

// incomplete returns an error that names all remaining resources, or nil if there are none.
func (t *teardown) incomplete(remaining []leftover, stuck map[string]string) error {
	if len(remaining) == 0 {
		return nil
	}
	return fmt.Errorf("cluster %s still has these resources; the next destroy continues with them:\n  %s",
		t.cluster, strings.Join(withReasons(remaining, stuck), "\n  "))
}

// withReasons returns a line for each resource that has a reason.
func withReasons(resources []leftover, reasons map[string]string) []string {
	var lines []string
	for _, l := range resources {
		if reasons[l.id] != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", l, reasons[l.id]))
		}
	}
	return lines
}
