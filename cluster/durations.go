package cluster

import "time"

// Durations are the seconds that machines took in an `up`: from the start of a machine's turn until it was ready. They
// are the longest of each kind.
type Durations map[string]int

// durationKey is the key of Durations. A machine that replaces another one takes longer, because the other one drains
// first.
func durationKey(role Role, replaces bool) string {
	if replaces {
		return string(role) + " replace"
	}
	return string(role) + " new"
}

// Add adds the duration of one machine.
func (d Durations) Add(role Role, replaces bool, took time.Duration) {
	key := durationKey(role, replaces)
	d[key] = max(d[key], int(took.Round(time.Second).Seconds()))
}

// Estimate returns the seconds that such a machine takes, or 0 if they are unknown. Until a machine was replaced, a
// replacement is estimated as a new machine.
func (d Durations) Estimate(role Role, replaces bool) int {
	if seconds := d[durationKey(role, replaces)]; seconds > 0 {
		return seconds
	}
	return d[durationKey(role, false)]
}
