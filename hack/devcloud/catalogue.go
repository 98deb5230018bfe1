package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/endpoints"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	keystoneservices "github.com/gophercloud/gophercloud/v2/openstack/identity/v3/services"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
)

const (
	region      = "RegionOne"
	identityURL = "http://127.0.0.1:5000/v3"
	password    = "devcloud" // everybody's: the APIs are this machine's own
)

// catalogue is what Keystone tells its clients, itself excepted. The addresses are the same on the host and in the box;
// internal endpoints are those that instances reach, at externalGateway.
var catalogue = []struct{ Name, Type, URL string }{
	{"nova", "compute", "http://127.0.0.1:8774/v2.1"},
	{"placement", "placement", "http://127.0.0.1:8778"},
	{"neutron", "network", "http://127.0.0.1:9696"},
	{"glance", "image", "http://127.0.0.1:9292"},
	{"cinder", "block-storage", "http://127.0.0.1:8776/v3/%(project_id)s"},
	{"cinderv3", "volumev3", "http://127.0.0.1:8776/v3/%(project_id)s"},
}

// serviceUsers are those that the services act as.
var serviceUsers = []string{"glance", "placement", "nova", "neutron", "cinder"}

// ports are those that the box has of 127.0.0.1, in order: the APIs', and the proxy's.
func ports() []int {
	found := append(apiPorts(), proxyPort)
	slices.Sort(found)
	return found
}

// apiPorts are the APIs'.
func apiPorts() (found []int) {
	urls := []string{identityURL}
	for _, service := range catalogue {
		urls = append(urls, service.URL)
	}
	for _, address := range urls {
		// The template of a project's ID is no valid URL.
		host, _ := url.Parse(address[:slices.Index([]byte(address+"%"), '%')])
		port, _ := strconv.Atoi(host.Port())
		if !slices.Contains(found, port) {
			found = append(found, port)
		}
	}
	return found
}

// admin is a client of all of the cloud.
func admin(ctx context.Context) (*gophercloud.ProviderClient, error) {
	return openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{IdentityEndpoint: identityURL, AllowReauth: true,
		Username: "admin", Password: password, TenantName: "admin", DomainName: "Default"})
}

var inRegion = gophercloud.EndpointOpts{Region: region}

// createCatalogue gives an empty Keystone its services, endpoints and service users.
func createCatalogue(ctx context.Context) error {
	provider, err := admin(ctx)
	if err != nil {
		return err
	}
	identity, err := openstack.NewIdentityV3(provider, inRegion)
	if err != nil {
		return err
	}
	for _, entry := range catalogue {
		service, err := keystoneservices.Create(ctx, identity, keystoneservices.CreateOpts{Type: entry.Type,
			Extra: map[string]any{"name": entry.Name}}).Extract()
		if err != nil {
			return fmt.Errorf("create service %s: %w", entry.Name, err)
		}
		for _, availability := range []gophercloud.Availability{gophercloud.AvailabilityPublic,
			gophercloud.AvailabilityInternal, gophercloud.AvailabilityAdmin} {
			address := entry.URL
			if availability == gophercloud.AvailabilityInternal {
				address = strings.Replace(address, "127.0.0.1", externalGateway, 1)
			}
			_, err := endpoints.Create(ctx, identity, endpoints.CreateOpts{Name: entry.Name, ServiceID: service.ID,
				Region: region, Availability: availability, URL: address}).Extract()
			if err != nil {
				return fmt.Errorf("create endpoint of %s: %w", entry.Name, err)
			}
		}
	}
	if _, err := roles.Create(ctx, identity, roles.CreateOpts{Name: "service"}).Extract(); err != nil {
		return fmt.Errorf("create role service: %w", err)
	}
	project, err := projects.Create(ctx, identity, projects.CreateOpts{Name: "service", DomainID: "default"}).Extract()
	if err != nil {
		return fmt.Errorf("create project service: %w", err)
	}
	for _, name := range serviceUsers {
		if err := createUser(ctx, identity, name, project.ID, "admin", "service"); err != nil {
			return err
		}
	}
	return nil
}

// createUser creates a user who has the roles in the project.
func createUser(ctx context.Context, identity *gophercloud.ServiceClient, name, project string, has ...string) error {
	user, err := users.Create(ctx, identity, users.CreateOpts{Name: name, DomainID: "default", Password: password,
		DefaultProjectID: project}).Extract()
	if err != nil {
		return fmt.Errorf("create user %s: %w", name, err)
	}
	pages, err := roles.List(identity, nil).AllPages(ctx)
	if err != nil {
		return err
	}
	all, err := roles.ExtractRoles(pages)
	if err != nil {
		return err
	}
	for _, role := range all {
		if !slices.Contains(has, role.Name) {
			continue
		}
		err := roles.Assign(ctx, identity, role.ID, roles.AssignOpts{UserID: user.ID, ProjectID: project}).ExtractErr()
		if err != nil {
			return fmt.Errorf("give user %s the role %s: %w", name, role.Name, err)
		}
	}
	return nil
}
