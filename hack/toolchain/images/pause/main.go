// Command pause is the first process of a pod. It keeps the pod's namespaces open until it receives SIGINT or SIGTERM.
// If the pod's containers share its process namespace, it also reaps their orphaned processes.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	exited := make(chan os.Signal, 1) // a buffer of one is sufficient, because reap reaps all exited children
	signal.Notify(exited, syscall.SIGCHLD)
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGINT, syscall.SIGTERM)
	for {
		reap() // first the children that exited before the program received signals
		select {
		case <-exited:
		case <-terminate:
			return
		}
	}
}

// reap reads the exit status of all exited children.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 && err != syscall.EINTR {
			return
		}
	}
}
