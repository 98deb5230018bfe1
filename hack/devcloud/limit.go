package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// inotifyLimit is the one setting of the host's kernel that a devcloud changes while it runs: how many inotify
// instances root may have. All machines share it, and the kernel's own value, 128, is used up by five Kubernetes nodes.
const inotifyLimit = "/proc/sys/fs/inotify/max_user_instances"

// inotifyShare is what one devcloud adds to the limit, and takes away again: several do so in any order.
const inotifyShare = 4096

// raise adds to the limit in the file, which never becomes less than the kernel's own value.
func raise(limit string, by int) error {
	content, err := os.ReadFile(limit)
	if err != nil {
		return err
	}
	now, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return fmt.Errorf("%s: %w", limit, err)
	}
	return os.WriteFile(limit, []byte(strconv.Itoa(max(now+by, 128))), 0)
}
