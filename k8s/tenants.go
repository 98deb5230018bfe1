package k8s

import (
	"context"
	"encoding/base64"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/internal/tenantsync"
)

// tenantSync returns the ConfigMap with the settings of tenant-sync on the control planes, and the Secret
// with its access to OpenStack. tenant-sync reads both at each run. They are not part of user-data, so a new
// mapping or a new password replaces no machine.
func tenantSync(plan cluster.Plan) ([]object, error) {
	settings, err := yaml.Marshal(plan.Tenancy.Settings)
	if err != nil {
		return nil, err
	}
	cloud, err := yaml.Marshal(reader(plan))
	if err != nil {
		return nil, err
	}
	metadata := map[string]any{"name": "tenant-sync", "namespace": "kube-system"}
	return []object{
		{
			"apiVersion": "v1",
			"kind":       "ConfigMap",
			"metadata":   metadata,
			"data":       map[string]any{"settings.yaml": string(settings)},
		},
		{
			"apiVersion": "v1",
			"kind":       "Secret",
			"metadata":   metadata,
			"type":       "Opaque",
			"data": map[string]any{
				"cloud.yaml": pulumi.ToSecret(pulumi.String(base64.StdEncoding.EncodeToString(cloud))),
			},
		},
	}, nil
}

// newTenants declares the component Tenants. In an `up`, it completes when the cluster has the same tenants as
// OpenStack: sync runs after the cluster is ready and the resource after exists. From then on, tenant-sync on
// the control planes keeps them equal.
func newTenants(ctx *pulumi.Context, plan cluster.Plan, c *infra.Cluster, sync Syncer, after pulumi.Resource) error {
	t := &pulumi.ResourceState{}
	if err := ctx.RegisterComponentResource("kubernetes-openstack:k8s:Tenants", plan.Name, t); err != nil {
		return err
	}
	outputs := pulumi.Map{}
	if !ctx.DryRun() {
		synced := pulumi.All(c.Kubeconfig, after.URN()).ApplyT(func(values []any) (string, error) {
			within, cancel := context.WithTimeout(ctx.Context(), plan.BootstrapTimeout)
			defer cancel()
			err := sync(within, values[0].(string), reader(plan), plan.Tenancy.Settings, infra.Logger(ctx, c))
			return string(plan.Tenancy.Authorizer), infra.NotReady(ctx, c, "tenant-sync", err)
		})
		outputs["authorizer"] = pulumi.Unsecret(synced) // the output contains no secret
	}
	return ctx.RegisterResourceOutputs(t, outputs)
}

// reader returns OpenStack's address and the reader's credentials, with which control planes read the tenants.
func reader(plan cluster.Plan) tenantsync.Cloud {
	return tenantsync.Cloud{
		AuthURL: plan.OpenStack.AuthURL, CA: plan.OpenStack.CACertificate, Region: plan.Region,
		Interface: plan.OpenStack.Interface,
		Username:  plan.Tenancy.Reader.Username, UserDomain: plan.Tenancy.Reader.Domain,
		Password: string(plan.Tenancy.Reader.Password),
	}
}
