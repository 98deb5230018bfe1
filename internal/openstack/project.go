// Package openstack connects to the OpenStack project that OS_CLOUD or the OS_* variables select. It uses the
// same package as the OpenStack provider, so both use the same project as the same user.
package openstack

import (
	"context"
	"errors"
	"fmt"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/utils/v2/openstack/clientconfig"
)

// Project is a connection to a project as one user.
type Project struct {
	// ID is the ID of the project, and UserID is the ID of the user.
	ID, UserID string
	// Clients of the services that Connect was called with. The others are nil.
	Compute, Identity, LoadBalancer, Network, Volume *gophercloud.ServiceClient
}

// Connect logs in to services: compute, identity, load-balancer, network or volume. LoadBalancer stays nil if
// the cloud has no Octavia.
func Connect(ctx context.Context, services ...string) (*Project, error) {
	p := &Project{}
	clients := map[string]**gophercloud.ServiceClient{
		"compute": &p.Compute, "identity": &p.Identity, "load-balancer": &p.LoadBalancer, "network": &p.Network,
		"volume": &p.Volume,
	}
	for _, service := range services {
		client, err := clientconfig.NewServiceClient(ctx, service, nil)
		if service == "load-balancer" && errors.As(err, new(*gophercloud.ErrEndpointNotFound)) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", service, err)
		}
		*clients[service] = client
		if err := p.identify(client.GetAuthResult()); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// identify sets the IDs from the response to a login. It returns an error if the credentials are not for a
// project.
func (p *Project) identify(login gophercloud.AuthResult) error {
	token, ok := login.(interface {
		ExtractProject() (*tokens.Project, error)
		ExtractUser() (*tokens.User, error)
	})
	if !ok {
		return errors.New("the login must use version 3 of Keystone's API")
	}
	project, err := token.ExtractProject()
	if err != nil {
		return err
	}
	if project == nil {
		return errors.New("the credentials must be for a project")
	}
	user, err := token.ExtractUser()
	if err != nil {
		return err
	}
	p.ID, p.UserID = project.ID, user.ID
	return nil
}
