// Package progress prints what a long command is doing: each step as it begins,
// how long it took, and how much CPU time.
package progress

import (
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// Log prints steps, one line each; steps may run side by side.
type Log struct {
	mu    sync.Mutex
	out   io.Writer
	name  string
	start time.Time
}

// New is a Log whose lines begin with name and the seconds since now.
func New(out io.Writer, name string) *Log {
	return &Log{out: out, name: name, start: time.Now()}
}

// Step runs f and prints what begins and what it took; the error of f names the step. The CPU time is that of this
// process and of the commands that ended meanwhile, those of a parallel step included.
func (l *Log) Step(what string, f func() error) error {
	l.Printf("%s …", what)
	begin, used := time.Now(), cpuTime()
	if err := f(); err != nil {
		l.Printf("%s FAILED after %.1f s", what, time.Since(begin).Seconds())
		return fmt.Errorf("%s: %w", what, err)
	}
	l.Printf("%s %.1f s, CPU %.1f s", what, time.Since(begin).Seconds(), (cpuTime() - used).Seconds())
	return nil
}

// cpuTime is what this process and its ended children have used, in user and system mode.
func cpuTime() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if syscall.Getrusage(who, &usage) == nil {
			sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
	}
	return sum
}

// Printf prints one line.
func (l *Log) Printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%s %6.1f  %s\n", l.name, time.Since(l.start).Seconds(), fmt.Sprintf(format, args...))
}
