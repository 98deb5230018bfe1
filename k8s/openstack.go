package k8s

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
)

// cloudConfig returns the Secret with which the controllers connect to OpenStack. Only pods on control planes
// mount it.
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

// cloudConf renders cloud.conf with the ID and secret of the application credential and the ID of the load
// balancers' subnet.
func cloudConf(plan cluster.Plan, id, secret, subnet string) (string, error) {
	return execute("cloud.conf.tmpl", struct {
		cluster.OpenStack
		ID, Secret, Region, SubnetID, FloatingNetworkID string
	}{plan.OpenStack, id, secret, plan.Region, subnet, plan.Network.External.ID})
}

// cloudConfigVersion returns a hash that changes with the cloud configuration. A program that reads the
// configuration only at its start restarts when the hash changes.
func cloudConfigVersion(plan cluster.Plan) string {
	o := plan.OpenStack
	text := fmt.Append(nil, struct {
		AuthURL, Interface, CACertificate, Credential string
		Roles                                         []string
		LoadBalancer                                  string
	}{o.AuthURL, o.Interface, o.CACertificate, o.Credential, o.Roles, o.LoadBalancer},
		plan.Region, plan.Network.External.ID)
	// Only a key that is set may change the hash, so that an update of this program restarts nothing.
	if existing := o.ApplicationCredential; existing.ID != "" {
		secret := sha256.Sum256([]byte(existing.ID + string(existing.Secret)))
		text = append(text, secret[:]...)
	}
	if o.LoadBalancer == cluster.Octavia && plan.Network.External.ID == "" {
		text = append(text, "internal-lb"...)
	}
	text = append(text, o.OctaviaProvider...)
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%x", sum[:8])
}

// cloudControllerManager returns the manifest of the controller that copies data of OpenStack's instances to
// Nodes.
func cloudControllerManager(plan cluster.Plan) manifest {
	return manifest{"cloud-controller-manager", struct {
		Cluster, LoadBalancer, CloudConfig string
		Monitoring                         bool
		Proxy                              []cluster.Variable
	}{plan.Name, plan.OpenStack.LoadBalancer, cloudConfigVersion(plan), plan.Monitoring.Enabled, plan.ProxyVariables()}}
}
