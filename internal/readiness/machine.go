package readiness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"

	"kubernetes-openstack/internal/bootstraptoken"
)

// Machine describes the machine to wait for.
type Machine struct {
	// Name is the machine's hostname, and ID is the ID of its instance.
	Name, ID string
	// Node is true if the machine is a Kubernetes node. It is false for a member of etcd.
	Node bool
	// Kubeconfig is that of the cluster. Without reports on the console, the API shows whether the machine is ready.
	Kubeconfig string
	// Seed is that of the node's bootstrap tokens.
	Seed bootstraptoken.Seed
	// Timeout is the time limit, from the start of the wait.
	Timeout time.Duration
}

// settled is the time after which a running instance of etcd counts as ready if its console has no output and the API
// is ready. The API does not show the members of etcd, and a new member is ready much earlier.
const settled = 3 * time.Minute

// readsPerStatus is the number of reads of the console for each read of the instance's status.
const readsPerStatus = 10

// Machine waits until a machine is ready. It passes each line of the machine's report to log. An error of log
// means that the engine has ended, and ends the wait. When the machine is ready, Machine passes the notices
// to log. They begin with the step: "calico-peers: notice: …". After the timeout, the error names the machine
// and the step, and contains the log and the commands for more information.
//
// While an instance is not a node yet, Machine lets it join the cluster.
func (c *Cloud) Machine(ctx context.Context, m Machine, log func(line string) error) error {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	token := nodeToken{machine: m}
	var last report
	var console string
	var consoleErr, apiErr, tokenErr error
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
			server, err := c.active(ctx, m)
			switch {
			case err != nil:
				return err
			case server != nil && last.ready:
				token.delete(ctx)
				return logAll(last.noticeLines())
			case server != nil && len(last.lines) == 0 && m.Kubeconfig != "":
				if err := m.readyInAPI(ctx, server, console); err == nil {
					token.delete(ctx)
					return nil
				} else if ctx.Err() == nil {
					apiErr = err
				}
			}
		}
		if err := token.create(ctx); ctx.Err() == nil {
			tokenErr = err
		}
		select {
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			return last.failure(m, console, consoleErr, apiErr, tokenErr)
		case <-time.After(c.interval):
		}
	}
}

// readyInAPI returns nil if the Kubernetes API shows that a machine without reports on its console is ready.
//
// The API does not show the members of etcd, so the age of the instance decides. If the console has output and no
// report, a new machine has not begun its report, for example because its image does not boot. Then the age must exceed
// the timeout, so the wait for a new machine fails. Otherwise the rollout would continue, and etcd would lose its
// quorum.
func (m Machine) readyInAPI(ctx context.Context, server *servers.Server, console string) error {
	api, err := newAPI(m.Kubeconfig)
	if err != nil {
		return err
	}
	if m.Node {
		return api.ready(ctx, map[string]string{m.Name: m.ID})
	}
	if _, err := api.nodes(ctx); err != nil {
		return err
	}
	limit := settled
	if console != "" {
		limit += m.Timeout
	}
	started := server.Created
	if server.LaunchedAt.After(started) { // the creation may take minutes, for example to copy the image
		started = server.LaunchedAt
	}
	if time.Since(started) < limit {
		return fmt.Errorf("without reports, a member of etcd counts as ready %s after its creation", limit)
	}
	return nil
}

// active returns the instance if its status is ACTIVE, otherwise nil. It returns an error only if waiting cannot
// help. A failed request to Nova is not such an error.
func (c *Cloud) active(ctx context.Context, m Machine) (*servers.Server, error) {
	server, err := c.server(ctx, m.ID)
	switch {
	case err != nil:
		return nil, nil
	case server == nil:
		return nil, fmt.Errorf("%s: its instance %s no longer exists", m.Name, m.ID)
	case server.Status == "ERROR":
		return nil, fmt.Errorf("%s: its instance %s has the status ERROR: %s\n"+
			"  fix the cause, then `pulumi up` replaces the instance; more: openstack server show %[2]s", m.Name, m.ID,
			server.Fault.Message)
	case server.Status != "ACTIVE":
		return nil, nil
	}
	return server, nil
}

// failure returns the error that explains why m is not ready.
func (r *report) failure(m Machine, console string, consoleErr, apiErr, tokenErr error) error {
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
	if apiErr != nil && len(r.lines) == 0 {
		fmt.Fprintf(&b, "\n  without reports on the console, the Kubernetes API decides: %s", apiErr)
	}
	if tokenErr != nil {
		fmt.Fprintf(&b, "\n  its instance cannot join the cluster: %s", tokenErr)
	}
	if unit == "node" {
		unit = "kubelet"
	}
	fmt.Fprintf(&b, "\n  more: openstack console log show %s; on the machine: journalctl -u %s", m.ID, unit)
	return errors.New(b.String())
}
