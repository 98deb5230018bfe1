package main

import (
	"fmt"
	"os"
)

// report writes the file for check-etcd: the time at which the newest snapshot is too old, in seconds since 1970, and
// its name. If no snapshot was found, the time is 0. If the container could not be listed, the file of an earlier run
// stays valid.
func (b *backup) report(failed bool) error {
	overdue := int64(0)
	if at, ok := b.time(b.newest); ok {
		overdue = at.Add(b.interval * 3 / 2).Unix()
	} else if _, err := os.Stat(b.status); err == nil && failed && !b.listed {
		return nil
	}
	next := b.status + ".next"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%d %s\n", overdue, b.newest), 0o600); err != nil {
		return err
	}
	return os.Rename(next, b.status)
}
