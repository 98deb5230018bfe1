package infra

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
)

// Kubeconfig returns the administrators' kubeconfig in YAML. It is a Pulumi secret, because its certificate
// gives every permission in the cluster.
func (in *Infra) Kubeconfig(plan cluster.Plan) pulumi.StringOutput {
	return pulumi.ToSecret(pulumi.All(
		in.Endpoint.URL(),
		in.PKI.Part(cluster.KubernetesCA, cluster.PartCertificate),
		in.PKI.Part(cluster.AdminCertificate, cluster.PartCertificate),
		in.PKI.Part(cluster.AdminCertificate, cluster.PartPrivateKey),
	).ApplyT(func(values []any) (string, error) {
		return kubeconfig(plan.Name, values[0].(string), plan.API.Proxy,
			[]byte(values[1].(string)), []byte(values[2].(string)), []byte(values[3].(string)))
	})).(pulumi.StringOutput)
}

// kubeconfig returns a kubeconfig in kubectl's YAML format. The YAML encoder writes []byte as base64, which
// the *-data fields require.
func kubeconfig(name, server, proxy string, ca, certificate, key []byte) (string, error) {
	type object = map[string]any
	user := name + "-admin"
	cluster := object{"server": server, "certificate-authority-data": ca}
	if proxy != "" {
		cluster["proxy-url"] = proxy
	}
	text, err := yaml.Marshal(object{
		"apiVersion": "v1",
		"kind":       "Config",
		"clusters":   []object{{"name": name, "cluster": cluster}},
		"users": []object{{"name": user,
			"user": object{"client-certificate-data": certificate, "client-key-data": key}}},
		"contexts":        []object{{"name": name, "context": object{"cluster": name, "user": user}}},
		"current-context": name,
	})
	return string(text), err
}
