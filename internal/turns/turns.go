// Package turns shares one machine among test suites that run in parallel, in one process or in several. A step that
// measures runs alone. All other steps run beside each other.
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
	// wish: a step that waits to run alone holds a shared lock until linger after its end. A step that runs
	// beside others needs an exclusive lock for a moment before it begins. So no such step begins while
	// another step waits to run alone. Otherwise the waiting step could wait forever.
	wish = "wish"
	// room: the step that runs alone holds an exclusive lock, and steps that run beside each other hold shared locks.
	room = "room"
)

// linger is how long other steps wait for the next step that runs alone. Each change from beside to alone waits until
// all steps end, so consecutive steps that run alone should not let others in between.
const linger = time.Second

// Alone waits until no other step runs, and keeps others from running until end is called. A step must not take a
// second turn before it ends the first: it would wait for itself. Take the turn before the step's clock starts.
func Alone(t testing.TB) (end func()) {
	t.Helper()
	wished, taken := lock(t, wish, syscall.LOCK_SH), lock(t, room, syscall.LOCK_EX)
	return func() {
		taken.Close()
		time.AfterFunc(linger, func() { wished.Close() })
	}
}

// Beside waits until no step runs alone or waits to run alone, and keeps steps from running alone until end is called.
func Beside(t testing.TB) (end func()) {
	t.Helper()
	wished, taken := lock(t, wish, syscall.LOCK_EX), lock(t, room, syscall.LOCK_SH)
	wished.Close()
	return func() { taken.Close() }
}

// lock opens a file and locks it. The file is in the cache folder, which suites with different state folders share.
func lock(t testing.TB, name string, how int) *os.File {
	t.Helper()
	path := dirs.Cache("turns", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	err = flock(file, how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		begin := time.Now()
		err = flock(file, how)
		t.Logf("waited %.1f s for its turn", time.Since(begin).Seconds())
	}
	if err != nil {
		t.Fatalf("lock %s: %v", path, err)
	}
	return file
}

func flock(file *os.File, how int) error {
	for {
		if err := syscall.Flock(int(file.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}
