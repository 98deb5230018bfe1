package infra

import (
	"context"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/tenantsync"
)

// Tenants is the component of the OpenStack tenants in the cluster. In an `up`, it completes when the cluster
// has the same tenants as OpenStack. From then on, tenant-sync on the control planes keeps them equal.
type Tenants struct{ pulumi.ResourceState }

// NewTenants declares the component. It completes after the cluster is ready and the resource after exists.
func NewTenants(ctx *pulumi.Context, plan cluster.Plan, c *Cluster, after pulumi.Resource) (*Tenants, error) {
	t := &Tenants{}
	if _, err := component(ctx, "Tenants", plan.Name, t); err != nil {
		return nil, err
	}
	outputs := pulumi.Map{}
	if !ctx.DryRun() {
		synced := pulumi.All(c.Kubeconfig, after.URN()).ApplyT(func(values []any) (string, error) {
			within, cancel := context.WithTimeout(ctx.Context(), plan.BootstrapTimeout)
			defer cancel()
			err := c.watcher.Tenants(within, values[0].(string), Cloud(plan), plan.Tenancy.Settings, logger(ctx, c))
			return string(plan.Tenancy.Authorizer), report(ctx, c, "tenant-sync", err)
		})
		outputs["authorizer"] = pulumi.Unsecret(synced) // the output contains no secret
	}
	return t, ctx.RegisterResourceOutputs(t, outputs)
}

// Cloud returns OpenStack's address and the reader's credentials, with which control planes read the tenants.
func Cloud(plan cluster.Plan) tenantsync.Cloud {
	return tenantsync.Cloud{
		AuthURL: plan.OpenStack.AuthURL, CA: plan.OpenStack.CACertificate, Region: plan.Region,
		Interface: plan.OpenStack.Interface,
		Username:  plan.Tenancy.Reader.Username, UserDomain: plan.Tenancy.Reader.Domain,
		Password: string(plan.Tenancy.Reader.Password),
	}
}
