// Command resume repairs a stack after `pulumi up`, `pulumi refresh` or `pulumi destroy` was killed or ended with an
// error, so that the next command can continue. It keeps every resource whose creation had begun.
//
//	go run ./cmd/resume [-s STACK]   # the current stack if none is named
//	pulumi up
//
// OpenStack may have resources of the stack that its state does not have. There are two reasons:
//   - The engine was killed. For each resource whose create had begun and not ended, the state has a pending operation.
//   - A create failed, but OpenStack has created the resource. The response got lost, or the provider could not read
//     the status of the new resource. The state has no trace of it. But the resource is one of those that the next
//     `up` would create, and a preview lists these with their inputs.
//
// The next `up` would create each of these a second time, or fail because its address is in use. Nobody would ever
// delete the first one. So resume searches OpenStack for each resource by its inputs, and adopts the resources that it
// finds: it adds the resource with its ID to the state, and a refresh reads the other fields.
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
	"cmp"
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
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "resume: unexpected argument %q: only flags are allowed\n", flag.Arg(0))
		os.Exit(1)
	}
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
		if err := backend.unlock(stack, log); err != nil {
			return err
		}
	}
	state, err := load(ctx, stack)
	if err != nil {
		return err
	}
	if len(state.list("resources")) == 0 && !state.interrupted() {
		log.Printf("stack %s has no resources", stack)
		return nil
	}
	interrupted, err := repairInterrupted(ctx, stack, state, log)
	if err != nil {
		return err
	}
	if interrupted {
		if state, err = load(ctx, stack); err != nil {
			return err
		}
	}
	failed, err := adoptFailed(ctx, stack, state, log)
	if err != nil {
		return err
	}
	if !interrupted && !failed {
		log.Printf("stack %s has nothing to resume", stack)
		return nil
	}
	log.Printf("done; continue with: pulumi up --stack %s", stack)
	return nil
}

// repairInterrupted resolves the operations that a killed engine left in the state, and marks instances whose last
// operation failed. It returns true if it has changed the state.
func repairInterrupted(ctx context.Context, stack string, state *state, log *progress.Log) (changed bool, err error) {
	failed := state.failedInstances()
	if len(failed) == 0 && !state.interrupted() {
		return false, nil
	}
	if err := verify(ctx, state, log); err != nil {
		return false, err
	}
	if len(failed) > 0 {
		cloud, err := openstack.Connect(ctx, "compute")
		if err != nil {
			return false, fmt.Errorf("log in to OpenStack: %w", err)
		}
		if changed, err = taintFailed(ctx, cloud, failed, log); err != nil {
			return false, err
		}
	}
	if !state.interrupted() {
		if changed {
			err = state.save(ctx, stack)
		}
		return changed, err
	}
	creates, err := state.creates()
	if err != nil {
		return false, err
	}
	found, err := findSettled(ctx, creates, state, true, log)
	if err != nil {
		return false, err
	}
	resolve(state, creates, found, log)
	state.clearPending()
	return true, saveAndRefresh(ctx, stack, state)
}

// taintFailed marks each of the failed instances that is not ACTIVE, so that the next `up` replaces it. An ACTIVE one
// is as declared: only the provider could not read its status. taintFailed returns true if it has marked one.
func taintFailed(ctx context.Context, c *cloud, failed []object, log *progress.Log) (marked bool, err error) {
	for _, r := range failed {
		status, err := settledStatus(ctx, c, r, log)
		if err != nil {
			return false, err
		}
		if status != "ACTIVE" {
			r["taint"], marked = true, true
			log.Printf("replace %s: its last operation failed and its status is %s, so the next up replaces it",
				newCreate(r), cmp.Or(status, "unknown, because it does not exist"))
		}
	}
	return marked, nil
}

// adoptFailed adopts the resources of creates that failed. It returns true if it has changed the state.
func adoptFailed(ctx context.Context, stack string, state *state, log *progress.Log) (changed bool, err error) {
	digest, err := preview(ctx, stack)
	if err != nil {
		return false, fmt.Errorf("cannot search for resources of failed creates: %w", err)
	}
	creates, err := state.failed(digest)
	if err != nil || len(creates) == 0 {
		return false, err
	}
	if err := verify(ctx, state, log); err != nil {
		return false, err
	}
	found, err := findSettled(ctx, creates, state, false, log)
	if err != nil || len(found) == 0 {
		return false, err
	}
	resolve(state, creates, found, log)
	return true, saveAndRefresh(ctx, stack, state)
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

// findSettled repeats find until nothing is being created or deleted. After a kill, a provider may still send
// requests. So then two searches in a row must return the same.
func findSettled(ctx context.Context, creates []create, state *state, killed bool,
	log *progress.Log) (map[string][]candidate, error) {
	creates = slices.DeleteFunc(slices.Clone(creates), func(c create) bool { return !c.InOpenStack() })
	deletes := state.deletes()
	if len(creates)+len(deletes) == 0 {
		return nil, nil
	}
	cloud, err := openstack.Connect(ctx, "compute", "identity", "network", "object-store", "volume")
	if err != nil {
		return nil, fmt.Errorf("log in to OpenStack: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("OpenStack is still creating or deleting these resources after %s", timeout))
	defer cancel()
	if killed {
		log.Printf("searching OpenStack twice, %s apart, for the resources of %d interrupted creates …", interval,
			len(creates))
	} else {
		log.Printf("searching OpenStack for %d resources that the state may lack …", len(creates))
	}
	for last := ""; ; {
		found, unfinished, err := find(ctx, cloud, creates, state)
		if err != nil {
			return nil, err
		}
		deleting, err := stillDeleting(ctx, cloud, deletes)
		if err != nil {
			return nil, err
		}
		unfinished = append(unfinished, deleting...)
		now := fmt.Sprint(found)
		if len(unfinished) == 0 && (now == last || !killed) {
			return found, nil
		}
		last = now
		if len(unfinished) > 0 {
			log.Printf("waiting for %s", strings.Join(unfinished, ", "))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s", context.Cause(ctx), strings.Join(unfinished, ", "))
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
		if len(found[c.URN]) == 0 && !c.failed {
			log.Printf("clear   %s: no resource to adopt", c)
		}
	}
}

// load reads the state.
func load(ctx context.Context, stack string) (*state, error) {
	export, err := pulumi(ctx, "stack", "export", "--stack", stack)
	if err != nil {
		return nil, err
	}
	state, err := parse(export)
	if err != nil {
		return nil, fmt.Errorf("read the state of %s: %w", stack, err)
	}
	return state, nil
}

// preview returns the digest of a preview.
func preview(ctx context.Context, stack string) ([]byte, error) {
	digest, err := pulumi(ctx, "preview", "--json", "--stack", stack)
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return digest, err
	}
	return nil, fmt.Errorf("%w%s", err, diagnostics(digest))
}

// saveAndRefresh saves the state, and reads the adopted resources. The refresh excludes objects in the cluster, because
// the cluster may not be ready yet.
func saveAndRefresh(ctx context.Context, stack string, state *state) error {
	if err := state.save(ctx, stack); err != nil {
		return err
	}
	refresh := command(ctx, "refresh", "--yes", "--skip-preview", "--suppress-outputs", "--exclude", "**$kubernetes:**",
		"--stack", stack)
	refresh.Stdout, refresh.Stderr = os.Stdout, os.Stderr
	if err := refresh.Run(); err != nil {
		return fmt.Errorf("pulumi refresh: %w; the state has the adopted resources, so run resume again", err)
	}
	return nil
}

// save imports the state. It uses a file, because Pulumi may read the passphrase from stdin. Secrets stay
// encrypted. It returns an error if somebody has changed the state since load, because the import would undo this.
func (s *state) save(ctx context.Context, stack string) error {
	current, err := pulumi(ctx, "stack", "export", "--stack", stack)
	if err != nil {
		return err
	}
	if !bytes.Equal(current, s.export) {
		return fmt.Errorf("another command has changed the state of %s meanwhile, so nothing was changed: wait until it "+
			"ends, then run resume again", stack)
	}
	text, err := json.Marshal(s.document)
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
