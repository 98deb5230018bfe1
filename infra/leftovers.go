package infra

import (
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Leftovers are what the cluster's own controllers make in OpenStack: volumes and snapshots of claims, load balancers
// of Services. Pulumi knows none of it. A destroy deletes this resource after the machines and before the network, and
// its provider, which is ours, then keeps or deletes what there is.
type Leftovers struct{ pulumi.CustomResourceState }

// NewLeftovers declares it. It comes after the certificates because every machine comes after it: the engine
// deletes in layers, by how many resources in a row one depends on, and waits for each layer. So all
// machines are in one, whatever certificates they hold.
func NewLeftovers(ctx *pulumi.Context, plan cluster.Plan, network *Network, security *Security,
	pki *PKI) (*Leftovers, error) {
	before := slices.Clone(network.Routed)
	for _, group := range security.groups {
		before = append(before, group)
	}
	before = append(before, pki.certificates...)
	l := &Leftovers{}
	return l, ctx.RegisterResource("teardown:index:Leftovers", plan.Name, pulumi.Map{
		"cluster":   pulumi.String(plan.Name),
		"onDestroy": pulumi.String(plan.Storage.OnDestroy),
	}, l, pulumi.DependsOn(before))
}
