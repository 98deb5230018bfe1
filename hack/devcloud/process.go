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

// Process is a process that a later run can know again: the kernel reuses numbers, so the boot and the clock tick in
// which it started belong to it.
type Process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`
}

// findProcess is the process that has the number pid now.
func findProcess(pid int) (Process, error) {
	_, start, err := processStat(pid)
	return Process{pid, start}, err
}

// processStat is the letter of a process's state, and its start.
func processStat(pid int) (state, start string, err error) {
	boot, err := bootID()
	if err != nil {
		return "", "", err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	// The second field is the command in parentheses and may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return fields[0], boot + "/" + fields[19], nil
}

// bootID is the same until the kernel starts anew.
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// alive says whether p runs; one that has ended but was not waited for does not.
func (p Process) alive() bool {
	state, start, err := processStat(p.PID)
	return p.PID > 0 && err == nil && start == p.Start && state != "Z"
}

// kill ends p and waits until it is gone.
func (p Process) kill(timeout time.Duration) error {
	if _, start, err := processStat(p.PID); err != nil || start != p.Start {
		return nil
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %d: %w", p.PID, err)
	}
	for end := time.Now().Add(timeout); p.alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("process %d is still there %s after SIGKILL", p.PID, timeout)
		}
	}
	return nil
}
