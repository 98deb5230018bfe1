package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/status"
)

// configKey is the key of the cluster's configuration.
const configKey = "kubernetes-openstack:cluster"

// readStack returns the state of a stack, and the configuration of its cluster. Both commands of pulumi run in
// parallel, and their outputs contain secrets.
func readStack(ctx context.Context, name string) (stack status.Stack, config string, err error) {
	type output struct {
		text []byte
		err  error
	}
	export := make(chan output, 1)
	go func() {
		text, err := pulumi(ctx, "stack", "export", "--show-secrets", "--stack", name)
		export <- output{text, err}
	}()
	var keys map[string]struct{ Value string }
	text, err := pulumi(ctx, "config", "--json", "--show-secrets", "--stack", name)
	exported := <-export
	switch {
	case err != nil:
		return stack, "", err
	case exported.err != nil:
		return stack, "", exported.err
	}
	if err := json.Unmarshal(text, &keys); err != nil {
		return stack, "", fmt.Errorf("pulumi config: %w", err)
	}
	stack, err = status.ParseStack(name, exported.text)
	return stack, keys[configKey].Value, err
}

// planOf returns the plan of a stack that has machines.
func planOf(stack status.Stack, config string) (cluster.Plan, error) {
	if len(stack.Machines()) == 0 {
		return cluster.Plan{}, fmt.Errorf("stack %s has no machines in its state: run `pulumi up` first", stack.Name)
	}
	decoded, err := cluster.Decode(stack.Name, config)
	if err != nil {
		return cluster.Plan{}, err
	}
	return cluster.NewPlan(decoded), nil
}

// pulumi returns the output of a command of pulumi. ^C interrupts it and does not kill it.
func pulumi(ctx context.Context, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "pulumi", append(args, "--non-interactive")...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("pulumi %s: %w: %s", strings.Join(args[:min(2, len(args))], " "), err,
			strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}
