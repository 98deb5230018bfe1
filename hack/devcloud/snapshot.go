package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"kubernetes-openstack/internal/dirs"
)

// A snapshot has Keystone's keys, and the databases with all schemas and the catalogue:
//
//	databases.sql
//	keystone/
//
// A first start restores the snapshot instead of creating the schemas.

// snapshotPath returns the path of the snapshot in the cache. Its key contains the root filesystem, the configuration
// files and the services that create the snapshot.
func snapshotPath(rootfs string) (string, error) {
	inputs := []string{filepath.Base(rootfs), fmt.Sprint(catalogue, externalGateway)}
	for _, service := range services("fake") { // the same for all drivers
		if service.Only == onFirst || service.Only == onMigrate {
			inputs = append(inputs, service.Command)
		}
	}
	key, err := recipeKey(configs, inputs)
	return dirs.Cache("devcloud", "snapshot-"+key), err
}

// keepSnapshot copies the output of the box's snapshot job to the cache, and deletes all older snapshots.
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

// copyFolder copies a folder with owners and modes, because a snapshot contains keys.
func copyFolder(from, to string) error {
	if output, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, output)
	}
	return nil
}
