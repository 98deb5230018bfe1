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

// Unit is the state of a service. The box writes it for the host.
type Unit struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	PID      int       `json:"pid,omitempty"` // in the box's PID namespace
	Since    time.Time `json:"since"`
	Restarts int       `json:"restarts,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// States of a unit.
const (
	waiting  = "waiting"  // for other services
	starting = "starting" // a service that does not respond yet, or a job that runs
	running  = "running"
	done     = "done"   // a job that succeeded
	failed   = "failed" // a job that failed, or a service that ended before it responded
)

// restartDelay prevents a service that cannot run from using a whole processor.
const restartDelay = time.Second

// supervisor starts services in the order of their dependencies, restarts services that end, and reports their states.
// It is the box's first process, and so the parent of all orphans.
type supervisor struct {
	logs   string // the folder of <service>.log
	report func([]Unit)

	mu       sync.Mutex // held while a process starts, because the reaper must find each process in children
	units    []Unit
	children map[int]chan syscall.WaitStatus
}

// run starts the services and supervises them. It does not return.
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
				if needed, ok := ready[name]; ok { // otherwise it does not run in this box
					<-needed
				}
			}
			s.supervise(i, service, ready[service.Name])
		}()
	}
	s.reap()
}

// supervise runs a service forever, or a job once. It closes ready when others may start.
func (s *supervisor) supervise(i int, service Service, ready chan struct{}) {
	for first := true; ; {
		pid, ended, err := s.start(service)
		if err != nil {
			s.set(i, failed, 0, err.Error())
			return
		}
		s.set(i, starting, pid, "")
		ctx, cancel := context.WithCancel(context.Background())
		var responded <-chan struct{} // nil for a job
		if !service.Job {
			responded = responds(ctx, service.Ready)
		}
		var status syscall.WaitStatus
		for alive := true; alive; {
			select {
			case <-responded:
				responded = nil
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
			s.set(i, failed, 0, exitReason(status))
			return
		}
		s.set(i, starting, 0, exitReason(status))
		time.Sleep(restartDelay)
	}
}

// exitReason describes how a process ended.
func exitReason(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// start starts a service's command in its own session. It appends the output to the service's log.
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

// set changes a unit and reports all units.
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

// reap waits for all processes of the box that end.
func (s *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err == syscall.ECHILD { // no process is running, because all services wait
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

// responds returns a channel that it closes when the address responds. It stops when ctx is done. tcp://host:port and
// unix:///path must accept a connection, and http://… must send any response. "" counts as an address that responds.
func responds(ctx context.Context, address string) <-chan struct{} {
	responded := make(chan struct{})
	go func() {
		for probe(ctx, address) != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		close(responded)
	}()
	return responded
}

// probe connects to the address once.
func probe(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	target, err := url.Parse(address)
	if err != nil {
		return err
	}
	if target.Scheme == "http" {
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
	connection, err := (&net.Dialer{}).DialContext(ctx, target.Scheme, target.Host+target.Path)
	if err != nil {
		return err
	}
	return connection.Close()
}
