package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cgroupRoot is where Linux systems mount their control groups.
const cgroupRoot = "/sys/fs/cgroup"

// hierarchy is one mounted tree of control groups. cgroup v2 has one, cgroupRoot itself; v1 has one for each controller
// or group of them, in folders of cgroupRoot, and may have v2's beside them.
type hierarchy struct {
	Mount   string // /sys/fs/cgroup/memory
	Type    string // cgroup or cgroup2
	Options string // what to mount it with: "memory", "cpu,cpuacct", "none,name=systemd"
}

// hierarchies are the host's; its /proc/self/mounts tells.
func hierarchies(mounts string) (found []hierarchy, err error) {
	for _, line := range strings.Split(mounts, "\n") {
		field := strings.Fields(line)
		if len(field) < 4 {
			continue
		}
		h := hierarchy{Mount: field[1], Type: field[2]}
		switch {
		case h.Type == "cgroup2" && h.Mount == cgroupRoot:
			return []hierarchy{h}, nil
		case h.Type == "cgroup2" && filepath.Dir(h.Mount) == cgroupRoot:
			found = append(found, h)
		case h.Type == "cgroup" && filepath.Dir(h.Mount) == cgroupRoot:
			h.Options = controllers(field[3])
			found = append(found, h)
		}
	}
	if found == nil {
		return nil, errors.New("nothing is mounted in " + cgroupRoot + ": devcloud needs control groups, of version 1 or 2")
	}
	return found, nil
}

// controllers are what remains of a v1 mount's options: "rw,relatime,cpu,cpuacct" → "cpu,cpuacct".
func controllers(options string) string {
	var names []string
	for _, option := range strings.Split(options, ",") {
		switch {
		case strings.HasPrefix(option, "name="):
			return "none," + option
		case option == "xattr", option == "clone_children", strings.Contains(option, "="),
			option == "rw", option == "nosuid", option == "nodev", option == "noexec", option == "relatime":
		default:
			names = append(names, option)
		}
	}
	return strings.Join(names, ",")
}

// makeCgroup makes a group at the top of a hierarchy.
func makeCgroup(group string) error {
	if err := os.Mkdir(group, 0o755); err != nil {
		return err
	}
	// A new cpuset is empty, and takes no process until it has processors and memory.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		all, err := os.ReadFile(filepath.Join(filepath.Dir(group), file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(group, file), all, 0); err != nil {
			return err
		}
	}
	return nil
}

// shareCgroups lets cgroup v2 limit groups below the one that this process is the first in: such a group must have no
// processes itself, so this one, and with it the services, goes to a group below.
func shareCgroups() error {
	available, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // v1 asks for nothing of this
	}
	if err != nil {
		return err
	}
	services := filepath.Join(cgroupRoot, "services")
	if err := os.Mkdir(services, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(services, "cgroup.procs"), []byte("0"), 0); err != nil {
		return err
	}
	for _, controller := range strings.Fields(string(available)) {
		if err := os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroup removes a group and all below it. Their processes have been killed, but the kernel may take a moment.
func removeCgroup(group string) error {
	var groups []string
	err := filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for i := len(groups) - 1; i >= 0; i-- {
		for {
			err := syscall.Rmdir(groups[i])
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup %s: %w", groups[i], err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}
