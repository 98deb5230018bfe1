// Package readiness waits until the machines' instances form a ready cluster. Nova's status ACTIVE does not
// mean that a machine is ready. Each machine reports its steps and failures on its console
// (bootstrap-report.service), and this package reads the console through Nova. So no machine needs to be
// reachable over the network. Then the package reads the state of the nodes from the cluster's API.
package readiness

import (
	"context"
	"net/http"
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
