package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"kubernetes-openstack/internal/dirs"
)

// Box is devcloud's isolated environment. Its fields are the values that its first process needs from the host.
type Box struct {
	State       string // the state folder
	Rootfs      string // squashfs of the root filesystem
	Mirror      string // the folder whose files the instances can download
	Hierarchies []hierarchy
	Cgroup      string   // the name of the box's group in each hierarchy
	Ports       []int    // ports of 127.0.0.1, with one inherited listener for each
	Compute     string   // the compute driver
	Variants    []string // the differences from the default cloud
	Conditions  []string // select the services that run
}

// listen opens the listeners in the host's network, which the box inherits. They are the only connection from the host,
// because the box has no link to the host's network.
func listen(ports []int) (files []*os.File, err error) {
	for _, port := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("port %d of 127.0.0.1 is in use: devcloud needs the ports %v", port, ports)
		}
		if err != nil {
			return nil, err
		}
		file, err := listener.(*net.TCPListener).File()
		if err != nil {
			return nil, err
		}
		listener.Close() // file is the same socket
		files = append(files, file)
	}
	return files, nil
}

// start creates the box, and returns when its first process has started. It saves record before each step.
func (b Box) start(record *Record, listeners []*os.File) error {
	for _, h := range b.Hierarchies {
		record.Cgroups = append(record.Cgroups, filepath.Join(h.Mount, b.Cgroup))
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	record.LimitBoot = boot
	if err := save("record.json", record); err != nil {
		return err
	}
	if err := changeLimit(inotifyLimit, inotifyShare); err != nil {
		return err
	}
	for _, group := range record.Cgroups {
		if err := makeCgroup(group); err != nil {
			return err
		}
	}

	log, err := os.OpenFile(filepath.Join(b.State, "log", "box.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	init := exec.Command("/proc/self/exe", "init")
	begin, err := init.StdinPipe()
	if err != nil {
		return err
	}
	init.ExtraFiles = listeners
	init.Stdout, init.Stderr = log, log
	init.Dir = "/"
	init.Env = boxEnv
	init.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID |
		syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC}
	if err := init.Start(); err != nil {
		return err
	}
	// The first process does nothing until it has read its standard input, and ends if this process ends before that. So
	// every box has a record.
	if record.Init, err = findProcess(init.Process.Pid); err != nil {
		return err
	}
	if err := save("record.json", record); err != nil {
		return err
	}
	if err := json.NewEncoder(begin).Encode(b); err != nil {
		return fmt.Errorf("the box ended immediately, see %s: %w", log.Name(), err)
	}
	go init.Wait() // otherwise a zombie would keep the box's PID
	for _, listener := range listeners {
		listener.Close()
	}
	return begin.Close()
}

// boxEnv is the environment of all processes in the box.
var boxEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root"}

// root returns the path of the box's root folder, as a process of the host sees it.
func (r Record) root() string { return fmt.Sprintf("/proc/%d/root", r.Init.PID) }

// enter returns a command that runs in the box.
func (r Record) enter(command ...string) *exec.Cmd {
	args := []string{"--target", strconv.Itoa(r.Init.PID),
		"--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--", "env", "--ignore-environment", "--chdir=/"}
	return exec.Command("nsenter", append(append(args, boxEnv...), command...)...)
}

// remove removes everything that r records, and what a killed run may have left. Missing things are no error.
func (r Record) remove() error {
	err := r.Init.kill(30 * time.Second)
	for _, group := range r.Cgroups {
		err = errors.Join(err, removeCgroup(group))
	}
	err = errors.Join(err, detachLoops(30*time.Second, state("data")))
	err = errors.Join(err, detachLoops(0, dirs.Cache("devcloud"))) // does not wait, because another devcloud may use them
	if err != nil {
		return err // keeps the record, so that the next run retries
	}
	if boot, err := bootID(); err != nil {
		return err
	} else if r.LimitBoot == boot {
		if err := changeLimit(inotifyLimit, -inotifyShare); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(state("run")), os.RemoveAll(state("record.json")))
}
