package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"kubernetes-openstack/internal/dirs"
)

// A snapshot is the databases right after all schemas were made and the catalogue was written, and Keystone's keys:
//
//	databases.sql
//	keystone/
//
// A first start that finds one need not make them.

// snapshotPath is where the cache has the snapshot that this root filesystem, these configurations and these services
// make.
func snapshotPath(rootfs string) (string, error) {
	madeBy := []string{filepath.Base(rootfs), fmt.Sprint(catalogue, externalGateway)}
	for _, service := range services("fake") { // these are the same with all drivers
		if service.Only == onFirst || service.Only == onMigrate {
			madeBy = append(madeBy, service.Command)
		}
	}
	key, err := recipeKey(configs, madeBy)
	return dirs.Cache("devcloud", "snapshot-"+key), err
}

// keepSnapshot moves what the box's snapshot job made to the cache, in place of all older ones.
func keepSnapshot(path string) error {
	part := filepath.Join(filepath.Dir(path), "snapshot.part")
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := copyFolder(state("run", "snapshot"), part); err != nil {
		return err
	}
	old, err := filepath.Glob(dirs.Cache("devcloud", "snapshot-*"))
	if err != nil {
		return err
	}
	for _, folder := range old {
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
	}
	return os.Rename(part, path)
}

// copyFolder keeps owners and modes: a snapshot has keys.
func copyFolder(from, to string) error {
	if output, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, output)
	}
	return nil
}
