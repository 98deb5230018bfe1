package infra

import (
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/networking"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Network holds the network of the machines' ports. The network is either a new network with its own router, or an
// existing provider network.
type Network struct {
	pulumi.ResourceState
	NetworkID, SubnetID pulumi.StringInput
	// Routed lists the resources that must exist before packets reach external networks. It is empty for an
	// existing network.
	Routed []pulumi.Resource
}

// NewNetwork declares a network, a subnet and a router. For an existing network, it declares only the
// component.
func NewNetwork(ctx *pulumi.Context, plan cluster.Plan) (*Network, error) {
	n := &Network{}
	child, err := component(ctx, "Network", plan.Name, n)
	if err != nil {
		return nil, err
	}
	if plan.Network.Mode == cluster.ProviderNetwork {
		n.NetworkID, n.SubnetID = pulumi.String(plan.Network.NetworkID), pulumi.String(plan.Network.SubnetID)
		return n, ctx.RegisterResourceOutputs(n, pulumi.Map{})
	}

	network, err := networking.NewNetwork(ctx, plan.Name, &networking.NetworkArgs{
		Name:         pulumi.String(plan.Name),
		AdminStateUp: pulumi.Bool(true),
		Tags:         tags(plan, ""),
	}, child)
	if err != nil {
		return nil, err
	}
	subnet, err := networking.NewSubnet(ctx, plan.Name, &networking.SubnetArgs{
		Name:      pulumi.String(plan.Name),
		NetworkId: network.ID(),
		IpVersion: pulumi.Int(4),
		Cidr:      pulumi.String(plan.Network.CIDR.String()),
		GatewayIp: pulumi.String(plan.Gateway.String()),
		// the Plan assigns all other addresses, so Neutron must not allocate them
		AllocationPools: networking.SubnetAllocationPoolArray{networking.SubnetAllocationPoolArgs{
			Start: pulumi.String(plan.NeutronFirst.String()),
			End:   pulumi.String(plan.NeutronLast.String()),
		}},
		DnsNameservers: stringArray(plan.Network.DNSServers),
		Tags:           tags(plan, ""),
	}, child)
	if err != nil {
		return nil, err
	}
	router, err := networking.NewRouter(ctx, plan.Name, &networking.RouterArgs{
		Name:              pulumi.String(plan.Name),
		AdminStateUp:      pulumi.Bool(true),
		ExternalNetworkId: pulumi.String(plan.Network.External.ID),
		Tags:              tags(plan, ""),
	}, child)
	if err != nil {
		return nil, err
	}
	routerInterface, err := networking.NewRouterInterface(ctx, plan.Name, &networking.RouterInterfaceArgs{
		RouterId: router.ID(),
		SubnetId: subnet.ID(),
	}, child)
	if err != nil {
		return nil, err
	}
	n.NetworkID, n.SubnetID, n.Routed = network.ID(), subnet.ID(), []pulumi.Resource{routerInterface}
	return n, ctx.RegisterResourceOutputs(n, pulumi.Map{})
}
