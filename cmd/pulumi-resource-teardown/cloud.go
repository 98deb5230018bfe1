package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"

	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/pages"
)

// cloud is a connection to the OpenStack project of the credentials. Nova and Cinder list only resources of the
// project. Neutron and Octavia need a filter, because they show administrators the resources of all projects.
type cloud struct{ *openstack.Project }

func connect(ctx context.Context) (cloud, error) {
	project, err := openstack.Connect(ctx, "compute", "network", "volume", "load-balancer")
	return cloud{project}, err
}

// instances returns the instances in the project, by ID. It leaves out those that Nova has deleted, and lists until it
// has released their resources in Placement.
func (c cloud) instances(ctx context.Context) (map[string]servers.Server, error) {
	all := map[string]servers.Server{}
	pager := servers.List(c.Compute, servers.ListOpts{})
	found, err := pages.Collect(ctx, pager, servers.ExtractServers, func(s servers.Server) (servers.Server, bool) {
		return s, s.Status != "DELETED"
	})
	for _, s := range found {
		all[s.ID] = s
	}
	return all, err
}

// clusterProperty is the metadata key in which cinder-csi-plugin stores its --cluster, on volumes and on
// snapshots.
const clusterProperty = "cinder.csi.openstack.org/cluster"

// leftovers returns all resources that a cluster's controllers created, with snapshots first.
func (c cloud) leftovers(ctx context.Context, cluster string) ([]leftover, error) {
	var all []leftover
	for _, kind := range []struct {
		name string
		list func(context.Context, string) ([]leftover, error)
	}{
		{"snapshots", c.snapshots}, {"volumes", c.volumes}, {"load balancers", c.loadBalancers},
		{"floating IPs", c.floatingIPs},
	} {
		found, err := kind.list(ctx, cluster)
		if err != nil {
			return nil, fmt.Errorf("list the %s of cluster %s: %w", kind.name, cluster, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func (c cloud) snapshots(ctx context.Context, cluster string) ([]leftover, error) {
	pager := snapshots.List(c.Volume, snapshots.ListOpts{})
	return pages.Collect(ctx, pager, snapshots.ExtractSnapshots, func(s snapshots.Snapshot) (leftover, bool) {
		about := fmt.Sprintf(": %d GiB of volume %s", s.Size, s.VolumeID)
		return leftover{
			kind: "snapshot", name: s.Name, id: s.ID, about: about + named(s.Metadata, "VolumeSnapshot", "volumesnapshot"),
			data: true, of: s.VolumeID, status: s.Status, idle: idle(s.Status),
			delete: func(ctx context.Context) error { return snapshots.Delete(ctx, c.Volume, s.ID).ExtractErr() },
		}, s.Metadata[clusterProperty] == cluster
	})
}

func (c cloud) volumes(ctx context.Context, cluster string) ([]leftover, error) {
	pager := volumes.List(c.Volume, volumes.ListOpts{})
	return pages.Collect(ctx, pager, volumes.ExtractVolumes, func(v volumes.Volume) (leftover, bool) {
		l := leftover{
			kind: "volume", name: v.Name, id: v.ID, about: fmt.Sprintf(": %d GiB", v.Size) + named(v.Metadata, "claim", "pvc"),
			data: true, status: v.Status, idle: idle(v.Status),
			delete: func(ctx context.Context) error { return volumes.Delete(ctx, c.Volume, v.ID, nil).ExtractErr() },
		}
		for _, a := range v.Attachments {
			l.attached = append(l.attached, a.ServerID)
		}
		return l, v.Metadata[clusterProperty] == cluster
	})
}

// idle returns true if teardown may request a delete in this status. After a failed deletion Cinder refuses
// the request, and its response has the reason.
func idle(status string) bool { return status == "available" || strings.HasPrefix(status, "error") }

// named returns the cluster's object that csi-provisioner or csi-snapshotter stored in metadata. It returns
// "" if they are not configured to store it.
func named(metadata map[string]string, noun, key string) string {
	name := metadata["csi.storage.k8s.io/"+key+"/name"]
	if name == "" {
		return ""
	}
	return fmt.Sprintf(", %s %s/%s", noun, metadata["csi.storage.k8s.io/"+key+"/namespace"], name)
}

// loadBalancers returns the load balancers of Services. Octavia deletes the listeners, pools and ports of a
// load balancer with it.
func (c cloud) loadBalancers(ctx context.Context, cluster string) ([]leftover, error) {
	if c.LoadBalancer == nil {
		return nil, nil
	}
	pager := loadbalancers.List(c.LoadBalancer, loadbalancers.ListOpts{ProjectID: c.ID})
	extract := loadbalancers.ExtractLoadBalancers
	return pages.Collect(ctx, pager, extract, func(b loadbalancers.LoadBalancer) (leftover, bool) {
		return leftover{
			kind: "load balancer", name: b.Name, id: b.ID,
			status: b.ProvisioningStatus, idle: b.ProvisioningStatus == "ACTIVE" || b.ProvisioningStatus == "ERROR",
			delete: func(ctx context.Context) error {
				return loadbalancers.Delete(ctx, c.LoadBalancer, b.ID, loadbalancers.DeleteOpts{Cascade: true}).ExtractErr()
			},
		}, ofService(b.Name, cluster)
	})
}

// ofService returns true for a name that cloud-controller-manager gives to a load balancer of the cluster:
// kube_service_CLUSTER_NAMESPACE_NAME. Names of namespaces and Services cannot contain _, so cluster a does
// not match the names of cluster a_b.
func ofService(name, cluster string) bool {
	service, ours := strings.CutPrefix(name, "kube_service_"+cluster+"_")
	return ours && strings.Count(service, "_") == 1
}

// floatingIPs returns the floating IPs that cloud-controller-manager created for load balancers, by their
// descriptions. A floating IP that somebody else created for a Service does not belong to the cluster. It is
// kept, as it is when its Service is deleted.
func (c cloud) floatingIPs(ctx context.Context, cluster string) ([]leftover, error) {
	pager := floatingips.List(c.Network, floatingips.ListOpts{ProjectID: c.ID})
	return pages.Collect(ctx, pager, floatingips.ExtractFloatingIPs, func(f floatingips.FloatingIP) (leftover, bool) {
		return leftover{
				kind: "floating IP", name: f.FloatingIP, id: f.ID, status: f.Status, idle: true,
				delete: func(ctx context.Context) error { return floatingips.Delete(ctx, c.Network, f.ID).ExtractErr() },
			}, strings.HasPrefix(f.Description,
				"Floating IP for Kubernetes external service ") && strings.HasSuffix(f.Description, " from cluster "+cluster)
	})
}
