// Command pause is the first process of a pod: it holds the pod's namespaces until it is told to end. Where the pod's
// containers share its process namespace, it reaps what they leave behind.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	children := make(chan os.Signal, 1) // one is enough: a reaping ends when there is nothing left
	signal.Notify(children, syscall.SIGCHLD)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	for {
		select {
		case <-children:
			reap()
		case <-end:
			return
		}
	}
}

// reap takes the exit status of all children that ended.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 && err != syscall.EINTR {
			return
		}
	}
}
