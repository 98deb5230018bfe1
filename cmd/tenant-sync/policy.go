package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

// policyFile is the ABAC policy file of kube-apiserver. path is empty without ABAC.
type policyFile struct{ path, reload string }

// pendingPath returns the path of a marker file. The file exists from before a change of the policy until
// kube-apiserver has read the new policy. If a run ends in between, the next run reloads.
func (f *policyFile) pendingPath() string { return f.path + ".reload" }

// read returns the current policy, or nothing if it was never written.
func (f *policyFile) read() ([]byte, error) {
	policy, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return policy, err
}

// access is a pair of a group and a namespace to which the group has access.
type access struct {
	Group     string `json:"group"`
	Namespace string `json:"namespace"`
}

// linesByAccess returns the lines of a policy by access. It ignores lines that are not JSON.
func linesByAccess(policy []byte) map[access]string {
	out := map[access]string{}
	for line := range bytes.Lines(policy) {
		var p struct {
			Spec access `json:"spec"`
		}
		if json.Unmarshal(line, &p) == nil {
			out[p.Spec] += string(line)
		}
	}
	return out
}

// changes returns one line for people for each difference between the current policy and the given one.
func (f *policyFile) changes(policy []byte) ([]string, error) {
	if f.path == "" {
		return nil, nil
	}
	old, err := f.read()
	if err != nil {
		return nil, err
	}
	current, wanted := linesByAccess(old), linesByAccess(policy)
	all := maps.Clone(current)
	maps.Copy(all, wanted)
	var lines []string
	for a := range all {
		sign := "~"
		switch {
		case current[a] == wanted[a]:
			continue
		case current[a] == "":
			sign = "+"
		case wanted[a] == "":
			sign = "-"
		}
		lines = append(lines, fmt.Sprintf("%s access to namespace %s for group %s", sign, a.Namespace, a.Group))
	}
	slices.Sort(lines)
	return lines, nil
}

// revoked returns the current policy without the lines that are not in the given one.
func (f *policyFile) revoked(policy []byte) ([]byte, error) {
	if f.path == "" {
		return nil, nil
	}
	wanted := map[string]bool{}
	for line := range bytes.Lines(policy) {
		wanted[string(line)] = true
	}
	old, err := f.read()
	if err != nil {
		return nil, err
	}
	var out []byte
	for line := range bytes.Lines(old) {
		if wanted[string(line)] {
			out = append(out, line...)
		}
	}
	return out, nil
}

// write replaces the policy and reloads kube-apiserver, if the policy has changed. It first calls prepare, and writes
// nothing if that fails. After prepare it continues in spite of signals.
func (f *policyFile) write(policy []byte, prepare func() error) error {
	if f.path == "" {
		return nil
	}
	old, err := f.read()
	if err != nil {
		return err
	}
	_, err = os.Stat(f.pendingPath())
	if errors.Is(err, fs.ErrNotExist) && bytes.Equal(old, policy) {
		return nil
	}
	if err := prepare(); err != nil {
		return fmt.Errorf("%s was not written: %w", f.path, err)
	}
	if err := writeFile(f.pendingPath(), nil); err != nil {
		return err
	}
	if err := writeFile(f.path, policy); err != nil {
		return err
	}
	command := exec.Command(f.reload)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C in a terminal must not reach the program
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s was written, but kube-apiserver may not have read it: %s: %w; the next run retries", f.path,
			f.reload, err)
	}
	return os.Remove(f.pendingPath())
}

// writeFile replaces a file atomically, and durably across a power loss.
func writeFile(path string, content []byte) error {
	next := path + ".new"
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
