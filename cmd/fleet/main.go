// Command fleet lists the clusters of all stacks in the backend: docs/operations.md#a-fleet-of-clusters.
//
//	go run ./cmd/fleet                        # a table
//	go run ./cmd/fleet -json -html fleet.html # JSON, and a page for a web server
//
// It changes nothing, and needs the passphrase of the stacks and a login to each project. What it cannot read is
// unknown in the list, with the reason. The exit code is 1 if it cannot list all stacks, and 0 otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"kubernetes-openstack/internal/fleet"
)

func main() {
	asJSON := flag.Bool("json", false, "print JSON instead of a table")
	page := flag.String("html", "", "also write the list as an HTML page to this `file`")
	timeout := flag.Duration("timeout", 5*time.Second, "time limit for each cluster")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *asJSON, *page, *timeout, flag.Args()); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, asJSON bool, page string, timeout time.Duration, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q: only flags are allowed", args[0])
	}
	stacks, unlisted := listStacks(ctx)
	if unlisted != nil && (len(stacks) == 0 || ctx.Err() != nil) {
		return unlisted
	}
	report := fleet.Report{Time: time.Now().UTC().Truncate(time.Second)}
	reader := fleet.Reader{
		State: exportState, Cluster: newClouds(timeout).read, Parallel: 2 * runtime.NumCPU(), Timeout: timeout,
	}
	bar := newBar(os.Stderr, len(stacks))
	report.Rows = reader.List(ctx, stacks, bar.done)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := []byte(report.Table())
	if asJSON {
		var err error
		if text, err = report.JSON(); err != nil {
			return err
		}
	}
	if _, err := os.Stdout.Write(text); err != nil {
		return err
	}
	if page != "" {
		text, err := report.Page()
		if err != nil {
			return err
		}
		if err := os.WriteFile(page, text, 0o644); err != nil {
			return err
		}
	}
	return unlisted
}
