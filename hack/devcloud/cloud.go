package main

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumetypes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/provider"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
)

// Resources that a configuration names by ID have the same ID in every devcloud, so that a preview needs no cloud.
const (
	imageID   = "0d5a0b9e-6c1e-4f4c-9d6f-000000000012"
	networkID = "0d5a0b9e-6c1e-4f4c-9d6f-0000000000fe"

	rackID       = "0d5a0b9e-6c1e-4f4c-9d6f-0000000000fd"
	rackSubnetID = "0d5a0b9e-6c1e-4f4c-9d6f-0000000000fc"
)

// The external network is a bridge in the box. Through it, instances can connect only to the mirror and the APIs.
const (
	externalCIDR    = "172.31.250.0/24"
	externalGateway = "172.31.250.1"
	mirrorAddress   = externalGateway + ":80"
)

// tenant is the name of the project, and of its user, who is not an administrator.
const tenant = "kubernetes"

// reader is the name of the user who can read all projects and users.
const reader = "tenant-sync"

// machineTypes are the flavors: memory in MB, disk in GB.
var machineTypes = []struct {
	Name            string
	CPUs, RAM, Disk int
}{
	{"tiny", 1, 1024, 1},
	{"etcd", 1, 1024, 10},
	{"control-plane", 2, 4096, 20},
	{"worker", 2, 4096, 20},
}

// createCloud creates the project, users, flavors, networks and the image in an empty cloud.
func createCloud(ctx context.Context, record Record, imagePath string) error {
	client, err := admin(ctx)
	if err != nil {
		return err
	}
	project, err := createTenant(ctx, client)
	if err != nil {
		return err
	}
	for _, create := range []func(context.Context, *gophercloud.ProviderClient) error{createReader, createFlavors,
		createVolumeTypes} {
		if err := create(ctx, client); err != nil {
			return err
		}
	}
	if err := createNetwork(ctx, client, record); err != nil {
		return fmt.Errorf("create network public: %w", err)
	}
	if err := createRack(ctx, client, record, project); err != nil {
		return fmt.Errorf("create network rack: %w", err)
	}
	if err := createImage(ctx, client, imagePath); err != nil {
		return fmt.Errorf("create image: %w", err)
	}
	return nil
}

// createTenant creates the project and its user, and returns the project's ID.
func createTenant(ctx context.Context, client *gophercloud.ProviderClient) (project string, err error) {
	identity, err := openstack.NewIdentityV3(client, inRegion)
	if err != nil {
		return "", err
	}
	created, err := projects.Create(ctx, identity, projects.CreateOpts{Name: tenant, DomainID: "default"}).Extract()
	if err != nil {
		return "", fmt.Errorf("create project: %w", err)
	}
	return created.ID, createUser(ctx, identity, tenant, created.ID, "member")
}

// createReader creates the user with which clusters read the tenants. The user is a reader of Keystone's system and of
// each project in the default domain.
func createReader(ctx context.Context, client *gophercloud.ProviderClient) error {
	identity, err := openstack.NewIdentityV3(client, inRegion)
	if err != nil {
		return err
	}
	user, err := users.Create(ctx, identity,
		users.CreateOpts{Name: reader, DomainID: "default", Password: password}).Extract()
	if err != nil {
		return fmt.Errorf("create user %s: %w", reader, err)
	}
	pages, err := roles.List(identity, roles.ListOpts{Name: "reader"}).AllPages(ctx)
	if err != nil {
		return err
	}
	role, err := roles.ExtractRoles(pages)
	if err != nil {
		return err
	}
	for _, scope := range []string{
		"system/users/" + user.ID + "/roles/" + role[0].ID,
		"OS-INHERIT/domains/default/users/" + user.ID + "/roles/" + role[0].ID + "/inherited_to_projects",
	} {
		_, err := identity.Put(ctx, identity.ServiceURL(scope), nil, nil,
			&gophercloud.RequestOpts{OkCodes: []int{http.StatusNoContent}})
		if err != nil {
			return fmt.Errorf("assign role reader to user %s: %w", reader, err)
		}
	}
	return nil
}

func createFlavors(ctx context.Context, client *gophercloud.ProviderClient) error {
	compute, err := openstack.NewComputeV2(client, inRegion)
	if err != nil {
		return err
	}
	for _, flavor := range machineTypes {
		_, err := flavors.Create(ctx, compute, flavors.CreateOpts{Name: flavor.Name, VCPUs: flavor.CPUs, RAM: flavor.RAM,
			Disk: &flavor.Disk}).Extract()
		if err != nil {
			return fmt.Errorf("create flavor %s: %w", flavor.Name, err)
		}
	}
	return nil
}

// createVolumeTypes creates the default type, whose volumes are in the requested zone, and a type of the zone archive.
func createVolumeTypes(ctx context.Context, client *gophercloud.ProviderClient) error {
	storage, err := openstack.NewBlockStorageV3(client, inRegion)
	if err != nil {
		return err
	}
	for _, opts := range []volumetypes.CreateOpts{
		{Name: "standard"},
		{Name: "archive", ExtraSpecs: map[string]string{"RESKEY:availability_zones": "archive"}},
	} {
		if _, err := volumetypes.Create(ctx, storage, opts).Extract(); err != nil {
			return fmt.Errorf("create volume type %s: %w", opts.Name, err)
		}
	}
	return nil
}

// statements for changes that the APIs do not support
var (
	//go:embed sql/network-id.sql
	changeNetworkID string
	//go:embed sql/subnet-id.sql
	changeSubnetID string
	//go:embed sql/forget-image.sql
	forgetImage string
)

// sql runs statements in one of the box's databases.
func (r Record) sql(database, statements string) error {
	client := r.enter("mariadb", "--defaults-file=/etc/mysql/devcloud.cnf", database)
	client.Stdin = strings.NewReader(statements)
	if output, err := client.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb: %w: %s", err, output)
	}
	return nil
}

func createNetwork(ctx context.Context, client *gophercloud.ProviderClient, record Record) error {
	network, err := openstack.NewNetworkV2(client, inRegion)
	if err != nil {
		return err
	}
	yes, no, gateway := true, false, externalGateway
	created, err := networks.Create(ctx, network, provider.CreateOptsExt{
		CreateOptsBuilder: external.CreateOptsExt{CreateOptsBuilder: networks.CreateOpts{Name: "public"}, External: &yes},
		Segments:          []provider.Segment{{NetworkType: "flat", PhysicalNetwork: "public"}},
	}).Extract()
	if err != nil {
		return err
	}
	if err := record.changeID(changeNetworkID, created.ID, networkID); err != nil {
		return err
	}
	_, err = subnets.Create(ctx, network, subnets.CreateOpts{Name: "public", NetworkID: networkID, IPVersion: 4,
		CIDR: externalCIDR, GatewayIP: &gateway, EnableDHCP: &no,
		// The first addresses belong to the data centre.
		AllocationPools: []subnets.AllocationPool{{Start: "172.31.250.16", End: "172.31.250.254"}}}).Extract()
	return err
}

// changeID changes the ID of a new resource in Neutron's database. statements are those for its kind.
func (r Record) changeID(statements, old, new string) error {
	if err := r.sql("neutron", fmt.Sprintf("SET @old = '%s', @new = '%s';\n%s", old, new, statements)); err != nil {
		return fmt.Errorf("change the ID: %w", err)
	}
	return nil
}

// createRack creates the provider network of the rack. It belongs to the project, because only the owner of a network
// can choose addresses for its ports.
func createRack(ctx context.Context, client *gophercloud.ProviderClient, record Record, project string) error {
	network, err := openstack.NewNetworkV2(client, inRegion)
	if err != nil {
		return err
	}
	yes, no, gateway := true, false, rackGateway
	created, err := networks.Create(ctx, network, provider.CreateOptsExt{
		CreateOptsBuilder: networks.CreateOpts{Name: "rack", ProjectID: project},
		Segments:          []provider.Segment{{NetworkType: "flat", PhysicalNetwork: "rack"}},
	}).Extract()
	if err != nil {
		return err
	}
	if err := record.changeID(changeNetworkID, created.ID, rackID); err != nil {
		return err
	}
	subnet, err := subnets.Create(ctx, network, subnets.CreateOpts{Name: "rack", NetworkID: rackID, ProjectID: project,
		IPVersion: 4, CIDR: rackCIDR, GatewayIP: &gateway, EnableDHCP: &no, DNSNameservers: []string{routerAddress},
		// Addresses for Neutron and for ports without a fixed address. All other addresses are free for planning.
		AllocationPools: []subnets.AllocationPool{{Start: "10.0.0.2", End: "10.0.0.9"}}}).Extract()
	if err != nil {
		return err
	}
	if err := record.changeID(changeSubnetID, subnet.ID, rackSubnetID); err != nil {
		return err
	}
	// DHCP is enabled now, because an earlier DHCP port would have the old ID.
	_, err = subnets.Update(ctx, network, rackSubnetID, subnets.UpdateOpts{EnableDHCP: &yes}).Extract()
	return err
}

func createImage(ctx context.Context, client *gophercloud.ProviderClient, path string) error {
	glance, err := openstack.NewImageV2(client, inRegion)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	format, magic := "raw", make([]byte, 4)
	if _, err := file.ReadAt(magic, 0); err != nil {
		return err
	}
	if string(magic) == "QFI\xfb" {
		format = "qcow2"
	}
	public := images.ImageVisibilityPublic
	_, err = images.Create(ctx, glance, images.CreateOpts{ID: imageID, Name: "debian-12", Visibility: &public,
		ContainerFormat: "bare", DiskFormat: format,
		Properties: map[string]string{"os_type": "linux", "os_distro": "debian", "os_version": "12"}}).Extract()
	if err != nil {
		return err
	}
	return imagedata.Upload(ctx, glance, imageID, file).ExtractErr()
}

// replaceImage replaces the image of a kept cloud by another one with the same ID. Instances keep their own image.
func replaceImage(ctx context.Context, record Record, path string) error {
	client, err := admin(ctx)
	if err != nil {
		return err
	}
	glance, err := openstack.NewImageV2(client, inRegion)
	if err != nil {
		return err
	}
	err = images.Delete(ctx, glance, imageID).ExtractErr()
	if err != nil && !gophercloud.ResponseCodeIs(err, http.StatusNotFound) { // an earlier up was killed after this delete
		return err
	}
	if err := record.sql("glance", fmt.Sprintf("SET @id = '%s';\n%s", imageID, forgetImage)); err != nil {
		return err
	}
	return createImage(ctx, client, path)
}
