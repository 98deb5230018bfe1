package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stateTimeout is the time limit for a command of Pulumi.
const stateTimeout = time.Minute

// listStacks returns the names of all stacks of the project in the backend, sorted. For a backend that is a folder or a
// bucket, Pulumi reads all states for the list. One damaged state makes it fail without the name of the stack. Then
// listStacks returns the stacks with a file Pulumi.NAME.yaml, and an error.
func listStacks(ctx context.Context) ([]string, error) {
	text, err := pulumi(ctx, "stack", "ls", "--json")
	if err != nil {
		files, _ := filepath.Glob("Pulumi.*.yaml") // the pattern is valid
		var names []string
		for _, file := range files {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(file, "Pulumi."), ".yaml"))
		}
		if len(names) > 0 {
			err = fmt.Errorf("the list has only stacks with a file Pulumi.NAME.yaml: %w", err)
		}
		return names, err
	}
	var list []struct{ Name string }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("pulumi stack ls: %w", err)
	}
	var names []string
	for _, stack := range list {
		names = append(names, stack.Name)
	}
	slices.Sort(names)
	return names, nil
}

// exportState returns the state of a stack. If its secrets cannot be decrypted, they stay encrypted.
func exportState(ctx context.Context, stack string) ([]byte, error) {
	text, err := pulumi(ctx, "stack", "export", "--show-secrets", "--stack", stack)
	if err == nil || ctx.Err() != nil {
		return text, err
	}
	if encrypted, failed := pulumi(ctx, "stack", "export", "--stack", stack); failed == nil {
		return encrypted, nil
	}
	return nil, err
}

// pulumi runs a pulumi command, and returns its output. Its error has the command's standard error.
func pulumi(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "pulumi", append(args, "--non-interactive", "--color", "never")...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "PULUMI_SKIP_UPDATE_CHECK=true")
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // instead of the signal that ended the command
		}
		return nil, fmt.Errorf("pulumi %s: %w: %s", strings.Join(args[:2], " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}
