package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"kubernetes-openstack/internal/progress"
)

// lock is a file that the engine writes into the folder locks of a file:// backend.
type lock struct {
	PID      int    `json:"pid"`
	Username string `json:"username"`
	Hostname string `json:"hostname"`
}

// backend is the folder of a file:// backend, and the project whose stacks are used.
type backend struct{ folder, project string }

// currentBackend returns nil for other backends than file://, because these handle a killed engine in other
// ways.
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

// removeIncomplete removes incomplete .attrs files. The engine replaces a state file atomically, but not the
// file of its attributes. If that file is incomplete, every command fails to read the state ("failed to load
// checkpoint: EOF"). A missing file is no problem.
func (b *backend) removeIncomplete(log *progress.Log) error {
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
		log.Printf("removed the incomplete file %s", file)
	}
	return nil
}

// unlock removes the stack's locks if their processes are dead. It returns an error if one may be alive. It does not
// run `pulumi cancel`, which would also remove a lock that another operator gets meanwhile.
func (b *backend) unlock(stack string, log *progress.Log) error {
	dead, err := deadLocks(filepath.Join(b.folder, "locks/organization", b.project, path.Base(stack)))
	if err != nil {
		return err
	}
	for file, pid := range dead {
		for _, name := range []string{file + ".attrs", file} {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		log.Printf("unlocked %s: process %d, which held the lock, has ended", stack, pid)
	}
	return nil
}

// expand returns the folder that Pulumi uses for the text after file://.
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

// deadLocks returns the process of each lock file in the folder if all processes are dead and of this host. Otherwise
// the error names a process that may be alive.
func deadLocks(folder string) (map[string]int, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	dead := map[string]int{}
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
				fmt.Errorf("the stack is locked by process %d of %s on %s: if it has ended, run `pulumi cancel` and resume again",
					l.PID, l.Username, l.Hostname)
		case alive(l.PID):
			return nil,
				fmt.Errorf("the stack is locked by process %d, which is running: wait until it ends; if it runs another stack, "+
					"run `pulumi cancel` and resume again", l.PID)
		}
		dead[file] = l.PID
	}
	return dead, nil
}

// alive returns whether pid is a process of pulumi. After the end of pulumi, the kernel can give its number to another
// program. Without /proc, every process counts.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	// A process that was just killed may be a zombie until its parent reaps it. Not every system has /proc to
	// check it.
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if strings.Contains(string(status), "\nState:\tZ") {
		return false
	}
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err != nil || strings.HasPrefix(filepath.Base(program), "pulumi")
}
