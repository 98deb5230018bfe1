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

// cgroupRoot is the folder in which Linux systems mount control groups.
const cgroupRoot = "/sys/fs/cgroup"

// hierarchy is one mounted tree of control groups. cgroup v2 has one tree, which is cgroupRoot itself. cgroup v1 has
// one tree for each controller or group of controllers, in folders of cgroupRoot. A system with v1 may also mount v2
// there.
type hierarchy struct {
	Mount   string // /sys/fs/cgroup/memory
	Type    string // cgroup or cgroup2
	Options string // mount options: "memory", "cpu,cpuacct", "none,name=systemd"
}

// hierarchies returns the host's hierarchies. mounts is the content of /proc/self/mounts.
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
		return nil, errors.New(cgroupRoot + ": must have control groups of version 1 or 2, but nothing is mounted there")
	}
	return found, nil
}

// controllers returns the controllers in a v1 mount's options: "rw,relatime,cpu,cpuacct" → "cpu,cpuacct".
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

// makeCgroup creates a group at the top of a hierarchy.
func makeCgroup(group string) error {
	if err := os.Mkdir(group, 0o755); err != nil {
		return err
	}
	// A new cpuset has no processors and no memory nodes, and accepts no process until it has both.
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

// shareCgroups enables the controllers of cgroup v2 for groups below the one of this process. A group with enabled
// controllers must not contain processes, so this process, and with it the services, moves to a group below.
func shareCgroups() error {
	available, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not needed with v1
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

// removeCgroup removes a group and all groups below it. Their processes are killed, but the kernel may need a moment.
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
