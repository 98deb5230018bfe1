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
	password    = "devcloud" // of all users, because only this machine can connect to the APIs
)

// catalogue lists the services in Keystone's catalogue, without Keystone itself. The addresses are the same on the host
// and in the box. Instances use the internal endpoints, which are at externalGateway.
var catalogue = []struct{ Name, Type, URL string }{
	{"nova", "compute", "http://127.0.0.1:8774/v2.1"},
	{"placement", "placement", "http://127.0.0.1:8778"},
	{"neutron", "network", "http://127.0.0.1:9696"},
	{"glance", "image", "http://127.0.0.1:9292"},
	{"cinder", "block-storage", "http://127.0.0.1:8776/v3/%(project_id)s"},
	{"cinderv3", "volumev3", "http://127.0.0.1:8776/v3/%(project_id)s"},
	{"swift", "object-store", "http://127.0.0.1:8080/v1/AUTH_%(project_id)s"},
}

// serviceUsers are the users with which the services authenticate.
var serviceUsers = []string{"glance", "placement", "nova", "neutron", "cinder", "swift"}

// ports returns the ports of the APIs and of the proxy on 127.0.0.1, sorted.
func ports() []int {
	found := append(apiPorts(), proxyPort)
	slices.Sort(found)
	return found
}

// apiPorts returns the ports of the APIs.
func apiPorts() (found []int) {
	urls := []string{identityURL}
	for _, service := range catalogue {
		urls = append(urls, service.URL)
	}
	for _, address := range urls {
		// A URL with the template of a project's ID is not valid.
		host, _ := url.Parse(address[:slices.Index([]byte(address+"%"), '%')])
		port, _ := strconv.Atoi(host.Port())
		if !slices.Contains(found, port) {
			found = append(found, port)
		}
	}
	return found
}

// admin returns a client with the permissions of an administrator.
func admin(ctx context.Context) (*gophercloud.ProviderClient, error) {
	return openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{IdentityEndpoint: identityURL, AllowReauth: true,
		Username: "admin", Password: password, TenantName: "admin", DomainName: "Default"})
}

var inRegion = gophercloud.EndpointOpts{Region: region}

// createCatalogue creates the services, endpoints and service users in an empty Keystone.
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

// createUser creates a user with roles in the project.
func createUser(ctx context.Context, identity *gophercloud.ServiceClient, name, project string,
	granted ...string,
) error {
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
		if !slices.Contains(granted, role.Name) {
			continue
		}
		err := roles.Assign(ctx, identity, role.ID, roles.AssignOpts{UserID: user.ID, ProjectID: project}).ExtractErr()
		if err != nil {
			return fmt.Errorf("assign role %[2]s to user %[1]s: %[3]w", name, role.Name, err)
		}
	}
	return nil
}
