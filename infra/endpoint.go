package infra

import (
	"fmt"
	"net/netip"

	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/loadbalancer"
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/networking"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Endpoint is the address of the Kubernetes API. It is an address of the machines' network that no machine
// owns permanently. If configured, a floating IP points to it.
type Endpoint struct {
	pulumi.ResourceState
	// Host is the floating IP if there is one, otherwise the internal address.
	Host pulumi.StringOutput
}

// NewEndpoint declares the address, or Octavia's load balancer, and the floating IP.
func NewEndpoint(ctx *pulumi.Context, plan cluster.Plan, network *Network, security *Security) (*Endpoint, error) {
	e := &Endpoint{Host: pulumi.String(plan.API.Address.String()).ToStringOutput()}
	child, err := component(ctx, "Endpoint", plan.Name, e)
	if err != nil {
		return nil, err
	}
	name := plan.Name + "-api"
	var port pulumi.StringInput
	if plan.API.LoadBalancer == cluster.Octavia {
		port, err = newLoadBalancer(ctx, name, plan, network, child)
	} else {
		port, err = newAddress(ctx, name, plan, network, security, child)
	}
	if err != nil {
		return nil, err
	}
	if plan.API.FloatingIP {
		// The floating IP and its association are separate resources. Certificates contain the floating IP,
		// and do not have to wait for a port.
		ip, err := networking.NewFloatingIp(ctx, name, &networking.FloatingIpArgs{
			Pool:        pulumi.String(plan.Network.External.Name),
			Description: pulumi.String("API of " + plan.Name), // floating IPs have no names
			Tags:        tags(plan, "api"),
		}, child)
		if err != nil {
			return nil, err
		}
		_, err = networking.NewFloatingIpAssociate(ctx, name, &networking.FloatingIpAssociateArgs{
			FloatingIp: ip.Address,
			PortId:     port,
		}, child, pulumi.DependsOn(network.Routed)) // Neutron requires a router between the port and the pool
		if err != nil {
			return nil, err
		}
		e.Host = ip.Address
	}
	return e, ctx.RegisterResourceOutputs(e, pulumi.Map{"host": e.Host})
}

// newAddress declares a port that is bound to no machine. The port reserves the address, and the control
// planes hold it in turn by VRRP. newAddress returns the port's ID, which the association of a floating IP
// requires.
func newAddress(
	ctx *pulumi.Context, name string, plan cluster.Plan, network *Network, security *Security, child pulumi.ResourceOption,
) (pulumi.StringInput, error) {
	args := &networking.PortArgs{
		Name:         pulumi.String(name),
		NetworkId:    network.NetworkID,
		AdminStateUp: pulumi.Bool(true),
		FixedIps:     fixedIP(network, plan.API.Address),
		Tags:         tags(plan, "api"),
	}
	security.secure(args, plan, cluster.RoleControlPlane, nil)
	port, err := networking.NewPort(ctx, name, args, child)
	if err != nil {
		return nil, err
	}
	return port.ID(), nil
}

// idle is the number of milliseconds after which Octavia closes a silent connection: 1 hour. Watches and
// `kubectl exec` can be silent for a long time.
const idle = 60 * 60 * 1000

// newLoadBalancer declares an Octavia load balancer with all control planes as members. It returns the ID of
// its port, which the association of a floating IP requires.
func newLoadBalancer(
	ctx *pulumi.Context, name string, plan cluster.Plan, network *Network, child pulumi.ResourceOption,
) (pulumi.StringInput, error) {
	allowed := stringArray(append([]netip.Prefix{plan.Network.CIDR}, plan.API.AllowedCIDRs...))
	method := "LEAST_CONNECTIONS"
	monitor := &loadbalancer.MonitorArgs{
		Name:          pulumi.String(name),
		Type:          pulumi.String("HTTPS"),
		HttpMethod:    pulumi.String("GET"),
		UrlPath:       pulumi.String("/readyz"),
		ExpectedCodes: pulumi.String("200"),
		Delay:         pulumi.Int(5),
		Timeout:       pulumi.Int(4),
		MaxRetries:    pulumi.Int(2),
	}
	if plan.OpenStack.OctaviaProvider == cluster.OVN {
		// OVN keeps the address of the client, so the machines' rules filter clients
		allowed, method = nil, "SOURCE_IP_PORT"
		monitor.Type, monitor.HttpMethod, monitor.UrlPath, monitor.ExpectedCodes = pulumi.String("TCP"), nil, nil, nil
	}
	balancer, err := loadbalancer.NewLoadBalancer(ctx, name, &loadbalancer.LoadBalancerArgs{
		Name:        pulumi.String(name),
		VipSubnetId: network.SubnetID,
		VipAddress:  pulumi.String(plan.API.Address.String()),
		Tags:        tags(plan, "api"),

		LoadbalancerProvider: optional(plan.OpenStack.OctaviaProvider),
	}, child)
	if err != nil {
		return nil, err
	}
	listener, err := loadbalancer.NewListener(ctx, name, &loadbalancer.ListenerArgs{
		Name:           pulumi.String(name),
		LoadbalancerId: balancer.ID(),
		Protocol:       pulumi.String("TCP"),
		ProtocolPort:   pulumi.Int(cluster.APIPort),
		// behind an amphora, every client has the balancer's address. So the listener filters clients, and not the
		// machines' rules
		AllowedCidrs:      allowed,
		TimeoutClientData: pulumi.Int(idle),
		TimeoutMemberData: pulumi.Int(idle),
		Tags:              tags(plan, "api"),
	}, child)
	if err != nil {
		return nil, err
	}
	pool, err := loadbalancer.NewPool(ctx, name, &loadbalancer.PoolArgs{
		Name:       pulumi.String(name),
		ListenerId: listener.ID(),
		Protocol:   pulumi.String("TCP"),
		LbMethod:   pulumi.String(method),
	}, child)
	if err != nil {
		return nil, err
	}
	monitor.PoolId = pool.ID()
	if _, err := loadbalancer.NewMonitor(ctx, name, monitor, child); err != nil {
		return nil, err
	}
	for _, m := range plan.WithRole(cluster.RoleControlPlane) {
		_, err := loadbalancer.NewMember(ctx, m.ID, &loadbalancer.MemberArgs{
			Name:         pulumi.String(m.ID),
			PoolId:       pool.ID(),
			Address:      pulumi.String(m.Address.String()),
			ProtocolPort: pulumi.Int(cluster.APIPort),
			SubnetId:     network.SubnetID,
		}, child)
		if err != nil {
			return nil, err
		}
	}
	return balancer.VipPortId, nil
}

// URL returns the URL of the Kubernetes API: https://HOST:PORT.
func (e *Endpoint) URL() pulumi.StringOutput {
	return pulumi.Sprintf("https://%s:%d", e.Host, cluster.APIPort)
}

func fixedIP(network *Network, address fmt.Stringer) networking.PortFixedIpArray {
	return networking.PortFixedIpArray{networking.PortFixedIpArgs{
		SubnetId:  network.SubnetID,
		IpAddress: pulumi.String(address.String()),
	}}
}
