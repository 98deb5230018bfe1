// Package k8s declares what is deployed into the cluster: one file for each concern, one Pulumi component
// for each file, and its objects as a manifest beside it, in the form that kubectl reads. Templates of a
// manifest get the component's values, and nothing else.
package k8s

import (
	"embed"
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"k8s.io/apimachinery/pkg/util/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
)

//go:embed *.tmpl
var templates embed.FS

// New declares all of it, to be created once the cluster is ready. Controllers act in OpenStack as the
// credential, and have their load balancers in the subnet.
func New(ctx *pulumi.Context, plan cluster.Plan, c *infra.Cluster, credential *infra.Credential,
	subnet pulumi.StringInput) error {
	provider, err := kubernetes.NewProvider(ctx, plan.Name, &kubernetes.ProviderArgs{
		Kubeconfig: c.Kubeconfig,
		// It is the same cluster whatever its address and its certificates: nothing in it is replaced when they are.
		ClusterIdentifier:     pulumi.String(plan.Name),
		EnableServerSideApply: pulumi.Bool(true),
		// Pods read on: else a changed ConfigMap is deleted and made anew under them.
		EnableConfigMapMutable: pulumi.Bool(true),
	})
	if err != nil {
		return err
	}
	d := deployer{ctx: ctx, plan: plan, options: []pulumi.ResourceOption{
		pulumi.Provider(provider),
		// What is in the cluster goes with it: a destroy need not ask an API that may be gone, or goes while it is asked.
		pulumi.DeletedWith(c),
		pulumi.Timeouts(&pulumi.CustomTimeouts{Create: plan.BootstrapTimeout.String(),
			Update: plan.BootstrapTimeout.String()}),
	}}
	if _, err := d.deploy("KubeControllers", kubeControllers(plan)); err != nil {
		return err
	}
	config, err := d.declare("CloudConfig", []object{cloudConfig(plan, credential, subnet)})
	if err != nil {
		return err
	}
	if _, err := d.deploy("CloudControllerManager", cloudControllerManager(plan), config); err != nil {
		return err
	}
	if _, err := d.deploy("DNS", dns(plan)); err != nil {
		return err
	}
	snapshots, err := d.deploy("Snapshots", snapshots(plan))
	if err != nil {
		return err
	}
	driver, err := d.deploy("CinderCSI", cinderCSI(plan), config)
	if err != nil {
		return err
	}
	if _, err = d.deploy("StorageClasses", storageClasses(plan), snapshots, driver); err != nil {
		return err
	}
	if !plan.Tenancy.Enabled {
		return nil
	}
	objects, err := tenantSync(plan)
	if err != nil {
		return err
	}
	config, err = d.declare("TenantSync", objects)
	if err != nil {
		return err
	}
	_, err = infra.NewTenants(ctx, plan, c, config)
	return err
}

// manifest is a file of this folder and the values of its template.
type manifest struct {
	name   string // without .yaml.tmpl
	values any
}

// text is the manifest as kubectl reads it.
func (m manifest) text() (string, error) { return execute(m.name+".yaml.tmpl", m.values) }

// execute is a file of this folder with values.
func execute(file string, values any) (string, error) {
	t, err := template.New(file).Option("missingkey=error").ParseFS(templates, file)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, values)
	return out.String(), err
}

// object is one of Kubernetes'.
type object map[string]any

// objects are the manifest's, in its order.
func (m manifest) objects() ([]object, error) {
	text, err := m.text()
	if err != nil {
		return nil, err
	}
	var objects []object
	for decoder := yaml.NewYAMLToJSONDecoder(strings.NewReader(text)); ; {
		var o object
		if err := decoder.Decode(&o); err == io.EOF {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		objects = append(objects, o)
	}
}
