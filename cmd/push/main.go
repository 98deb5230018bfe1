// Command push updates changed templates on a running machine of devcloud. It is for developers:
//
//	go run ./cmd/push --stack dev dev-worker-0
//
// push uses the program itself to render the machine's user-data from the stack's configuration and state. It
// compares the result with the user-data from which the machine was created, or with that of the last push.
// It writes the files that differ, and restarts the units that use them. It does not change the state, so the
// next `pulumi up` replaces the machine.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
)

// pushedPath is the path of the last push's user-data on the machine. Nova has the first user-data.
const pushedPath = "/var/lib/pushed"

func main() {
	stack := flag.String("stack", "dev", "name of the `stack`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := push(ctx, *stack, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "push:", err)
		os.Exit(1)
	}
}

func push(ctx context.Context, stack, machine string) error {
	if machine == "" {
		return errors.New("the argument must be the name of a machine: make push MACHINE=dev-worker-0")
	}
	s, err := readStack(ctx, stack)
	if err != nil {
		return err
	}
	text, err := s.userData(machine)
	if err != nil {
		return err
	}
	userData, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	current, err := runOn(ctx, machine, "cat "+pushedPath+" 2>/dev/null || cat /var/lib/cloud/instance/user-data.txt", nil)
	if err != nil {
		return err
	}
	before, err := files(current)
	if err != nil {
		return fmt.Errorf("read the user-data of the running %s: %w; `pulumi up` replaces a machine that push cannot change",
			machine, err)
	}
	after, err := files(userData)
	if err != nil {
		return err
	}
	c := compare(before, after)
	if c.empty() {
		fmt.Printf("%s is up to date\n", machine)
		return nil
	}
	fmt.Print(c)
	archive, err := pack(append(c.write, file{Path: pushedPath, Permissions: "0600", Content: string(userData)}))
	if err != nil {
		return err
	}
	_, err = runOn(ctx, machine, c.script(), archive)
	return err
}

// runOn runs a line of shell on a machine, and returns its output. Secrets are passed in stdin and never in the line.
func runOn(ctx context.Context, machine, line string, stdin []byte) ([]byte, error) {
	return output(exec.CommandContext(ctx, "go", "run", "./hack/devcloud", "exec", machine, "--", line), stdin)
}

// output returns the output of a command. Its error contains the command's stderr.
func output(cmd *exec.Cmd, stdin []byte) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %s", cmd.Args[0], cmd.Args[1],
			cmp.Or(string(bytes.TrimSpace(stderr.Bytes())), err.Error()))
	}
	return out, nil
}
