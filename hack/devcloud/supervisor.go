package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Unit is how a service does, as the box tells the host.
type Unit struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	PID      int       `json:"pid,omitempty"` // in the box
	Since    time.Time `json:"since"`
	Restarts int       `json:"restarts,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// States of a unit.
const (
	waiting  = "waiting"  // for what it needs
	starting = "starting" // it runs, but does not answer; a job: it runs
	running  = "running"
	done     = "done"   // a job that ended well
	failed   = "failed" // a job that did not, or a service that ended before it answered
)

// restartDelay keeps a service that cannot run from using a processor.
const restartDelay = time.Second

// supervisor starts services in the order of what they need, starts those again that end, and tells how they do.
// It is the box's first process, and so the parent of all orphans.
type supervisor struct {
	logs   string // the folder of <service>.log
	report func([]Unit)

	mu       sync.Mutex // also held while a process starts: the reaper must not see one that is not in children
	units    []Unit
	children map[int]chan syscall.WaitStatus
}

// run starts the services and supervises them; it does not return.
func (s *supervisor) run(services []Service) {
	s.children = map[int]chan syscall.WaitStatus{}
	ready := map[string]chan struct{}{}
	for _, service := range services {
		ready[service.Name] = make(chan struct{})
		s.units = append(s.units, Unit{Name: service.Name, State: waiting, Since: time.Now()})
	}
	for i, service := range services {
		go func() {
			for _, name := range service.After {
				if needed, ok := ready[name]; ok { // else it is not for this box
					<-needed
				}
			}
			s.supervise(i, service, ready[service.Name])
		}()
	}
	s.reap()
}

// supervise runs a service for ever, or a job to its end; it closes ready when others may start.
func (s *supervisor) supervise(i int, service Service, ready chan struct{}) {
	for first := true; ; {
		pid, ended, err := s.start(service)
		if err != nil {
			s.set(i, failed, 0, err.Error())
			return
		}
		s.set(i, starting, pid, "")
		ctx, cancel := context.WithCancel(context.Background())
		var answered <-chan struct{} // never, for a job
		if !service.Job {
			answered = answers(ctx, service.Ready)
		}
		var status syscall.WaitStatus
		for alive := true; alive; {
			select {
			case <-answered:
				answered = nil
				s.set(i, running, pid, "")
				if first {
					first = false
					close(ready)
				}
			case status = <-ended:
				alive = false
			}
		}
		cancel()
		switch {
		case service.Job && status.ExitStatus() == 0:
			s.set(i, done, 0, "")
			close(ready)
			return
		case first:
			s.set(i, failed, 0, ending(status))
			return
		}
		s.set(i, starting, 0, ending(status))
		time.Sleep(restartDelay)
	}
}

// ending says how a process ended.
func ending(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "ended by signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// start starts a service's command in a session of its own, its output appended to its log.
func (s *supervisor) start(service Service) (pid int, ended chan syscall.WaitStatus, err error) {
	log, err := os.OpenFile(filepath.Join(s.logs, service.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, nil, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, nil, err
	}
	defer null.Close()
	command := []string{"/bin/sh", "-ec", service.Command}
	if service.User != "" {
		command = append([]string{"/usr/bin/setpriv", "--reuid", service.User, "--regid", service.User, "--init-groups"},
			command...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pid, err = syscall.ForkExec(command[0], command, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{null.Fd(), log.Fd(), log.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, nil, err
	}
	ended = make(chan syscall.WaitStatus, 1)
	s.children[pid] = ended
	return pid, ended, nil
}

// set changes a unit and reports all of them.
func (s *supervisor) set(i int, state string, pid int, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unit := &s.units[i]
	if unit.State == running && state == starting {
		unit.Restarts++
	}
	unit.State, unit.PID, unit.Error, unit.Since = state, pid, message, time.Now()
	s.report(slices.Clone(s.units))
}

// reap waits for every process of the box that ends.
func (s *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err == syscall.ECHILD { // all that remains waits for something
			time.Sleep(50 * time.Millisecond)
		}
		s.mu.Lock()
		if ended, ok := s.children[pid]; ok {
			ended <- status
			delete(s.children, pid)
		}
		s.mu.Unlock()
	}
}

// answers closes the channel when the address answers, until ctx is done: tcp://host:port and unix:///path take a
// connection, http://… sends any response; "" is answered at once.
func answers(ctx context.Context, address string) <-chan struct{} {
	answered := make(chan struct{})
	go func() {
		for ask(ctx, address) != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		close(answered)
	}()
	return answered
}

func ask(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	to, err := url.Parse(address)
	if err != nil {
		return err
	}
	if to.Scheme == "http" {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, to.Scheme, to.Host+to.Path)
	if err != nil {
		return err
	}
	return connection.Close()
}
