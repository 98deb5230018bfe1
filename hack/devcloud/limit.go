package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// inotifyLimit is the only setting of the host's kernel that a running devcloud changes: the number of root's inotify
// instances. All machines share it. Five Kubernetes nodes use up the kernel's default of 128.
const inotifyLimit = "/proc/sys/fs/inotify/max_user_instances"

// inotifyShare is the number that each devcloud adds to the limit and later subtracts. Several can do so in any order.
const inotifyShare = 4096

// changeLimit adds a number to the limit in a file. The limit never becomes lower than the kernel's default.
func changeLimit(limit string, by int) error {
	content, err := os.ReadFile(limit)
	if err != nil {
		return err
	}
	current, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return fmt.Errorf("%s: %w", limit, err)
	}
	return os.WriteFile(limit, []byte(strconv.Itoa(max(current+by, 128))), 0)
}
