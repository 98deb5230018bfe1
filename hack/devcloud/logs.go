package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// logPath returns the path of a service's log on the host. The log of the box itself has the name "box".
func logPath(service string) string { return state("log", service+".log") }

// logTail returns the path of a service's log, and its last lines.
func logTail(service string) string {
	const count = 15
	content, err := os.ReadFile(logPath(service))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return fmt.Sprintf("last lines of %s:\n  %s", logPath(service), strings.Join(lines[max(0, len(lines)-count):], "\n  "))
}

// logs prints a service's log, or the list of all logs, or copies all logs to a folder.
func logs(args []string) error {
	if len(args) == 2 {
		return copyLogs(args[1])
	}
	if len(args) == 1 {
		content, err := os.ReadFile(logPath(args[0]))
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(content)
		return err
	}
	paths, err := filepath.Glob(logPath("*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Printf("%9d  %s\n", info.Size(), path)
	}
	return nil
}

// machineLogs writes a tar archive with each machine's journal and the end of its console output.
const machineLogs = `
set -e
folder=$(mktemp -d)
for machine in /var/lib/nova/instances/*/root/; do
	[ -e $machine/etc/hostname ] || continue # after power-cut, until the next start
	name=$(cat $machine/etc/hostname)-$(basename $(dirname $machine) | cut -c -8)
	journalctl --directory=$machine/var/log/journal --no-pager --output=short-precise >$folder/$name.journal || true
	tail -c 1M $machine/../console.log | tr -d '\0' >$folder/$name.console
done
tar -C $folder -c .
rm -r $folder`

// copyLogs copies the logs of all services since the last up, and the logs of all machines, to a folder.
func copyLogs(folder string) error {
	services := filepath.Join(folder, "services")
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(services, 0o755)); err != nil {
		return err
	}
	paths, err := filepath.Glob(logPath("*"))
	for _, path := range paths {
		content, readErr := os.ReadFile(path)
		err = errors.Join(err, readErr, os.WriteFile(filepath.Join(services, filepath.Base(path)), content, 0o644))
	}
	var record Record
	if err := errors.Join(err, load("record.json", &record)); err != nil || !record.Init.alive() {
		return err
	}
	machines := filepath.Join(folder, "machines")
	if err := os.Mkdir(machines, 0o755); err != nil {
		return err
	}
	packed, unpack := record.enter("sh", "-c", machineLogs), exec.Command("tar", "-C", machines, "-x")
	packed.Stderr, unpack.Stderr = os.Stderr, os.Stderr
	if unpack.Stdin, err = packed.StdoutPipe(); err != nil {
		return err
	}
	if err := packed.Start(); err != nil {
		return err
	}
	return errors.Join(unpack.Run(), packed.Wait())
}
