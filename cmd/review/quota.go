package main

import (
	"context"
	"fmt"

	volume "github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/limits"
	compute "github.com/gophercloud/gophercloud/v2/openstack/compute/v2/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"

	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/review"
)

// readQuota reads what is left in the OpenStack project that OS_CLOUD or the OS_* variables select.
func readQuota(ctx context.Context) (review.Quota, error) {
	project, err := openstack.Connect(ctx, "compute", "volume", "network")
	if err != nil {
		return review.Quota{}, fmt.Errorf("log in to OpenStack: %w", err)
	}
	nova, err := compute.Get(ctx, project.Compute, nil).Extract()
	if err != nil {
		return review.Quota{}, fmt.Errorf("read the limits of Nova: %w", err)
	}
	cinder, err := volume.Get(ctx, project.Volume).Extract()
	if err != nil {
		return review.Quota{}, fmt.Errorf("read the limits of Cinder: %w", err)
	}
	neutron, err := quotas.GetDetail(ctx, project.Network, project.ID).Extract()
	if err != nil {
		return review.Quota{}, fmt.Errorf("read the quota of Neutron: %w", err)
	}
	of := func(d quotas.QuotaDetail) int { return left(d.Limit, d.Used+d.Reserved) }
	return review.Quota{
		Project:        project.ID,
		Instances:      left(nova.Absolute.MaxTotalInstances, nova.Absolute.TotalInstancesUsed),
		ServerGroups:   left(nova.Absolute.MaxServerGroups, nova.Absolute.TotalServerGroupsUsed),
		Volumes:        left(cinder.Absolute.MaxTotalVolumes, cinder.Absolute.TotalVolumesUsed),
		Gigabytes:      left(cinder.Absolute.MaxTotalVolumeGigabytes, cinder.Absolute.TotalGigabytesUsed),
		Ports:          of(neutron.Port),
		Rules:          of(neutron.SecurityGroupRule),
		SecurityGroups: of(neutron.SecurityGroup),
		FloatingIPs:    of(neutron.FloatingIP),
	}, nil
}

// left returns what is left of a limit, or -1 without a limit.
func left(limit, used int) int {
	if limit < 0 {
		return -1
	}
	return max(0, limit-used)
}
