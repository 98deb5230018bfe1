// Package progress prints the steps of a long command: when a step begins, how long it took, and its CPU
// time.
package progress

import (
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// Log prints one line for each event of a step. Steps may run in parallel.
type Log struct {
	mu    sync.Mutex
	out   io.Writer
	name  string
	start time.Time
}

// New returns a Log. Its lines begin with name and the seconds since the call of New.
func New(out io.Writer, name string) *Log {
	return &Log{out: out, name: name, start: time.Now()}
}

// Step prints a line, runs f, and prints the duration and the CPU time. The error of f is wrapped with the
// step's name. The CPU time is that of this process and of the commands that ended during the step. It
// includes the CPU time of parallel steps.
func (l *Log) Step(name string, f func() error) error {
	l.Printf("%s …", name)
	begin, used := time.Now(), cpuTime()
	if err := f(); err != nil {
		l.Printf("%s FAILED after %.1f s", name, time.Since(begin).Seconds())
		return fmt.Errorf("%s: %w", name, err)
	}
	l.Printf("%s %.1f s, CPU %.1f s", name, time.Since(begin).Seconds(), (cpuTime() - used).Seconds())
	return nil
}

// cpuTime returns the user and system time of this process and its ended children.
func cpuTime() (sum time.Duration) {
	for _, process := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if syscall.Getrusage(process, &usage) == nil {
			sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
	}
	return sum
}

// Printf prints one line with the Log's prefix.
func (l *Log) Printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%s %6.1f  %s\n", l.name, time.Since(l.start).Seconds(), fmt.Sprintf(format, args...))
}
