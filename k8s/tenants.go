package k8s

import (
	"encoding/base64"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
)

// tenantSync returns the ConfigMap with the settings of tenant-sync on the control planes, and the Secret
// with its access to OpenStack. tenant-sync reads both at each run. They are not part of user-data, so a new
// mapping or a new password replaces no machine.
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
