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

// leftover is one thing in OpenStack that a cluster's controllers made.
type leftover struct {
	kind, name, id, about string
	// data is lost with it.
	data bool
	// of is the volume that a snapshot is of: it cannot go before.
	of string
	// attached are the instances that have it.
	attached []string
	status   string
	// idle: OpenStack takes a delete now.
	idle   bool
	delete func(context.Context) error
}

func (l leftover) String() string { return fmt.Sprintf("%s %s (%s)", l.kind, l.name, l.id) }

// teardown is the end of a cluster's leftovers.
type teardown struct {
	cloud   *cloud
	cluster string
	// keep volumes and snapshots.
	keep     bool
	interval time.Duration
	// log is what stays to be read, status what the next one outdates.
	log, status func(message string)
}

// run lists what would be lost, or is kept, and deletes the rest: as long as the cluster has an instance, nothing.
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

// announce says what becomes of what, before anything does.
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

// condemned are those that are to go.
func (t *teardown) condemned(all []leftover) []leftover {
	return slices.DeleteFunc(all, func(l leftover) bool { return t.keep && l.data })
}

// clear deletes all of left, each as soon as OpenStack lets it, and waits until nothing moves any more.
// One that cannot be deleted does not stop another.
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

// ask has OpenStack delete what it can, each once. What is worth waiting for is the result, by ID, with what it
// waits for; what is not is stuck, with the reason.
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

// look at what is left, a while later; that OpenStack does not answer may pass.
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

// remainder is the error that names all of left; nil where it is nothing.
func (t *teardown) remainder(left []leftover, stuck map[string]string) error {
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("this is left of cluster %s; the next destroy goes on with it:\n  %s",
		t.cluster, strings.Join(each(left, stuck), "\n  "))
}

// each of left that there is something to say of.
func each(left []leftover, say map[string]string) []string {
	var lines []string
	for _, l := range left {
		if say[l.id] != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", l, say[l.id]))
		}
	}
	return lines
}
