package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"kubernetes-openstack/internal/progress"
)

// lock is a file that the engine leaves beside the states of a file:// backend.
type lock struct {
	PID      int    `json:"pid"`
	Username string `json:"username"`
	Hostname string `json:"hostname"`
}

// backend is a file:// backend's folder, and the project whose stacks are meant in it.
type backend struct{ folder, project string }

// currentBackend is nil for backends other than file://: these have their own ways with a killed engine.
func currentBackend(ctx context.Context) (*backend, error) {
	text, err := pulumi(ctx, "whoami", "--json")
	if err != nil {
		return nil, err
	}
	var current struct{ URL string }
	if err := json.Unmarshal(text, &current); err != nil {
		return nil, fmt.Errorf("pulumi whoami: %w", err)
	}
	folder, ok := strings.CutPrefix(current.URL, "file://")
	if !ok {
		return nil, nil
	}
	if folder, err = expand(folder); err != nil {
		return nil, err
	}
	project, err := workspace.DetectProject()
	if err != nil {
		return nil, err
	}
	return &backend{filepath.Join(folder, ".pulumi"), project.Name.String()}, nil
}

// mend removes half-written .attrs files. The engine replaces a state at once, but not the file of its attributes, and
// without a whole one or none no command reads the state ("failed to load checkpoint: EOF").
func (b *backend) mend(log *progress.Log) error {
	files, err := filepath.Glob(filepath.Join(b.folder, "stacks", b.project, "*.attrs"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if json.Valid(text) {
			continue
		}
		if err := os.Remove(file); err != nil {
			return err
		}
		log.Printf("removed %s, which was half-written", file)
	}
	return nil
}

// unlock cancels the stack's update if the process of each of its locks is dead, and fails if one may live.
func (b *backend) unlock(ctx context.Context, stack string, log *progress.Log) error {
	dead, err := deadLocks(filepath.Join(b.folder, "locks/organization", b.project, path.Base(stack)))
	if err != nil || len(dead) == 0 {
		return err
	}
	if _, err := pulumi(ctx, "cancel", "--yes", "--stack", stack); err != nil {
		return err
	}
	for _, l := range dead {
		log.Printf("unlocked %s: pid %d, which held it, is dead", stack, l.PID)
	}
	return nil
}

// expand is the folder that Pulumi means by what is after file://.
func expand(folder string) (string, error) {
	folder, _, _ = strings.Cut(folder, "?")
	if rest, ok := strings.CutPrefix(folder, "~"); ok {
		me, err := user.Current()
		if err != nil {
			return "", err
		}
		return filepath.Join(me.HomeDir, rest), nil
	}
	return filepath.Abs(folder)
}

// deadLocks are the locks in the folder, all of them of dead processes of this host; else an error names who may live.
func deadLocks(folder string) ([]lock, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	var dead []lock
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var l lock
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		switch {
		case l.Hostname != host:
			return nil,
				fmt.Errorf("the stack is locked by pid %d of %s on %s: if that is dead, run `pulumi cancel` and resume again",
					l.PID, l.Username, l.Hostname)
		case alive(l.PID):
			return nil,
				fmt.Errorf("the stack is locked by pid %d, which lives: let it end; if it is not a pulumi, run `pulumi cancel` "+
					"and resume again", l.PID)
		}
		dead = append(dead, l)
	}
	return dead, nil
}

func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	// one that was killed a moment ago may still be its parent's zombie; not every system has /proc to tell
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return !strings.Contains(string(status), "\nState:\tZ")
}
