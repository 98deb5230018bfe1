// Package openstack connects to the OpenStack project that OS_CLOUD or the OS_* variables select. It uses the
// same package as the OpenStack provider, so both use the same project as the same user.
package openstack

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/utils/v2/openstack/clientconfig"
)

// Project is a connection to a project as one user.
type Project struct {
	// ID is the ID of the project, and UserID is the ID of the user. Name is the project's current name.
	ID, Name, UserID string
	// Clients of the services that Connect was called with. The others are nil.
	Compute, Identity, LoadBalancer, Network, ObjectStore, Volume *gophercloud.ServiceClient
}

// Verify logs in, and returns an error if the credentials are not for the project with this ID, in which the
// stack's resources are. The names of projects do not matter, because administrators can change them.
func Verify(ctx context.Context, id string) error {
	p, err := Login(ctx)
	if err != nil {
		return fmt.Errorf("cannot verify that the credentials are for OpenStack project %s, in which the resources of "+
			"this stack are: %w", id, err)
	}
	if p.ID != id {
		return fmt.Errorf("the credentials are for OpenStack project %s (%s), but the resources of this stack are in "+
			"project %s, so nothing was changed: set OS_CLOUD or the OS_* variables for project %[3]s", p.ID, p.Name, id)
	}
	return nil
}

// Console returns the console log of an instance, as far as Nova keeps it.
func (p *Project) Console(ctx context.Context, id string) (string, error) {
	return servers.ShowConsoleOutput(ctx, p.Compute, id, servers.ShowConsoleOutputOpts{}).Extract()
}

// Login logs in and returns the project of the credentials, without clients of services.
func Login(ctx context.Context) (*Project, error) {
	client, err := clientconfig.AuthenticatedClient(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("log in to OpenStack: %w", err)
	}
	p := &Project{}
	return p, p.identify(client.GetAuthResult())
}

// expected is the prefix of the variables in whose names a stack passes the ID of its project to our provider.
const expected = "TEARDOWN_PROJECT_"

// Variable returns the name of the environment variable that stands for the ID of a project. Its value has no
// meaning. The name has the ID in hexadecimal, because a shell drops variables whose names are not identifiers.
func Variable(id string) string { return expected + hex.EncodeToString([]byte(id)) }

// Expected returns the ID of the project whose Variable is in an environment, or "" if there is none.
func Expected(environ []string) string {
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if text, ok := strings.CutPrefix(name, expected); ok {
			id, _ := hex.DecodeString(text)
			return string(id)
		}
	}
	return ""
}

// Connect logs in to services: compute, identity, load-balancer, network, object-store or volume. LoadBalancer stays
// nil if the cloud has no Octavia, and ObjectStore stays nil if it has no Swift.
func Connect(ctx context.Context, services ...string) (*Project, error) {
	return ConnectCloud(ctx, "", services...)
}

// HasCloud returns true if clouds.yaml has a cloud with this name.
func HasCloud(name string) bool {
	clouds, err := clientconfig.LoadCloudsYAML()
	_, exists := clouds[name]
	return err == nil && exists
}

// ConnectCloud is Connect for a cloud in clouds.yaml, or for the environment if cloud is empty.
func ConnectCloud(ctx context.Context, cloud string, services ...string) (*Project, error) {
	p := &Project{}
	clients := map[string]**gophercloud.ServiceClient{
		"compute": &p.Compute, "identity": &p.Identity, "load-balancer": &p.LoadBalancer, "network": &p.Network,
		"object-store": &p.ObjectStore, "volume": &p.Volume,
	}
	optional := []string{"load-balancer", "object-store"}
	for _, service := range services {
		client, err := clientconfig.NewServiceClient(ctx, service, &clientconfig.ClientOpts{Cloud: cloud})
		if slices.Contains(optional, service) && errors.As(err, new(*gophercloud.ErrEndpointNotFound)) {
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
		return errors.New("the credentials must be for a project: set OS_CLOUD, or OS_PROJECT_ID or OS_PROJECT_NAME")
	}
	user, err := token.ExtractUser()
	if err != nil {
		return err
	}
	p.ID, p.Name, p.UserID = project.ID, project.Name, user.ID
	return nil
}
