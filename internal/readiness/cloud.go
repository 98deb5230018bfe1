// Package readiness watches machines on their way from an instance that Nova calls ACTIVE to a working part of a
// cluster: each says on its console, which Nova keeps, what it does and what fails (bootstrap-report.service). So no
// machine needs to be reachable. Then it asks the cluster's own API.
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

// Cloud is the OpenStack project that the machines are in.
type Cloud struct {
	compute func() (*gophercloud.ServiceClient, error)
	// interval between two looks at one machine.
	interval time.Duration
	// slots limit how many consoles are read at once.
	slots chan struct{}
}

// NewCloud is the project that OS_CLOUD or OS_* name. It connects when it is first asked: a preview asks nothing.
func NewCloud() *Cloud {
	return newCloud(sync.OnceValues(func() (*gophercloud.ServiceClient, error) {
		return clientconfig.NewServiceClient(context.Background(), "compute", nil)
	}), 5*time.Second)
}

func newCloud(compute func() (*gophercloud.ServiceClient, error), interval time.Duration) *Cloud {
	return &Cloud{compute: compute, interval: interval, slots: make(chan struct{}, 8)}
}

// Working tells which of the machines of these names work now: an instance is there, and ready is the last it said. One
// whose console cannot be read may work, so it is taken to.
func (c *Cloud) Working(ctx context.Context, names []string) (map[string]bool, error) {
	working := map[string]bool{}
	compute, err := c.compute()
	if err != nil || len(names) == 0 {
		return working, err
	}
	// No alternatives: Nova on MySQL takes | for itself.
	pages, err := servers.List(compute, servers.ListOpts{Name: "^" + regexp.QuoteMeta(commonPrefix(names))}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	list, err := servers.ExtractServers(pages)
	if err != nil {
		return nil, err
	}
	var lock sync.Mutex
	var looks sync.WaitGroup
	for _, server := range list {
		if server.Status != "ACTIVE" || !slices.Contains(names, server.Name) {
			continue
		}
		looks.Go(func() {
			console, err := c.console(ctx, server.ID)
			if r := parse(console); err != nil || r.ready {
				lock.Lock()
				defer lock.Unlock()
				working[server.Name] = true
			}
		})
	}
	looks.Wait()
	return working, nil
}

// commonPrefix is what all names begin with.
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

// server is the instance, or nil where there is none.
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
