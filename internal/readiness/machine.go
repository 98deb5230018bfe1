package readiness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Machine describes the machine to wait for.
type Machine struct {
	// Name is the machine's hostname, and ID is the ID of its instance.
	Name, ID string
	// Timeout is the time limit, from the start of the wait.
	Timeout time.Duration
}

// readsPerStatus is the number of reads of the console for each read of the instance's status.
const readsPerStatus = 10

// Machine waits until a machine is ready. It passes each line of the machine's report to log. An error of log
// means that the engine has ended, and ends the wait. When the machine is ready, Machine passes the notices
// to log. They begin with the step: "calico-peers: notice: …". After the timeout, the error names the machine
// and the step, and contains the log and the commands for more information.
func (c *Cloud) Machine(ctx context.Context, m Machine, log func(line string) error) error {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	var last report
	var console string
	var consoleErr error
	logAll := func(lines []string) error {
		for _, line := range lines {
			if err := log(line); err != nil {
				return fmt.Errorf("%s: lost the connection to the Pulumi engine: %w", m.Name, err)
			}
		}
		return nil
	}
	for reads := 0; ; reads++ {
		text, err := c.console(ctx, m.ID)
		if err == nil {
			now := parse(text)
			lines := newLines(last.lines, now.lines)
			if reads == 0 && now.ready {
				lines = nil // the machine was ready before this `up`
			}
			// notices wait until the machine is ready, because they may disappear until then
			if err := logAll(slices.DeleteFunc(slices.Clone(lines), isNotice)); err != nil {
				return err
			}
			last, console = now, text
		}
		if ctx.Err() == nil {
			consoleErr = err
		}
		if last.ready || reads%readsPerStatus == 0 {
			if active, err := c.active(ctx, m); err != nil {
				return err
			} else if last.ready && active {
				return logAll(last.noticeLines())
			}
		}
		select {
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			return last.failure(m, console, consoleErr)
		case <-time.After(c.interval):
		}
	}
}

// active returns true if the instance's status is ACTIVE. It returns an error only if waiting cannot help. A
// failed request to Nova is not such an error.
func (c *Cloud) active(ctx context.Context, m Machine) (bool, error) {
	server, err := c.server(ctx, m.ID)
	switch {
	case err != nil:
		return false, nil
	case server == nil:
		return false, fmt.Errorf("%s: its instance %s no longer exists", m.Name, m.ID)
	case server.Status == "ERROR":
		return false, fmt.Errorf("%s: its instance %s has the status ERROR: %s\n"+
			"  fix the cause, then `pulumi up` replaces the instance; more: openstack server show %[2]s", m.Name, m.ID,
			server.Fault.Message)
	}
	return server.Status == "ACTIVE", nil
}

// failure returns the error that explains why m is not ready.
func (r *report) failure(m Machine, console string, consoleErr error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is not ready after %s: ", m.Name, m.Timeout)
	indented := func(lines []string) {
		for _, line := range lines {
			b.WriteString("\n    " + line)
		}
	}
	unit := "cloud-init -u first-boot"
	switch step := r.cause(); {
	case step != nil:
		unit = step.name
		fmt.Fprintf(&b, "%s is %s", step.name, strings.Replace(step.state, "started", "not done", 1))
		indented(step.log)
	case consoleErr != nil:
		fmt.Fprintf(&b, "cannot read its console: %s", consoleErr)
	case r.ready:
		b.WriteString("it has reported ready, but the status of its instance is not ACTIVE")
	case len(r.lines) > 0:
		fmt.Fprintf(&b, "the last line of its report is %q", r.lines[len(r.lines)-1])
	default:
		b.WriteString("no bootstrap output; last lines of the console:")
		lines := consoleLines(console)
		indented(lines[max(0, len(lines)-10):])
	}
	for _, other := range r.steps {
		if strings.HasPrefix(other.state, "failing: ") && other.name != unit {
			fmt.Fprintf(&b, "\n  %s is also %s", other.name, other.state)
		}
	}
	if unit == "node" {
		unit = "kubelet"
	}
	fmt.Fprintf(&b, "\n  more: openstack console log show %s; on the machine: journalctl -u %s", m.ID, unit)
	return errors.New(b.String())
}
