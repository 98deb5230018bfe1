package readiness

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"

	"kubernetes-openstack/cluster"
)

// down are the statuses of instances that do not run. All other statuses, such as MIGRATING or REBOOT, are
// those of a machine that may be healthy.
var down = []string{
	"BUILD", "DELETED", "ERROR", "PAUSED", "SHELVED", "SHELVED_OFFLOADED", "SHUTOFF", "SOFT_DELETED", "SUSPENDED",
}

// RestoreKey is the key in an instance's metadata for the snapshot that its machine was created to restore.
const RestoreKey = "restore"

// Observe returns the conditions of the machines with these names, and whether the API of the kubeconfig serves.
// It returns an error if Nova cannot list the instances.
//
// A machine is broken only if its Node is not Ready and its console has a report of a failing or waiting step for
// stuckReads reads. If the API does not serve, a node waits for it, so then the machine must never have been ready.
// A new machine without a report is broken, too. For an older one, a missing report is no evidence: the console is
// empty after a live migration or a rotation of its log, other output can push the report out of it, and some clouds
// have no console output.
func (c *Cloud) Observe(ctx context.Context, kubeconfig string, names []string) (cluster.Observation, error) {
	o := cluster.Observation{
		Machines: map[string]cluster.Condition{}, Restores: map[string]string{}, Instances: map[string]bool{},
	}
	compute, err := c.compute()
	if err != nil || len(names) == 0 {
		return o, err
	}
	// The filter uses no alternatives (|), because Nova on MySQL matches | literally.
	pages, err := servers.List(compute, servers.ListOpts{Name: "^" + regexp.QuoteMeta(commonPrefix(names))}).AllPages(ctx)
	if err != nil {
		return o, err
	}
	list, err := servers.ExtractServers(pages)
	if err != nil {
		return o, err
	}
	for _, server := range list {
		o.Instances[server.ID] = true
	}
	list = slices.DeleteFunc(list, func(s servers.Server) bool {
		return !slices.Contains(names, s.Name) || slices.Contains(down, s.Status)
	})
	if len(list) == 0 {
		return o, nil // the API of a new cluster does not exist yet
	}
	ready := map[string]bool{} // IDs of instances whose Node is Ready
	if api, err := newAPI(kubeconfig); err == nil {
		nodes, err := api.nodes(ctx)
		o.Serving = err == nil
		for _, n := range nodes {
			if id, ok := strings.CutPrefix(n.Spec.ProviderID, providerID("")); ok && n.notReady() == "" {
				ready[id] = true
			}
		}
	}
	var lock sync.Mutex
	var reads sync.WaitGroup
	for _, server := range list {
		reads.Go(func() {
			condition := cluster.Healthy
			if !ready[server.ID] {
				condition = c.report(ctx, server.ID).condition(o.Serving, time.Since(server.Created))
			}
			lock.Lock()
			defer lock.Unlock()
			o.Machines[server.Name] = max(o.Machines[server.Name], condition)
			restore := server.Metadata[RestoreKey]
			if other, exists := o.Restores[server.Name]; exists && other != restore {
				restore = "" // of two instances with this name, one does not restore the snapshot of the plan
			}
			o.Restores[server.Name] = restore
		})
	}
	reads.Wait()
	return o, nil
}

// stuckReads is the number of reads of a console, each after the interval, in which a machine's step must be
// unfinished. A healthy machine may wait for a moment, for example while an etcd member restarts.
const stuckReads = 7

// fresh is the age of an instance up to which a missing report means that its machine was never ready.
const fresh = 5 * time.Minute

// stuck returns true if a step fails or waits.
func (r *report) stuck() bool {
	step := r.cause()
	return step != nil && step.state != "started"
}

// condition returns the condition of a machine whose Node is not Ready. age is the age of its instance.
func (r report) condition(serving bool, age time.Duration) cluster.Condition {
	switch {
	case r.ready:
		return cluster.Healthy
	case r.stuck() && (serving || !slices.ContainsFunc(r.lines, readyLine.MatchString)), age < fresh:
		return cluster.Broken
	}
	return cluster.Unknown
}

// report returns a machine's report. While the report is stuck or Nova does not answer, it reads the console up to
// stuckReads times. If Nova refuses the request, as a cloud without console output does, another one is useless.
func (c *Cloud) report(ctx context.Context, id string) report {
	for read := 1; ; read++ {
		text, err := c.console(ctx, id)
		r := parse(text)
		var code gophercloud.ErrUnexpectedResponseCode
		refused := errors.As(err, &code) && code.Actual < 500 && code.Actual != http.StatusTooManyRequests
		if err == nil && !r.stuck() || refused || read == stuckReads || ctx.Err() != nil {
			return r
		}
		time.Sleep(c.interval)
	}
}

// commonPrefix returns the longest common prefix of all names.
func commonPrefix(names []string) string {
	first, last := slices.Min(names), slices.Max(names)
	n := 0
	for n < min(len(first), len(last)) && first[n] == last[n] {
		n++
	}
	return first[:n]
}
