package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// execute runs a shell line as root in an instance or on the router. instance is the name or ID of an instance in any
// project, or router.
func execute(instance, line string) error {
	record, err := runningBox()
	if err != nil {
		return err
	}
	if instance == router {
		return attached(record.enter("ip", "netns", "exec", router, "bash", "-lc", line))
	}
	folder, err := machineFolder(record.root(), instance)
	if err != nil {
		return err
	}
	return attached(record.enter("/opt/devcloud/nova/nspawn-enter", folder, "bash", "-lc", line))
}

// configDrive is the path of Nova's metadata in a machine's folder.
const configDrive = "root/var/lib/cloud/seed/config_drive/openstack/latest/meta_data.json"

// machineFolder returns the folder of an instance in the box, whose root is mounted at root. It reads the machines'
// config drives instead of Nova's API: a login to Keystone takes longer than most commands.
func machineFolder(root, instance string) (string, error) {
	const folders = "/var/lib/nova/instances"
	found, err := filepath.Glob(filepath.Join(root, folders, "*", configDrive))
	if err != nil {
		return "", err
	}
	for _, path := range found {
		var metadata struct{ UUID, Name string }
		if content, err := os.ReadFile(path); err != nil || json.Unmarshal(content, &metadata) != nil {
			continue // the instance is being created or deleted
		}
		if metadata.Name == instance || metadata.UUID == instance {
			return filepath.Join(folders, metadata.UUID), nil
		}
	}
	return "", fmt.Errorf("no instance has the name or ID %q", instance)
}

// attached runs a command with the standard input and output of this process.
func attached(command *exec.Cmd) error {
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	return command.Run()
}
