package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/schedulerstats"
	volumeservices "github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/services"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/hypervisors"
	computeservices "github.com/gophercloud/gophercloud/v2/openstack/compute/v2/services"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/agents"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/containers"
)

// reporting are the programs that report their state to OpenStack's databases.
var reporting = []string{
	"nova-conductor", "nova-scheduler", "nova-compute", "cinder-scheduler", "cinder-volume",
	"neutron-linuxbridge-agent", "neutron-dhcp-agent", "neutron-l3-agent", "neutron-metadata-agent",
}

// waitReady waits until every program has reported since the record's start, Nova has a hypervisor, Cinder has a pool,
// and Swift accepts a token. After the timeout, the error names what is missing.
func waitReady(ctx context.Context, record Record, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	missing := errors.New("OpenStack does not respond")
	for {
		client, err := admin(ctx)
		if err == nil {
			err = missingParts(ctx, client, record)
		}
		if record.Ready.IsZero() { // later, a restart of a service is not an error
			if err := restartLoop(); err != nil {
				return err
			}
		}
		if err == nil {
			return nil
		}
		if ctx.Err() == nil { // otherwise the request was only cut off by the timeout
			missing = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", missing, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// restartLoop returns an error if a service restarts repeatedly.
func restartLoop() error {
	var units []Unit
	if err := load("run/units.json", &units); err != nil {
		return err
	}
	for _, unit := range units {
		if unit.Restarts > 2 {
			return fmt.Errorf("%s ends after each start\n%s", unit.Name, logTail(unit.Name))
		}
	}
	return nil
}

// dhcpAgentQueue matches the agent's queue in RabbitMQ's list if it has a consumer.
var dhcpAgentQueue = regexp.MustCompile(`(?m)^dhcp_agent\.devcloud\t[1-9]`)

// missingParts checks all parts once. A state from before the record's start does not count, because it is from an old
// database.
func missingParts(ctx context.Context, client *gophercloud.ProviderClient, record Record) error {
	compute, err := openstack.NewComputeV2(client, inRegion)
	if err != nil {
		return err
	}
	network, err := openstack.NewNetworkV2(client, inRegion)
	if err != nil {
		return err
	}
	storage, err := openstack.NewBlockStorageV3(client, inRegion)
	if err != nil {
		return err
	}
	missing := slices.Clone(reporting)
	reported := func(binary string, up bool, at time.Time) {
		if up && at.After(record.Started) {
			missing = slices.DeleteFunc(missing, func(name string) bool { return name == binary })
		}
	}

	pages, err := computeservices.List(compute, nil).AllPages(ctx)
	if err != nil {
		return fmt.Errorf("nova: %w", err)
	}
	nova, err := computeservices.ExtractServices(pages)
	if err != nil {
		return fmt.Errorf("nova: %w", err)
	}
	for _, service := range nova {
		reported(service.Binary, service.State == "up", service.UpdatedAt)
	}
	if pages, err = agents.List(network, nil).AllPages(ctx); err != nil {
		return fmt.Errorf("neutron: %w", err)
	}
	neutron, err := agents.ExtractAgents(pages)
	if err != nil {
		return fmt.Errorf("neutron: %w", err)
	}
	for _, agent := range neutron {
		reported(agent.Binary, agent.Alive, agent.HeartbeatTimestamp)
	}
	if pages, err = volumeservices.List(storage, nil).AllPages(ctx); err != nil {
		return fmt.Errorf("cinder: %w", err)
	}
	cinder, err := volumeservices.ExtractServices(pages)
	if err != nil {
		return fmt.Errorf("cinder: %w", err)
	}
	for _, service := range cinder {
		reported(service.Binary, service.State == "up", service.UpdatedAt)
	}
	if len(missing) > 0 {
		return fmt.Errorf("no report from %v\n%s", missing, logTail(missing[0]))
	}

	if pages, err = hypervisors.List(compute, nil).AllPages(ctx); err != nil {
		return fmt.Errorf("nova: %w", err)
	}
	if hosts, err := hypervisors.ExtractHypervisors(pages); err != nil || len(hosts) == 0 {
		return errors.Join(fmt.Errorf("nova-compute has registered no hypervisor\n%s", logTail("nova-compute")), err)
	}
	if pages, err = schedulerstats.List(storage, nil).AllPages(ctx); err != nil {
		return fmt.Errorf("cinder: %w", err)
	}
	if pools, err := schedulerstats.ExtractStoragePools(pages); err != nil || len(pools) == 0 {
		return errors.Join(fmt.Errorf("cinder-volume has no storage pool\n%s", logTail("cinder-volume")), err)
	}

	objects, err := openstack.NewObjectStorageV1(client, inRegion)
	if err != nil {
		return err
	}
	if _, err := containers.List(objects, nil).AllPages(ctx); err != nil {
		return fmt.Errorf("swift: %w", err)
	}

	// The DHCP agent reports long before it has configured the existing networks. Until then it loses Neutron's messages.
	queues, err := record.enter("rabbitmqctl", "list_queues", "--quiet", "name", "consumers").Output()
	if err != nil || !dhcpAgentQueue.Match(queues) {
		return errors.Join(fmt.Errorf("neutron-dhcp-agent reads no messages\n%s", logTail("neutron-dhcp-agent")), err)
	}
	return nil
}
