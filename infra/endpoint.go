package infra

import (
	"fmt"

	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/networking"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Endpoint is where the Kubernetes API is reached: an address of the machines' network that no machine has for good,
// held by a port that is bound to none, and a floating IP before it if wanted.
type Endpoint struct {
	pulumi.ResourceState
	// Host is the floating IP, else the address.
	Host pulumi.StringOutput
}

// NewEndpoint declares it.
func NewEndpoint(ctx *pulumi.Context, plan cluster.Plan, network *Network, security *Security) (*Endpoint, error) {
	e := &Endpoint{Host: pulumi.String(plan.API.Address.String()).ToStringOutput()}
	child, err := component(ctx, "Endpoint", plan.Name, e)
	if err != nil {
		return nil, err
	}
	name := plan.Name + "-api"
	port, err := networking.NewPort(ctx, name, &networking.PortArgs{
		Name:             pulumi.String(name),
		NetworkId:        network.NetworkID,
		AdminStateUp:     pulumi.Bool(true),
		FixedIps:         fixedIP(network, plan.API.Address),
		SecurityGroupIds: pulumi.StringArray{security.groups[cluster.RoleControlPlane].ID()},
		Tags:             tags(plan, "api"),
	}, child)
	if err != nil {
		return nil, err
	}
	if plan.API.FloatingIP {
		ip, err := networking.NewFloatingIp(ctx, name, &networking.FloatingIpArgs{
			Pool:   pulumi.String(plan.Network.External.Name),
			PortId: port.ID(),
			Tags:   tags(plan, "api"),
		}, child, pulumi.DependsOn(network.Routed)) // Neutron wants a way from the port to the pool first
		if err != nil {
			return nil, err
		}
		e.Host = ip.Address
	}
	return e, ctx.RegisterResourceOutputs(e, pulumi.Map{"host": e.Host})
}

// URL of the Kubernetes API.
func (e *Endpoint) URL() pulumi.StringOutput {
	return pulumi.Sprintf("https://%s:%d", e.Host, cluster.APIPort)
}

func fixedIP(network *Network, address fmt.Stringer) networking.PortFixedIpArray {
	return networking.PortFixedIpArray{networking.PortFixedIpArgs{
		SubnetId:  network.SubnetID,
		IpAddress: pulumi.String(address.String()),
	}}
}
