// Package turns shares one machine among test suites that run in parallel, in one process or in several. A step that
// measures takes an exclusive turn and runs alone. All other steps take shared turns and run in parallel.
package turns

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"kubernetes-openstack/internal/dirs"
)

// The two files that flock locks, always in this order. The kernel releases the locks of a process when it ends.
const (
	// queueLock: an exclusive turn holds a shared lock from its request until queueDelay after its end. A shared
	// turn needs an exclusive lock for a moment before it begins. So no shared turn begins while an exclusive one
	// waits. Otherwise the exclusive turn could wait forever.
	queueLock = "queue"
	// turnLock: an exclusive turn holds an exclusive lock, and shared turns hold shared locks.
	turnLock = "turn"
)

// queueDelay is the time that shared turns wait after an exclusive turn for the next exclusive one. Each change from
// shared to exclusive turns waits until all steps end, so consecutive exclusive turns should not let others in between.
const queueDelay = time.Second

// Exclusive waits until no other step runs, and prevents others from running until end is called. A step must not take
// a second turn before it ends the first: it would wait for itself. Take the turn before the step's clock starts.
func Exclusive(t testing.TB) (end func()) {
	t.Helper()
	queue, turn := lock(t, queueLock, syscall.LOCK_SH), lock(t, turnLock, syscall.LOCK_EX)
	return func() {
		turn.Close()
		time.AfterFunc(queueDelay, func() { queue.Close() })
	}
}

// Shared waits until no exclusive turn runs or waits, and prevents exclusive turns until end is called.
func Shared(t testing.TB) (end func()) {
	t.Helper()
	queue, turn := lock(t, queueLock, syscall.LOCK_EX), lock(t, turnLock, syscall.LOCK_SH)
	queue.Close()
	return func() { turn.Close() }
}

// lock opens a file and locks it. The file is in the cache folder, which suites with different state folders share.
func lock(t testing.TB, name string, mode int) *os.File {
	t.Helper()
	path := dirs.Cache("turns", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	err = flock(file, mode|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		begin := time.Now()
		err = flock(file, mode)
		t.Logf("waited %.1f s for a turn", time.Since(begin).Seconds())
	}
	if err != nil {
		t.Fatalf("lock %s: %v", path, err)
	}
	return file
}

func flock(file *os.File, mode int) error {
	for {
		if err := syscall.Flock(int(file.Fd()), mode); err != syscall.EINTR {
			return err
		}
	}
}
