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
		return fmt.Errorf("cluster %s still has instances, so nothing of it is touched: %s", t.cluster,
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
	return t.clear(ctx, t.condemned(all), foreign)
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
		t.log(fmt.Sprintf("these volumes and snapshots of cluster %s are kept, with all that is in them:%s\n"+
			"find them again by their property %s='%[1]s'; docs/storage.md says how another cluster takes them",
			t.cluster, data, clusterProperty))
	case data != "":
		t.log(fmt.Sprintf("these volumes and snapshots of cluster %s are deleted now, with all that is in them:%s", t.cluster,
			data))
	}
	if rest != "" {
		t.log(fmt.Sprintf("this is deleted of cluster %s's Services:%s", t.cluster, rest))
	}
}

// condemned returns the resources to delete.
func (t *teardown) condemned(all []leftover) []leftover {
	return slices.DeleteFunc(all, func(l leftover) bool { return t.keep && l.data })
}

// clear deletes each resource of left as soon as OpenStack accepts it, and waits until no status changes any
// more. A resource that cannot be deleted does not delay others.
func (t *teardown) clear(ctx context.Context, left []leftover, foreign map[string]string) error {
	asked, stuck := map[string]bool{}, map[string]string{}
	for {
		waiting := t.ask(ctx, left, foreign, asked, stuck)
		if len(waiting) == 0 {
			t.status("")
			return t.remainder(left, stuck)
		}
		lines := each(left, waiting)
		t.status(fmt.Sprintf("waiting for %d, first for %s", len(lines), lines[0]))
		now, err := t.look(ctx)
		if err != nil {
			maps.Copy(stuck, waiting)
			return fmt.Errorf("%w: %w", err, t.remainder(left, stuck))
		}
		for _, l := range left {
			if !slices.ContainsFunc(now, func(n leftover) bool { return n.id == l.id }) {
				t.log(l.String() + " is gone")
			}
		}
		left = now
	}
}

// ask requests the deletion of each resource once, as soon as OpenStack accepts it. It returns the resources
// that are worth waiting for, by ID, with the reason of the wait. The others are in stuck, with the reason
// why they cannot be deleted.
func (t *teardown) ask(
	ctx context.Context, left []leftover, foreign map[string]string, asked map[string]bool, stuck map[string]string,
) (waiting map[string]string) {
	waiting = map[string]string{}
	for _, l := range left {
		other := slices.IndexFunc(l.attached, func(id string) bool { return foreign[id] != "" })
		snapshot := slices.IndexFunc(left, func(s leftover) bool { return s.of == l.id })
		switch {
		case stuck[l.id] != "":
		case other >= 0:
			stuck[l.id] = fmt.Sprintf("instance %s has it, which is none of the cluster's", foreign[l.attached[other]])
		case !l.idle:
			waiting[l.id] = "it is " + l.status
		case asked[l.id]:
			stuck[l.id] = "OpenStack was to delete it, and it is " + l.status
		case snapshot >= 0 && stuck[left[snapshot].id] != "":
			stuck[l.id] = fmt.Sprintf("%s is of it", left[snapshot])
		case snapshot >= 0:
			waiting[l.id] = fmt.Sprintf("%s is of it", left[snapshot])
		default:
			asked[l.id] = true
			waiting[l.id] = "it is to go"
			if err := l.delete(ctx); err != nil && !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
				delete(waiting, l.id)
				stuck[l.id] = fmt.Sprintf("delete it: %s", err)
			}
		}
	}
	return waiting
}

// look lists the remaining resources after interval. It repeats a failed request, because OpenStack may be
// unavailable for a moment.
func (t *teardown) look(ctx context.Context) ([]leftover, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(t.interval):
		}
		all, err := t.cloud.leftovers(ctx, t.cluster)
		if err == nil {
			return t.condemned(all), nil
		}
		t.status(err.Error())
	}
}

// remainder returns an error that names all resources of left, or nil if there are none.
func (t *teardown) remainder(left []leftover, stuck map[string]string) error {
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("this is left of cluster %s; the next destroy goes on with it:\n  %s",
		t.cluster, strings.Join(each(left, stuck), "\n  "))
}

// each returns a line for each resource of left that has a text in the map say.
func each(left []leftover, say map[string]string) []string {
	var lines []string
	for _, l := range left {
		if say[l.id] != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", l, say[l.id]))
		}
	}
	return lines
}
