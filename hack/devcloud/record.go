package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"kubernetes-openstack/internal/dirs"
)

// The state folder:
//
//	lock           held by the command that changes anything
//	record.json    what runs now (Record)
//	data/          what stays over down and up: databases, images, volumes, instances
//	kept.json      says that data/ is complete, and what made it (Kept)
//	log/ log.old/  the services' output since the last up, and of the up before
//	run/           what the box and the host tell each other
//	root/          where the box, in its own mount namespace, mounts its root
//	clouds.yaml
func state(elem ...string) string { return dirs.State(append([]string{"devcloud"}, elem...)...) }

// Record is all that a box is made of and that the end of its first process does not end. It is written before what
// it tells of is made, so a box whose `up` was killed can still be taken away.
type Record struct {
	Init    Process   `json:"init"`
	Cgroups []string  `json:"cgroups"`
	Raised  string    `json:"raised"` // the boot in which inotifyLimit was raised; "": it was not
	Compute string    `json:"compute"`
	Mirror  string    `json:"mirror"` // the folder that is served to the instances
	Started time.Time `json:"started"`
	Ready   time.Time `json:"ready"` // zero until up has ended well
}

// Kept says what the kept data were made with.
type Kept struct {
	Compute string `json:"compute"`
	Image   string `json:"image"`
}

// load reads a JSON file of the state folder; a missing one leaves v as it is.
func load(name string, v any) error {
	content, err := os.ReadFile(state(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, v); err != nil {
		return fmt.Errorf("%s: %w", state(name), err)
	}
	return nil
}

// save writes a JSON file of the state folder, whole or not at all.
func save(name string, v any) error { return saveJSON(state(name), v) }

func saveJSON(path string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(path, append(content, '\n'), 0o644)
}

// replaceFile writes a file, whole or not at all.
func replaceFile(path string, content []byte, mode fs.FileMode) error {
	part := path + ".part"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // an old one might have another mode
	}
	if err := os.WriteFile(part, content, mode); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// lock keeps others from what the lock file at path stands for, until unlock is called or this process ends. wait is
// called if others have it.
func lock(path string, wait func()) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		wait()
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
	return func() { file.Close() }, nil
}
