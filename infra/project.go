package infra

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/openstack"
)

// Project is our provider, for the OpenStack project of the stack. The provider starts only if the credentials
// are for this project. The state has the project's ID in the provider's environment, and a refresh or a
// destroy starts all providers before it reads or deletes the first resource. So it changes nothing with the
// credentials of another project, in which it would find no resource.
//
// The provider also compares the machines with those of the last `up`, and refuses changes that would stop the whole
// cluster.
type Project struct {
	pulumi.ProviderResourceState
	// Renamed maps IDs of machines to the former IDs of the machines with their addresses.
	Renamed pulumi.StringMapOutput `pulumi:"renamed"`
	renamed map[string]string
}

// NewProject declares the provider, and waits until it has started, before the program declares other resources.
// The project's ID is the one of the security groups, which an earlier `up` created and whose state this `up` has
// not read anew. A preview does not verify the project, because it needs no cloud.
func NewProject(ctx *pulumi.Context, plan cluster.Plan, security *Security) (*Project, error) {
	p := &Project{}
	machines := pulumi.Map{}
	for _, m := range plan.Machines {
		machines[m.Address.String()] = pulumi.String(m.ID)
	}
	inputs, options := pulumi.Map{
		"machines": machines, "members": pulumi.Int(plan.Etcd.Count),
		"podCIDR":     pulumi.String(plan.Network.PodCIDR.String()),
		"serviceCIDR": pulumi.String(plan.Network.ServiceCIDR.String()),
		"mode":        pulumi.String(plan.Network.Mode),
		"networkID":   pulumi.String(plan.Network.NetworkID),
		"subnetID":    pulumi.String(plan.Network.SubnetID),
	}, []pulumi.ResourceOption{}
	if plan.Network.Mode == cluster.TenantNetwork {
		inputs["cidr"] = pulumi.String(plan.Network.CIDR.String())
	}
	if !ctx.DryRun() {
		id, err := internals.UnsafeAwaitOutput(ctx.Context(), security.groups[cluster.RoleEtcd].TenantId)
		if err != nil {
			return nil, err
		}
		project, _ := id.Value.(string)
		if project == "" { // `pulumi up --target` skips the creation of the groups
			return nil, fmt.Errorf("the OpenStack project is unknown, because security group %s-%s does not exist: "+
				"run `pulumi up` without --target", plan.Name, cluster.RoleEtcd)
		}
		inputs["project"] = pulumi.String(project)
		// PATH stands for any variable that exists. The engine copies its value, which the provider does not use.
		options = append(options, pulumi.EnvVarMappings(map[string]string{"PATH": openstack.Variable(project)}))
	}
	if err := ctx.RegisterResource("pulumi:providers:teardown", plan.Name, inputs, p, options...); err != nil {
		return nil, err
	}
	renamed, err := internals.UnsafeAwaitOutput(ctx.Context(), p.Renamed)
	p.renamed, _ = renamed.Value.(map[string]string) // unknown in the preview of a new stack
	return p, err
}

// Former returns an option for the component of a machine. After a pool got another name, its resources are those
// of the former machine, so that the port with the address stays, and the new instance replaces the old one.
func (p *Project) Former(machine string) pulumi.ResourceOption {
	var aliases []pulumi.Alias
	if former := p.renamed[machine]; former != "" {
		aliases = []pulumi.Alias{{Name: pulumi.String(former)}} // the children inherit it
	}
	return pulumi.Aliases(aliases)
}
