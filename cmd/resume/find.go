package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servergroups"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"

	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/pages"
	"kubernetes-openstack/internal/progress"
)

// instance is the type of machines.
const instance = "openstack:compute/instance:Instance"

// skew is the maximum clock difference between OpenStack and the host that created the stack.
const skew = 5 * time.Minute

// cloud is a connection to the project in which the provider creates resources, as the same user.
type cloud = openstack.Project

// candidate is a resource in OpenStack that an interrupted or failed create may have made.
type candidate struct {
	// ID is the resource's ID in Pulumi's state.
	ID string
	// Created is zero if OpenStack does not report the time.
	Created time.Time
	// Building is true if the resource's status will still change by itself, or if OpenStack deletes the resource.
	Building bool
	// Redo is the reason why the resource cannot be kept, or "" if it can.
	Redo string
}

// finders maps each type that the program declares to a function. The function returns the resources in
// OpenStack that match the inputs. Some kinds can have the same name by chance, and get their tags only after
// their creation. These must have the right tags or none.
var finders = map[string]func(context.Context, *cloud, inputs) ([]candidate, error){
	"openstack:networking/network:Network": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		pager := networks.List(c.Network, networks.ListOpts{Name: in.text("name"), ProjectID: c.ID})
		return pages.Collect(ctx, pager, networks.ExtractNetworks, func(n networks.Network) (candidate, bool) {
			return candidate{ID: n.ID, Created: n.CreatedAt}, tagsFit(in, n.Tags)
		})
	},
	"openstack:networking/subnet:Subnet": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		pager := subnets.List(c.Network, subnets.ListOpts{
			Name: in.text("name"), NetworkID: in.text("networkId"), CIDR: in.text("cidr"),
		})
		return pages.Collect(ctx, pager, subnets.ExtractSubnets, func(s subnets.Subnet) (candidate, bool) {
			return candidate{ID: s.ID, Created: s.CreatedAt}, tagsFit(in, s.Tags)
		})
	},
	"openstack:networking/router:Router": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		pager := routers.List(c.Network, routers.ListOpts{Name: in.text("name"), ProjectID: c.ID})
		return pages.Collect(ctx, pager, routers.ExtractRouters, func(r routers.Router) (candidate, bool) {
			return candidate{ID: r.ID, Created: r.CreatedAt}, tagsFit(in, r.Tags)
		})
	},
	"openstack:networking/routerInterface:RouterInterface": func(
		ctx context.Context, c *cloud, in inputs,
	) ([]candidate, error) {
		pager := ports.List(c.Network, ports.ListOpts{
			DeviceID: in.text("routerId"), FixedIPs: []ports.FixedIPOpts{{SubnetID: in.text("subnetId")}},
		})
		return pages.Collect(ctx, pager, ports.ExtractPorts, func(p ports.Port) (candidate, bool) {
			return candidate{ID: p.ID, Created: p.CreatedAt, Building: p.Status == "BUILD"}, true
		})
	},
	"openstack:networking/port:Port": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		fixed := in.first("fixedIps")
		pager := ports.List(c.Network, ports.ListOpts{
			Name: in.text("name"), NetworkID: in.text("networkId"),
			FixedIPs: []ports.FixedIPOpts{{SubnetID: fixed.text("subnetId"), IPAddress: fixed.text("ipAddress")}},
		})
		return pages.Collect(ctx, pager, ports.ExtractPorts, func(p ports.Port) (candidate, bool) {
			return candidate{ID: p.ID, Created: p.CreatedAt}, tagsFit(in, p.Tags)
		})
	},
	"openstack:networking/floatingIp:FloatingIp": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		pager := floatingips.List(c.Network, floatingips.ListOpts{Description: in.text("description"), ProjectID: c.ID})
		return pages.Collect(ctx, pager, floatingips.ExtractFloatingIPs, func(f floatingips.FloatingIP) (candidate, bool) {
			return candidate{ID: f.ID, Created: f.CreatedAt}, in.text("description") != "" && tagsFit(in, f.Tags)
		})
	},
	"openstack:networking/floatingIpAssociate:FloatingIpAssociate": func(
		ctx context.Context, c *cloud, in inputs,
	) ([]candidate, error) {
		pager := floatingips.List(c.Network,
			floatingips.ListOpts{FloatingIP: in.text("floatingIp"), PortID: in.text("portId")})
		return pages.Collect(ctx, pager, floatingips.ExtractFloatingIPs, func(f floatingips.FloatingIP) (candidate, bool) {
			return candidate{ID: f.ID}, true // no Created: f is much older than its association
		})
	},
	"openstack:networking/secGroup:SecGroup": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		pager := groups.List(c.Network, groups.ListOpts{
			Name: in.text("name"), Description: in.text("description"), ProjectID: c.ID,
		})
		return pages.Collect(ctx, pager, groups.ExtractGroups, func(g groups.SecGroup) (candidate, bool) {
			return candidate{ID: g.ID, Created: g.CreatedAt}, tagsFit(in, g.Tags)
		})
	},
	"openstack:networking/secGroupRule:SecGroupRule": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		pager := rules.List(c.Network,
			rules.ListOpts{SecGroupID: in.text("securityGroupId"), Direction: in.text("direction")})
		return pages.Collect(ctx, pager, rules.ExtractRules, func(r rules.SecGroupRule) (candidate, bool) {
			// the comparison is here, because a query cannot ask for a field that is not set
			same := r.EtherType == in.text("ethertype") && r.Protocol == in.text("protocol") &&
				r.PortRangeMin == in.number("portRangeMin") && r.PortRangeMax == in.number("portRangeMax") &&
				r.RemoteIPPrefix == in.text("remoteIpPrefix") && r.RemoteGroupID == in.text("remoteGroupId")
			return candidate{ID: r.ID, Created: r.CreatedAt}, same
		})
	},
	"openstack:compute/serverGroup:ServerGroup": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		pager := servergroups.List(c.Compute, servergroups.ListOpts{})
		extract := servergroups.ExtractServerGroups
		return pages.Collect(ctx, pager, extract, func(g servergroups.ServerGroup) (candidate, bool) {
			return candidate{ID: g.ID}, g.Name == in.text("name")
		})
	},
	"openstack:compute/keypair:Keypair": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		k, err := keypairs.Get(ctx, c.Compute, in.text("name"), nil).Extract()
		if err != nil {
			return nil, unlessMissing(err)
		}
		if strings.TrimSpace(k.PublicKey) != strings.TrimSpace(in.text("publicKey")) {
			return nil, nil
		}
		return []candidate{{ID: k.Name}}, nil
	},
	instance: func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		pager := servers.List(c.Compute, servers.ListOpts{Name: "^" + regexp.QuoteMeta(in.text("name")) + "$"})
		return pages.Collect(ctx, pager, servers.ExtractServers, func(s servers.Server) (candidate, bool) {
			return candidate{
				ID: s.ID, Created: s.Created, Building: s.Status == "BUILD" || s.TaskState == "deleting" || s.Status == "DELETED",
				Redo: "Nova does not return its user-data",
			}, metadataFits(in, s.Metadata)
		})
	},
	"openstack:compute/volumeAttach:VolumeAttach": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		a, err := volumeattach.Get(ctx, c.Compute, in.text("instanceId"), in.text("volumeId")).Extract()
		if err != nil {
			return nil, unlessMissing(err)
		}
		v, err := volumes.Get(ctx, c.Volume, a.VolumeID).Extract()
		if err != nil {
			return nil, unlessMissing(err)
		}
		return []candidate{{ID: a.ServerID + "/" + a.ID, Building: building(v.Status)}}, nil
	},
	"openstack:identity/applicationCredential:ApplicationCredential": func(
		ctx context.Context, c *cloud, in inputs,
	) ([]candidate, error) {
		pager := applicationcredentials.List(c.Identity, c.UserID, applicationcredentials.ListOpts{Name: in.text("name")})
		extract := applicationcredentials.ExtractApplicationCredentials
		return pages.Collect(ctx, pager, extract, func(a applicationcredentials.ApplicationCredential) (candidate, bool) {
			return candidate{ID: a.ID, Redo: "Keystone returns its secret only once"},
				a.Description == in.text("description") && a.ProjectID == c.ID
		})
	},
	"openstack:blockstorage/volume:Volume": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		pager := volumes.List(c.Volume, volumes.ListOpts{Name: in.text("name")})
		return pages.Collect(ctx, pager, volumes.ExtractVolumes, func(v volumes.Volume) (candidate, bool) {
			f := candidate{ID: v.ID, Created: v.CreatedAt, Building: building(v.Status)}
			if strings.HasPrefix(v.Status, "error") {
				f.Redo = "its status is " + v.Status
			}
			return f, metadataFits(in, v.Metadata)
		})
	},
	// Swift has one container of a name, and one object of a name in it. A second create of the same changes nothing.
	"openstack:objectstorage/container:Container": func(ctx context.Context, c *cloud, in inputs) ([]candidate, error) {
		if c.ObjectStore == nil {
			return nil, nil
		}
		if err := containers.Get(ctx, c.ObjectStore, in.text("name"), nil).Err; err != nil {
			return nil, unlessMissing(err)
		}
		return []candidate{{ID: in.text("name")}}, nil
	},
	"openstack:objectstorage/containerObject:ContainerObject": func(
		ctx context.Context, c *cloud, in inputs,
	) ([]candidate, error) {
		if c.ObjectStore == nil {
			return nil, nil
		}
		o, err := objects.Get(ctx, c.ObjectStore, in.text("containerName"), in.text("name"), nil).Extract()
		if err != nil {
			return nil, unlessMissing(err)
		}
		if o.ETag != in.text("etag") { // an object of an earlier upload
			return nil, nil
		}
		return []candidate{{ID: in.text("containerName") + "/" + in.text("name")}}, nil
	},
}

// settledStatus returns the status of an instance in the state as soon as it is not BUILD, or "" if it does not exist.
func settledStatus(ctx context.Context, c *cloud, r object, log *progress.Log) (string, error) {
	id, _ := r["id"].(string)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s %s still has the status BUILD after %s",
		newCreate(r), id, timeout))
	defer cancel()
	for {
		s, err := servers.Get(ctx, c.Compute, id).Extract()
		switch {
		case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
			return "", nil
		case err != nil:
			return "", fmt.Errorf("read %s %s: %w", newCreate(r), id, err)
		case s.Status != "BUILD":
			return s.Status, nil
		}
		log.Printf("waiting for %s %s", newCreate(r), id)
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(interval):
		}
	}
}

// deletions maps the types whose deletes take time to functions. A function returns true as long as OpenStack deletes
// the resource with this ID, or changes it in another way. A refresh would read it as a resource that stays.
var deletions = map[string]func(context.Context, *cloud, string) (bool, error){
	instance: func(ctx context.Context, c *cloud, id string) (bool, error) {
		s, err := servers.Get(ctx, c.Compute, id).Extract()
		if err != nil {
			return false, unlessMissing(err)
		}
		return s.TaskState != "" || s.Status == "DELETED", nil
	},
	"openstack:blockstorage/volume:Volume": func(ctx context.Context, c *cloud, id string) (bool, error) {
		v, err := volumes.Get(ctx, c.Volume, id).Extract()
		if err != nil {
			return false, unlessMissing(err)
		}
		return building(v.Status), nil
	},
}

// stillDeleting returns the resources that OpenStack still deletes.
func stillDeleting(ctx context.Context, c *cloud, deletes []object) (busy []string, err error) {
	for _, r := range deletes {
		d := newCreate(r)
		id, _ := r["id"].(string)
		check, ok := deletions[d.Type]
		if !ok {
			continue
		}
		switch deleting, err := check(ctx, c, id); {
		case err != nil:
			return nil, fmt.Errorf("read %s %s: %w", d, id, err)
		case deleting:
			busy = append(busy, fmt.Sprintf("%s %s", d, id))
		}
	}
	return busy, nil
}

// find returns the resources that each create left in OpenStack, by URN, oldest first. busy lists those that
// are still being built or deleted.
func find(ctx context.Context, c *cloud, creates []create,
	state *state) (found map[string][]candidate, busy []string, err error) {
	found = map[string][]candidate{}
	var errs []error
	for _, create := range creates {
		finder, ok := finders[create.Type]
		if !ok {
			errs = append(errs, fmt.Errorf("%s: resume does not support this type: delete the resource in OpenStack if it "+
				"exists, then run `pulumi refresh --clear-pending-creates`", create))
			continue
		}
		all, err := finder(ctx, c, create.Inputs)
		if err != nil {
			return nil, nil, fmt.Errorf("find %s: %w", create, err)
		}
		var ours []candidate
		for _, f := range all {
			// a resource that is older than the stack belongs to somebody else
			if state.has(create.Type, f.ID) || !f.Created.IsZero() && f.Created.Before(state.createdAt().Add(-skew)) {
				continue
			}
			ours = append(ours, f)
			if f.Building {
				busy = append(busy, fmt.Sprintf("%s %s", create, f.ID))
			}
		}
		if len(ours) > create.Times {
			errs = append(errs, tooMany(create, ours))
			continue
		}
		slices.SortFunc(ours, func(a, b candidate) int {
			return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
		})
		if len(ours) > 0 {
			found[create.URN] = ours
		}
	}
	return found, busy, errors.Join(errs...)
}

func tooMany(create create, found []candidate) error {
	var lines []string
	for _, f := range found {
		line := "\n  " + f.ID
		if !f.Created.IsZero() {
			line += " created " + f.Created.Format(time.RFC3339)
		}
		lines = append(lines, line)
	}
	return fmt.Errorf("%s: its create was interrupted or failed %d times, but OpenStack has %d matching resources; "+
		"delete those that do not belong to this stack, and run resume again:%s",
		create, create.Times, len(found), strings.Join(lines, ""))
}

func unlessMissing(err error) error {
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// building returns true if the status of a volume will still change by itself.
func building(volumeStatus string) bool {
	return slices.Contains([]string{"creating", "attaching", "reserved", "downloading", "detaching", "deleting"},
		volumeStatus)
}

func tagsFit(in inputs, tags []string) bool {
	if len(tags) == 0 {
		return true
	}
	want, _ := in["tags"].([]any)
	for _, tag := range want {
		if text, _ := tag.(string); !slices.Contains(tags, text) {
			return false
		}
	}
	return len(tags) == len(want)
}

func metadataFits(in inputs, metadata map[string]string) bool {
	want := map[string]string{}
	all, _ := in["metadata"].(object)
	for key, value := range all {
		want[key], _ = value.(string)
	}
	return maps.Equal(want, metadata)
}
