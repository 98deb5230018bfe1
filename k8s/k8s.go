// Package k8s declares the resources in the Kubernetes cluster. Each concern has one file, and each file
// declares one Pulumi component. The objects of a component are in a YAML manifest in the same folder, in the
// form that kubectl reads. The template of a manifest gets only the values of its component.
package k8s

import (
	"embed"
	"fmt"
	"io"
	"strings"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"k8s.io/apimachinery/pkg/util/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/internal/strict"
)

//go:embed *.tmpl monitoring
var templates embed.FS

// New declares all objects. Pulumi creates them after the cluster is ready. Controllers use credential in
// OpenStack, and create load balancers in subnet. pki has the certificates of servers in the cluster. In an `up` of a
// cluster with tenancy, sync creates the tenants.
func New(ctx *pulumi.Context, plan cluster.Plan, c *infra.Cluster, credential *infra.Credential,
	subnet pulumi.StringInput, pki PKI, sync Syncer) error {
	provider, err := kubernetes.NewProvider(ctx, plan.Name, &kubernetes.ProviderArgs{
		Kubeconfig: c.Kubeconfig,
		// A new address or new certificates do not change the identity of the cluster. So Pulumi does not
		// replace its objects.
		ClusterIdentifier:     pulumi.String(plan.Name),
		EnableServerSideApply: pulumi.Bool(true),
		// Running pods mount ConfigMaps. Without this option, Pulumi would delete and recreate a changed
		// ConfigMap while pods use it.
		EnableConfigMapMutable: pulumi.Bool(true),
	})
	if err != nil {
		return err
	}
	d := deployer{ctx: ctx, plan: plan, options: []pulumi.ResourceOption{
		pulumi.Provider(provider),
		// Objects are deleted together with the cluster. So a destroy does not call an API that may be
		// unreachable.
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
	metrics, err := metricsServerObjects(plan, pki)
	if err != nil {
		return err
	}
	if _, err := d.declare("MetricsServer", metrics); err != nil {
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
	classes, err := d.deploy("StorageClasses", storageClasses(plan), snapshots, driver)
	if err != nil {
		return err
	}
	if plan.Monitoring.Enabled {
		objects, err := monitoringObjects(plan, pki)
		if err != nil {
			return err
		}
		if _, err := d.declare("Monitoring", objects, classes); err != nil {
			return err
		}
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
	return newTenants(ctx, plan, c, sync, config)
}

// manifest is a template file of this folder and the values of the template.
type manifest struct {
	name   string // the file's name without .yaml.tmpl
	values any
}

// text renders the manifest as YAML for kubectl.
func (m manifest) text() (string, error) { return execute(m.name+".yaml.tmpl", m.values) }

// execute renders a template file of this folder with values. It returns an error if a value is missing, or if a text
// has no encoder.
func execute(file string, values any) (string, error) {
	text, err := templates.ReadFile(file)
	if err != nil {
		return "", err
	}
	t, err := strict.Parse(file, string(text), nil)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, values)
	return out.String(), err
}

// object is one Kubernetes object.
type object map[string]any

// objects returns the objects of the manifest, in its order. It returns an error if the template or the YAML
// is invalid.
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
