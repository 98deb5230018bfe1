// Package readiness waits until the machines' instances form a ready cluster. Nova's status ACTIVE does not
// mean that a machine is ready. Each machine reports its steps and failures on its console
// (bootstrap-report.service), and this package reads the console through Nova. So no machine needs to be
// reachable over the network. Then the package reads the state of the nodes from the cluster's API.
package readiness

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/utils/v2/openstack/clientconfig"
)

// Cloud is a client of the OpenStack project with the machines.
type Cloud struct {
	compute func() (*gophercloud.ServiceClient, error)
	// interval is the time between two reads of a machine's console.
	interval time.Duration
	// slots limits the number of consoles that are read in parallel.
	slots chan struct{}
}

// NewCloud returns a client of the project that OS_CLOUD or the OS_* variables select. It connects at the
// first request, so a preview makes no connection.
func NewCloud() *Cloud {
	return newCloud(sync.OnceValues(func() (*gophercloud.ServiceClient, error) {
		return clientconfig.NewServiceClient(context.Background(), "compute", nil)
	}), 5*time.Second)
}

func newCloud(compute func() (*gophercloud.ServiceClient, error), interval time.Duration) *Cloud {
	return &Cloud{compute: compute, interval: interval, slots: make(chan struct{}, 8)}
}

// Healthy returns the healthy machines among names. A machine is healthy if its instance is ACTIVE and its last
// reported state is ready. A machine whose console cannot be read counts as healthy, because it may be. Healthy
// returns an error if Nova cannot list the instances.
func (c *Cloud) Healthy(ctx context.Context, names []string) (map[string]bool, error) {
	healthy := map[string]bool{}
	compute, err := c.compute()
	if err != nil || len(names) == 0 {
		return healthy, err
	}
	// The filter uses no alternatives (|), because Nova on MySQL matches | literally.
	pages, err := servers.List(compute, servers.ListOpts{Name: "^" + regexp.QuoteMeta(commonPrefix(names))}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	list, err := servers.ExtractServers(pages)
	if err != nil {
		return nil, err
	}
	var lock sync.Mutex
	var reads sync.WaitGroup
	for _, server := range list {
		if server.Status != "ACTIVE" || !slices.Contains(names, server.Name) {
			continue
		}
		reads.Go(func() {
			console, err := c.console(ctx, server.ID)
			if r := parse(console); err != nil || r.ready {
				lock.Lock()
				defer lock.Unlock()
				healthy[server.Name] = true
			}
		})
	}
	reads.Wait()
	return healthy, nil
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

func (c *Cloud) console(ctx context.Context, id string) (string, error) {
	compute, err := c.compute()
	if err != nil {
		return "", err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return servers.ShowConsoleOutput(ctx, compute, id, servers.ShowConsoleOutputOpts{}).Extract()
}

// server returns the instance, or nil if it does not exist.
func (c *Cloud) server(ctx context.Context, id string) (*servers.Server, error) {
	compute, err := c.compute()
	if err != nil {
		return nil, err
	}
	server, err := servers.Get(ctx, compute, id).Extract()
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return nil, nil
	}
	return server, err
}
