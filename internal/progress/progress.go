// Package progress prints what a long command is doing: each step as it begins, and how long it took.
package progress

import (
	"fmt"
	"io"
	"sync"
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

// Step runs f and prints what begins and what it took; the error of f names the step.
func (l *Log) Step(what string, f func() error) error {
	l.Printf("%s …", what)
	begin := time.Now()
	if err := f(); err != nil {
		l.Printf("%s FAILED after %.1f s", what, time.Since(begin).Seconds())
		return fmt.Errorf("%s: %w", what, err)
	}
	l.Printf("%s %.1f s", what, time.Since(begin).Seconds())
	return nil
}

// Printf prints one line.
func (l *Log) Printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%s %6.1f  %s\n", l.name, time.Since(l.start).Seconds(), fmt.Sprintf(format, args...))
}
