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
//	lock           locked by the command that changes anything
//	record.json    the running box (Record)
//	data/          kept over down and up: databases, images, volumes, instances
//	kept.json      exists if data/ is complete, and describes how it was created (Kept)
//	log/ log.old/  the services' output since the last up, and since the up before it
//	run/           files that the box and the host exchange
//	root/          the box mounts its root here, in its own mount namespace
//	clouds.yaml
func state(elem ...string) string { return dirs.State(append([]string{"devcloud"}, elem...)...) }

// Record lists everything of a box that does not end with its first process. It is written before the things that it
// lists are created. So a later run can remove a box whose `up` was killed.
type Record struct {
	Init    Process  `json:"init"`
	Cgroups []string `json:"cgroups"`
	// LimitBoot is the boot in which inotifyLimit was raised, or "" if it was not.
	LimitBoot string    `json:"raised"`
	Compute   string    `json:"compute"`
	Mirror    string    `json:"mirror"`   // the folder that is served to the instances
	Variants  string    `json:"variants"` // the differences from the default cloud, separated by commas
	Started   time.Time `json:"started"`
	Ready     time.Time `json:"ready"` // zero until up has succeeded
}

// runningBox returns the record of the running box.
func runningBox() (record Record, err error) {
	if err = load("record.json", &record); err == nil && !record.Init.alive() {
		err = errors.New("devcloud is not running: start it with `make cloud`")
	}
	return record, err
}

// Kept describes how the kept data was created.
type Kept struct {
	Compute   string `json:"compute"`
	Image     string `json:"image"`
	Catalogue string `json:"catalogue"` // the services in Keystone's catalogue
	Variants  string `json:"variants"`
}

// load reads a JSON file in the state folder. If it is missing, v stays unchanged.
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

// save writes a JSON file in the state folder atomically.
func save(name string, v any) error { return saveJSON(state(name), v) }

func saveJSON(path string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(path, append(content, '\n'), 0o644)
}

// replaceFile writes a file atomically.
func replaceFile(path string, content []byte, mode fs.FileMode) error {
	part := path + ".part"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // an old file might have another mode
	}
	if err := os.WriteFile(part, content, mode); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// lock locks the file at path until unlock is called or this process ends. It calls wait if another process has the
// lock.
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
