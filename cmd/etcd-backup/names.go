package main

import (
	"slices"
	"strings"
	"time"
)

// timeFormat is the format of the time in the name of a snapshot. Names in this format sort by time.
const timeFormat = "20060102T150405Z"

// name returns the name of a snapshot.
func (b *backup) name(at time.Time) string {
	return b.cluster + "-" + at.UTC().Format(timeFormat) + ".db"
}

// time returns the time in the name of a snapshot of this cluster.
func (b *backup) time(name string) (at time.Time, ok bool) {
	text, isDB := strings.CutSuffix(name, ".db")
	text, isOurs := strings.CutPrefix(text, b.cluster+"-")
	at, err := time.Parse(timeFormat, text)
	return at, isDB && isOurs && err == nil
}

// snapshots returns the snapshots of this cluster among the names of objects, the newest first.
func (b *backup) snapshots(names []string) (out []string) {
	for _, name := range names {
		if _, ok := b.time(name); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}

// latest returns the newest snapshot, or "". A snapshot from the future counts only if the clocks of two members can be
// the reason: otherwise a wrong clock would stop all backups until that time.
func (b *backup) latest(names []string, now time.Time) string {
	for _, name := range b.snapshots(names) {
		if at, _ := b.time(name); at.Sub(now) < b.interval {
			return name
		}
	}
	return ""
}

// wait returns the age of the newest snapshot at which the next one is due. The first snapshot of a new cluster is
// nearly empty, so the second one is due early. If BACKUP_KEEP is 1, the container always has one snapshot, so it need
// not be the first.
func (b *backup) wait(names []string) time.Duration {
	if b.keep > 1 && len(b.snapshots(names)) == 1 {
		return b.interval / 6
	}
	return b.interval
}

// slack returns the time by which a snapshot may be early. The time of a snapshot is some seconds after the start of
// its run, so the run of the timer at which the next one is due would be too early.
func (b *backup) slack() time.Duration { return min(10*time.Second, b.interval/12) }

// outdated returns the oldest snapshots above keep, except for that of the restore. Snapshots from the future do not
// count. Otherwise those of a machine whose clock was wrong would stay the newest ones, and replace all others.
func (b *backup) outdated(names []string, now time.Time) []string {
	all := slices.DeleteFunc(b.snapshots(names), func(name string) bool {
		at, _ := b.time(name)
		return at.Sub(now) >= b.interval
	})
	return slices.DeleteFunc(all[min(b.keep, len(all)):], func(name string) bool { return name == b.restore })
}

// orphans returns the snapshots whose segments exist, but that do not exist themselves, with their segments.
func (b *backup) orphans(names, segmentNames []string) map[string][]string {
	out := map[string][]string{}
	for _, segment := range segmentNames {
		name, _, _ := strings.Cut(strings.TrimPrefix(segment, segments), "/")
		if _, ok := b.time(name); ok && !slices.Contains(names, name) {
			out[name] = append(out[name], segment)
		}
	}
	return out
}
