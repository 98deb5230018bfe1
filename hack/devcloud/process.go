package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Process identifies a process for later runs. The kernel reuses PIDs, so Process also has the boot and the clock tick
// in which the process started.
type Process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`
}

// findProcess returns the process that has this PID now.
func findProcess(pid int) (Process, error) {
	_, start, err := processStat(pid)
	return Process{pid, start}, err
}

// processStat returns the letter of a process's state, and the time of its start.
func processStat(pid int) (state, start string, err error) {
	boot, err := bootID()
	if err != nil {
		return "", "", err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	// The second field is the command in parentheses, which may contain any characters.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return fields[0], boot + "/" + fields[19], nil
}

// bootID returns the ID of the kernel's current boot.
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// alive returns true if p is running. A zombie is not running.
func (p Process) alive() bool {
	state, start, err := processStat(p.PID)
	return p.PID > 0 && err == nil && start == p.Start && state != "Z"
}

// kill ends p with SIGKILL and waits until it has ended.
func (p Process) kill(timeout time.Duration) error {
	if _, start, err := processStat(p.PID); err != nil || start != p.Start {
		return nil
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %d: %w", p.PID, err)
	}
	for end := time.Now().Add(timeout); p.alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("process %d still exists %s after SIGKILL", p.PID, timeout)
		}
	}
	return nil
}
