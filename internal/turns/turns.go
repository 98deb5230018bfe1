// Package turns shares one machine among test suites that run in parallel, in one process or in several. A step that measures runs
// alone; all other steps run beside each other.
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

// Two files are locked by flock, always in this order. A process that ends, however it ends, has no locks.
const (
	// wish is locked shared from the moment when a step asks to run alone until linger after its end, and exclusively for the
	// moment in which a step begins beside others. So no further step begins while one wishes to be alone: flock itself would
	// prefer the others for ever.
	wish = "wish"
	// room is locked exclusively by the step that runs alone, and shared by those that run beside each other.
	room = "room"
)

// linger is how long the others wait for the next step that runs alone. Each change between alone and beside costs the time in
// which the last of the others' steps end, so such steps in a row are better done in a row.
const linger = time.Second

// Alone waits until no other step runs, and keeps others from running until end is called. A step takes one turn, and no second one
// before its end: it would wait for itself. The turn begins before the step's clock: what is waited for is not its time.
func Alone(t testing.TB) (end func()) {
	t.Helper()
	wished, taken := lock(t, wish, syscall.LOCK_SH), lock(t, room, syscall.LOCK_EX)
	return func() {
		taken.Close()
		time.AfterFunc(linger, func() { wished.Close() })
	}
}

// Beside waits until no step runs alone, nor wishes to, and keeps steps from running alone until end is called.
func Beside(t testing.TB) (end func()) {
	t.Helper()
	wished, taken := lock(t, wish, syscall.LOCK_EX), lock(t, room, syscall.LOCK_SH)
	wished.Close()
	return func() { taken.Close() }
}

// lock opens a file and locks it. The file is in the cache: suites with state folders of their own take turns, too.
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
