package k8s

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
)

// cloudConfig is the Secret of what the controllers reach OpenStack with. Only control planes are sent it.
func cloudConfig(plan cluster.Plan, credential *infra.Credential, subnet pulumi.StringInput) object {
	inputs := pulumi.All(credential.ID, credential.Secret, subnet.ToStringOutput())
	conf := inputs.ApplyT(func(values []any) (string, error) {
		text, err := cloudConf(plan, values[0].(string), values[1].(string), values[2].(string))
		return base64.StdEncoding.EncodeToString([]byte(text)), err
	})
	data := map[string]any{"cloud.conf": pulumi.ToSecret(conf)}
	if ca := plan.OpenStack.CACertificate; ca != "" {
		data["ca.crt"] = base64.StdEncoding.EncodeToString([]byte(ca))
	}
	return object{
		"apiVersion": "v1",
		"kind":       "Secret",
		"metadata":   map[string]any{"name": "cloud-config", "namespace": "kube-system"},
		"type":       "Opaque",
		"data":       data,
	}
}

// cloudConf is cloud.conf, with the application credential and the subnet that load balancers are in.
func cloudConf(plan cluster.Plan, id, secret, subnet string) (string, error) {
	return execute("cloud.conf.tmpl", struct {
		cluster.OpenStack
		ID, Secret, Region, SubnetID, FloatingNetworkID string
	}{plan.OpenStack, id, secret, plan.Region, subnet, plan.Network.External.ID})
}

// cloudConfigVersion changes with the cloud configuration: who reads it when it starts is started anew when it changes.
func cloudConfigVersion(plan cluster.Plan) string {
	sum := sha256.Sum256(fmt.Append(nil, plan.OpenStack, plan.Region, plan.Network.External.ID))
	return fmt.Sprintf("%x", sum[:8])
}

// cloudControllerManager tells Nodes what OpenStack knows of them.
func cloudControllerManager(plan cluster.Plan) manifest {
	return manifest{"cloud-controller-manager", struct{ Cluster, LoadBalancer, CloudConfig string }{
		plan.Name, plan.OpenStack.LoadBalancer, cloudConfigVersion(plan),
	}}
}
