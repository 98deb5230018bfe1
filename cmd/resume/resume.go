// Command resume lets `pulumi up` go on after its process was killed, and loses nothing that it had begun.
//
//	go run ./cmd/resume [-s STACK]   # the current stack if none is named
//	pulumi up
//
// A killed engine leaves a locked stack and, in its state, a pending operation for each resource whose create it did
// not see the end of. OpenStack may have made them all the same. The next `up` would make each a second time, or fail
// because its address is in use, and nobody would ever delete the first. So resume looks for each in OpenStack, by what
// its inputs say, and adopts what it finds: the resource goes into the state with its ID, and a refresh reads the rest.
//
// It adopts rather than deletes because the create mostly succeeded: the next `up` finds a resource as it declares it
// and goes on, and nothing is ever deleted that no plan has shown. Two kinds do get replaced by the next `up`, which
// says so:
//   - an instance, because Nova does not tell the user-data that it was made with;
//   - whatever OpenStack shows as failed.
//
// If the state has a resource of that URN already (somebody ran `up` without resume, or the create was half of a
// replacement), what is found becomes a resource to delete, and the next `up` deletes it.
//
// An `up` that failed by itself leaves instances in ERROR that the provider then takes for done. Those, too, the next
// `up` replaces: an instance holds nothing that its replacement does not get.
//
// The state is edited by `pulumi stack export` and `import`. `pulumi refresh --import-pending-creates` sounds like the
// same but (3.253) takes the IDs, drops the pending operations and adopts nothing.
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

	"kubernetes-openstack/internal/progress"
)

// A provider plugin outlives its engine and may send one more request: what is found counts when it was found twice,
// settle apart. What is being built has at most patience.
const (
	settle   = 10 * time.Second
	patience = 10 * time.Minute
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
		if err := backend.mend(log); err != nil {
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
	for _, r := range failed {
		log.Printf("redo    %s: its last operation failed, the next up replaces it", r)
	}
	if !state.interrupted() {
		if len(failed) > 0 {
			return save(ctx, stack, state)
		}
		log.Printf("nothing pending in stack %s", stack)
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
	// the cluster, which may not work yet, is not asked for what is in it
	refresh := command(ctx, "refresh", "--yes", "--skip-preview", "--suppress-outputs", "--exclude", "**$kubernetes:**",
		"--stack", stack)
	refresh.Stdout, refresh.Stderr = os.Stdout, os.Stderr
	if err := refresh.Run(); err != nil {
		return fmt.Errorf("pulumi refresh: %w; what was found is in the state: run resume again", err)
	}
	log.Printf("done; go on with: pulumi up --stack %s", stack)
	return nil
}

// findSettled is what find finds once two searches in a row found the same and nothing of it is being built.
func findSettled(ctx context.Context, creates []create, state *state,
	log *progress.Log) (map[string][]candidate, error) {
	creates = slices.DeleteFunc(slices.Clone(creates), func(c create) bool { return !c.Outside() })
	if len(creates) == 0 {
		return nil, nil
	}
	cloud, err := connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("log in to OpenStack: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("OpenStack is still building after %s", patience))
	defer cancel()
	log.Printf("looking in OpenStack for %d interrupted creates, twice, %s apart …", len(creates), settle)
	for last := ""; ; {
		found, busy, err := find(ctx, cloud, creates, state)
		if err != nil {
			return nil, err
		}
		now := fmt.Sprint(found)
		if len(busy) == 0 && now == last {
			return found, nil
		}
		last = now
		if len(busy) > 0 {
			log.Printf("waiting for %s", strings.Join(busy, ", "))
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(settle):
		}
	}
}

// resolve writes what was found for each create into the state, and prints it.
func resolve(state *state, creates []create, found map[string][]candidate, log *progress.Log) {
	for _, c := range creates {
		for _, f := range found[c.URN] {
			switch live := state.adopt(c, f); {
			case !live:
				log.Printf("discard %s %s: the state has another, the next up deletes this one", c, f.ID)
			case f.Redo != "":
				log.Printf("adopt   %s %s: the next up replaces it, %s", c, f.ID, f.Redo)
			default:
				log.Printf("adopt   %s %s", c, f.ID)
			}
		}
		if len(found[c.URN]) == 0 {
			log.Printf("clear   %s: nothing of it is outside of the state", c)
		}
	}
	state.settle()
}

// save imports the state, from a file because Pulumi may ask for the passphrase. Its secrets stay encrypted.
func save(ctx context.Context, stack string, state *state) error {
	text, err := json.Marshal(state.document)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp("", "resume-*.json") // readable by its owner alone
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

// pulumi is the output of a pulumi command; its error has what the command said.
func pulumi(ctx context.Context, args ...string) ([]byte, error) {
	var out, said bytes.Buffer
	cmd := command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("pulumi %s: %w\n%s", strings.Join(args[:min(2, len(args))], " "), err, said.String())
	}
	return out.Bytes(), nil
}

// command is a pulumi command that ^C interrupts, and does not kill.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "pulumi", args...)
	cmd.Stdin = os.Stdin // where Pulumi asks for the passphrase
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd
}
