// Command resume repairs a stack after the process of `pulumi up` was killed, so that `pulumi up` can
// continue. It keeps every resource whose creation had begun.
//
//	go run ./cmd/resume [-s STACK]   # the current stack if none is named
//	pulumi up
//
// A killed engine leaves a locked stack. For each resource whose create had begun and not ended, its state
// has a pending operation. OpenStack may have created these resources. The next `up` would create each a
// second time, or fail because its address is in use. Nobody would ever delete the first one. So resume
// searches OpenStack for each resource by its inputs, and adopts the resources that it finds: it adds the
// resource with its ID to the state, and a refresh reads the other fields.
//
// resume adopts resources instead of deleting them, because most of the creates succeeded. The next `up`
// finds the resources as they are declared and continues. So nothing is deleted without a preview that shows
// it. The next `up` replaces two kinds of resources, and its output shows this:
//   - an instance, because Nova does not return the user-data that it was created with;
//   - a resource whose status in OpenStack is an error.
//
// The state may already contain a resource of the same URN. Somebody ran `up` without resume, or the create
// was a part of a replacement. In this case resume adds the found resource as a resource to delete, and the
// next `up` deletes it.
//
// An `up` that failed by itself can leave instances in ERROR, which the provider treats as created. The next
// `up` replaces these, too. An instance has no data that its replacement does not get.
//
// Before it changes the state, resume verifies that the credentials are for the project with the stack's resources.
//
// resume edits the state with `pulumi stack export` and `import`. `pulumi refresh --import-pending-creates`
// seems to do the same. But it (3.253) reads the IDs, removes the pending operations and adopts nothing.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"time"

	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/progress"
)

// A provider plugin outlives its engine and may send one more request. So a search counts only if a second
// one, after interval, finds the same. timeout is the time limit for resources that are still being built.
const (
	interval = 10 * time.Second
	timeout  = 10 * time.Minute
)

func main() {
	stack := flag.String("s", "", "name of the `stack` (default: the current stack)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *stack, progress.New(os.Stdout, "resume")); err != nil {
		fmt.Fprintln(os.Stderr, "resume:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stack string, log *progress.Log) error {
	backend, err := currentBackend(ctx)
	if err != nil {
		return err
	}
	if backend != nil {
		if err := backend.removeIncomplete(log); err != nil {
			return err
		}
	}
	if stack == "" {
		name, err := pulumi(ctx, "stack", "--show-name")
		if err != nil {
			return err
		}
		stack = strings.TrimSpace(string(name))
	}
	if backend != nil {
		if err := backend.unlock(ctx, stack, log); err != nil {
			return err
		}
	}
	export, err := pulumi(ctx, "stack", "export", "--stack", stack)
	if err != nil {
		return err
	}
	state, err := parse(export)
	if err != nil {
		return fmt.Errorf("read the state of %s: %w", stack, err)
	}
	failed := state.taintFailed()
	if len(failed) > 0 || state.interrupted() {
		if err := verify(ctx, state, log); err != nil {
			return err
		}
	}
	for _, r := range failed {
		log.Printf("replace %s: its last operation failed, so the next up replaces it", r)
	}
	if !state.interrupted() {
		if len(failed) > 0 {
			return save(ctx, stack, state)
		}
		log.Printf("stack %s has no pending operations", stack)
		return nil
	}
	creates, err := state.creates()
	if err != nil {
		return err
	}
	found, err := findSettled(ctx, creates, state, log)
	if err != nil {
		return err
	}
	resolve(state, creates, found, log)
	if err := save(ctx, stack, state); err != nil {
		return err
	}
	// the refresh excludes objects in the cluster, because the cluster may not be ready yet
	refresh := command(ctx, "refresh", "--yes", "--skip-preview", "--suppress-outputs", "--exclude", "**$kubernetes:**",
		"--stack", stack)
	refresh.Stdout, refresh.Stderr = os.Stdout, os.Stderr
	if err := refresh.Run(); err != nil {
		return fmt.Errorf("pulumi refresh: %w; the state has the adopted resources, so run resume again", err)
	}
	log.Printf("done; continue with: pulumi up --stack %s", stack)
	return nil
}

// verify returns an error if the credentials are not for the project with the stack's resources. There, resume
// would find nothing, and the refresh would remove every resource from the state.
func verify(ctx context.Context, state *state, log *progress.Log) error {
	if id := state.project(); id != "" {
		return openstack.Verify(ctx, id)
	}
	current, err := openstack.Login(ctx)
	if err != nil {
		return err
	}
	log.Printf("the state has no resource in OpenStack yet, so the stack is in the project of the credentials: %s (%s)",
		current.ID, current.Name)
	return nil
}

// findSettled repeats find until two searches in a row return the same and nothing is still being built.
func findSettled(ctx context.Context, creates []create, state *state,
	log *progress.Log) (map[string][]candidate, error) {
	creates = slices.DeleteFunc(slices.Clone(creates), func(c create) bool { return !c.InOpenStack() })
	if len(creates) == 0 {
		return nil, nil
	}
	cloud, err := openstack.Connect(ctx, "compute", "identity", "network", "volume")
	if err != nil {
		return nil, fmt.Errorf("log in to OpenStack: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("OpenStack is still creating resources after %s", timeout))
	defer cancel()
	log.Printf("searching OpenStack twice, %s apart, for the resources of %d interrupted creates …", interval,
		len(creates))
	for last := ""; ; {
		found, unfinished, err := find(ctx, cloud, creates, state)
		if err != nil {
			return nil, err
		}
		now := fmt.Sprint(found)
		if len(unfinished) == 0 && now == last {
			return found, nil
		}
		last = now
		if len(unfinished) > 0 {
			log.Printf("waiting for %s", strings.Join(unfinished, ", "))
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(interval):
		}
	}
}

// resolve adds the resources that were found for each create to the state, and prints them.
func resolve(state *state, creates []create, found map[string][]candidate, log *progress.Log) {
	for _, c := range creates {
		for _, f := range found[c.URN] {
			switch live := state.adopt(c, f); {
			case !live:
				log.Printf("delete  %s %s: the state has another one, so the next up deletes this one", c, f.ID)
			case f.Redo != "":
				log.Printf("adopt   %s %s: the next up replaces it, because %s", c, f.ID, f.Redo)
			default:
				log.Printf("adopt   %s %s", c, f.ID)
			}
		}
		if len(found[c.URN]) == 0 {
			log.Printf("clear   %s: no resource to adopt", c)
		}
	}
	state.clearPending()
}

// save imports the state. It uses a file, because Pulumi may read the passphrase from stdin. Secrets stay
// encrypted.
func save(ctx context.Context, stack string, state *state) error {
	text, err := json.Marshal(state.document)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp("", "resume-*.json") // only its owner can read it
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(text); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	_, err = pulumi(ctx, "stack", "import", "--stack", stack, "--file", file.Name())
	return err
}

// pulumi runs a pulumi command and returns its output. Its error contains the command's stderr.
func pulumi(ctx context.Context, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("pulumi %s: %w\n%s", strings.Join(args[:min(2, len(args))], " "), err, &stderr)
	}
	return stdout.Bytes(), nil
}

// command returns a pulumi command. ^C interrupts it and does not kill it.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "pulumi", args...)
	cmd.Stdin = os.Stdin // Pulumi may read the passphrase from it
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd
}
