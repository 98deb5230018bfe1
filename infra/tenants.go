package infra

import (
	"context"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/tenantsync"
)

// Tenants are OpenStack's, in the cluster: in an `up` it is done when they are the
// same. From then on the control planes keep them so.
type Tenants struct{ pulumi.ResourceState }

// NewTenants declares it, to be done once the cluster is ready and after is there.
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
		outputs["authorizer"] = pulumi.Unsecret(synced) // no secret is in it
	}
	return t, ctx.RegisterResourceOutputs(t, outputs)
}

// Cloud is OpenStack as control planes read its tenants.
func Cloud(plan cluster.Plan) tenantsync.Cloud {
	return tenantsync.Cloud{
		AuthURL: plan.OpenStack.AuthURL, CA: plan.OpenStack.CACertificate, Region: plan.Region,
		Interface: plan.OpenStack.Interface,
		Username:  plan.Tenancy.Reader.Username, UserDomain: plan.Tenancy.Reader.Domain,
		Password: string(plan.Tenancy.Reader.Password),
	}
}
