package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// logPath is a service's log on the host; the box's own is "box".
func logPath(service string) string { return state("log", service+".log") }

// logTail is the end of a service's log, after its path.
func logTail(service string) string {
	const most = 15
	content, err := os.ReadFile(logPath(service))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return fmt.Sprintf("the end of %s:\n  %s", logPath(service), strings.Join(lines[max(0, len(lines)-most):], "\n  "))
}

// logs prints a service's log, or which there are.
func logs(args []string) error {
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
