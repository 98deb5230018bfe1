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

// policyFile is kube-apiserver's for ABAC, if it has one.
type policyFile struct{ path, reload string }

// pending is a file that is there from before the policy changes until kube-apiserver has read it. Where a run ended
// between the two, the next one reloads.
func (f *policyFile) pending() string { return f.path + ".reload" }

// read is the policy that is there; one that was never written is empty.
func (f *policyFile) read() ([]byte, error) {
	policy, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return policy, err
}

// access is whose it is, and where.
type access struct {
	Group     string `json:"group"`
	Namespace string `json:"namespace"`
}

// accesses are the policy's, each with its lines. What is no line of ours is nobody's.
func accesses(policy []byte) map[access]string {
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

// changes are lines for people, of who has access by the policy file and who shall have.
func (f *policyFile) changes(policy []byte) ([]string, error) {
	if f.path == "" {
		return nil, nil
	}
	old, err := f.read()
	if err != nil {
		return nil, err
	}
	is, shall := accesses(old), accesses(policy)
	all := maps.Clone(is)
	maps.Copy(all, shall)
	var lines []string
	for a := range all {
		sign := "~"
		switch {
		case is[a] == shall[a]:
			continue
		case is[a] == "":
			sign = "+"
		case shall[a] == "":
			sign = "-"
		}
		lines = append(lines, fmt.Sprintf("%s access to %s of %s", sign, a.Namespace, a.Group))
	}
	slices.Sort(lines)
	return lines, nil
}

// revoked is the policy that there is, without what is not in the new one.
func (f *policyFile) revoked(policy []byte) ([]byte, error) {
	if f.path == "" {
		return nil, nil
	}
	shall := map[string]bool{}
	for line := range bytes.Lines(policy) {
		shall[string(line)] = true
	}
	old, err := f.read()
	if err != nil {
		return nil, err
	}
	var out []byte
	for line := range bytes.Lines(old) {
		if shall[string(line)] {
			out = append(out, line...)
		}
	}
	return out, nil
}

// write has kube-apiserver have the policy, if it has another. Once it has begun it ends,
// whatever signals come. may tells whether to begin.
func (f *policyFile) write(policy []byte, may func() error) error {
	if f.path == "" {
		return nil
	}
	old, err := f.read()
	if err != nil {
		return err
	}
	_, err = os.Stat(f.pending())
	if errors.Is(err, fs.ErrNotExist) && bytes.Equal(old, policy) {
		return nil
	}
	if err := may(); err != nil {
		return fmt.Errorf("%s is not written: %w", f.path, err)
	}
	if err := replace(f.pending(), nil); err != nil {
		return err
	}
	if err := replace(f.path, policy); err != nil {
		return err
	}
	command := exec.Command(f.reload)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's ^C is for us alone
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s is written, and kube-apiserver may not have read it: %s: %w; the next run tries again", f.path,
			f.reload, err)
	}
	return os.Remove(f.pending())
}

// replace writes a file that is there as a whole or not at all, even after the power was off.
func replace(path string, content []byte) error {
	beside := path + ".new"
	file, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(beside, path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
