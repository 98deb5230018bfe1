package infra

import (
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Leftovers stands for the resources that the cluster's controllers create in OpenStack: volumes and
// snapshots of claims, and load balancers of Services. Pulumi does not manage these resources. A destroy
// deletes Leftovers after the machines and before the network. Its provider, which is ours, then keeps or
// deletes the resources that exist.
type Leftovers struct{ pulumi.CustomResourceState }

// NewLeftovers declares the resource. It depends on the certificates and on the object storage because every machine
// depends on it. The engine deletes resources in layers, sorted by the length of their chain of dependencies, and waits
// for each layer. With this dependency all machines are in one layer, independent of the certificates that they hold.
// No machine is left to upload a snapshot when the container is deleted.
func NewLeftovers(ctx *pulumi.Context, plan cluster.Plan, network *Network, security *Security,
	pki *PKI, backup *Backup, project *Project) (*Leftovers, error) {
	before := slices.Clone(network.Routed)
	for _, group := range security.groups {
		before = append(before, group)
	}
	before = append(before, pki.certificates...)
	before = append(before, backup.resources...)
	l := &Leftovers{}
	return l, ctx.RegisterResource("teardown:index:Leftovers", plan.Name, pulumi.Map{
		"cluster":   pulumi.String(plan.Name),
		"onDestroy": pulumi.String(plan.Storage.OnDestroy),
	}, l, pulumi.DependsOn(before), pulumi.Provider(project))
}
