package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// execute runs a shell line as root in an instance of any project, which its name or its ID says, or as the router.
func execute(instance, line string) error {
	var record Record
	if err := load("record.json", &record); err != nil {
		return err
	}
	if !record.Init.alive() {
		return errors.New("devcloud does not run")
	}
	if instance == router {
		return attached(record.enter("ip", "netns", "exec", router, "bash", "-lc", line))
	}
	folder, err := machineFolder(fmt.Sprintf("/proc/%d/root", record.Init.PID), instance)
	if err != nil {
		return err
	}
	return attached(record.enter("/opt/devcloud/nova/nspawn-enter", folder, "bash", "-lc", line))
}

// configDrive is the path of Nova's metadata in a machine's folder.
const configDrive = "root/var/lib/cloud/seed/config_drive/openstack/latest/meta_data.json"

// machineFolder returns the folder of an instance in the box, whose root is mounted at root. It reads the machines'
// config drives and does not ask Nova: a login to Keystone takes longer than most commands.
func machineFolder(root, instance string) (string, error) {
	const folders = "/var/lib/nova/instances"
	found, err := filepath.Glob(filepath.Join(root, folders, "*", configDrive))
	if err != nil {
		return "", err
	}
	for _, path := range found {
		var is struct{ UUID, Name string }
		if content, err := os.ReadFile(path); err != nil || json.Unmarshal(content, &is) != nil {
			continue // it is being made, or deleted
		}
		if is.Name == instance || is.UUID == instance {
			return filepath.Join(folders, is.UUID), nil
		}
	}
	return "", fmt.Errorf("there is no instance %s", instance)
}

// attached runs a command whose input and output are ours.
func attached(command *exec.Cmd) error {
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	return command.Run()
}
