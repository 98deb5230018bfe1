package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// status prints the status of all services. It returns an error if one of them is not healthy.
func status(ctx context.Context) error {
	record, err := runningBox()
	if err != nil {
		return err
	}
	var units []Unit
	if err := load("run/units.json", &units); err != nil {
		return err
	}
	fmt.Printf("devcloud (%s): running since %s, process %d, memory %s\n\n", record.Compute,
		record.Started.Format(time.DateTime), record.Init.PID, memory(record.Cgroups))
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, unit := range units {
		if unit.State == done {
			continue
		}
		fmt.Fprintf(table, "%s\t%s\tsince %s\trestarts %d\t%s\n", unit.Name, unit.State,
			unit.Since.Format(time.TimeOnly), unit.Restarts, unit.Error)
	}
	fmt.Fprintf(table, "\nidentity\t%s\n", identityURL)
	for _, service := range catalogue {
		fmt.Fprintf(table, "%s\t%s\n", service.Type, service.URL)
	}
	fmt.Fprintf(table, "mirror\thttp://%s\t(from the instances)\n", mirrorAddress)
	if err := table.Flush(); err != nil {
		return err
	}
	if record.Ready.IsZero() {
		return errors.New("devcloud has not started completely: run `make cloud` again")
	}
	for _, unit := range units {
		if unit.State != running && unit.State != done {
			return fmt.Errorf("%s is %s, see %s", unit.Name, unit.State, logPath(unit.Name))
		}
	}
	return waitReady(ctx, record, 10*time.Second)
}

// memory returns the resident memory of all processes of a box, including those of its instances.
func memory(cgroups []string) string {
	for _, group := range cgroups {
		stat, err := os.ReadFile(filepath.Join(group, "memory.stat"))
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(stat), "\n") {
			name, value, _ := strings.Cut(line, " ")
			if name == "total_rss" || name == "anon" { // cgroup v1's and v2's
				bytes, _ := strconv.ParseFloat(value, 64)
				return fmt.Sprintf("%.2f GiB", bytes/(1<<30))
			}
		}
	}
	return "unknown"
}
