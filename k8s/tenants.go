package k8s

import (
	"encoding/base64"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
)

// tenantSync is what tenant-sync on the control planes does, and how it reaches OpenStack. It reads it at each run:
// nothing of it is a machine's, so none is replaced for another mapping or another password.
func tenantSync(plan cluster.Plan) ([]object, error) {
	settings, err := yaml.Marshal(plan.Tenancy.Settings)
	if err != nil {
		return nil, err
	}
	cloud, err := yaml.Marshal(infra.Cloud(plan))
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
