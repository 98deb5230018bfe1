package k8s

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"

	"kubernetes-openstack/cluster"
)

// deployer declares the objects of manifests as Pulumi resources.
type deployer struct {
	ctx     *pulumi.Context
	plan    cluster.Plan
	options []pulumi.ResourceOption // options of every object
}

// deploy declares the objects of a manifest in their order. Each object waits until the objects before it and
// the resources in after exist and are ready. deploy returns the last object. It returns an error if the
// template or the YAML is invalid.
func (d deployer) deploy(component string, m manifest, after ...pulumi.Resource) (pulumi.Resource, error) {
	objects, err := m.objects()
	if err != nil {
		return nil, err
	}
	return d.declare(component, objects, after...)
}

func (d deployer) declare(component string, objects []object,
	after ...pulumi.Resource) (last pulumi.Resource, err error) {
	c := &pulumi.ResourceState{}
	if err := d.ctx.RegisterComponentResource("kubernetes-openstack:k8s:"+component, d.plan.Name, c); err != nil {
		return nil, err
	}
	for _, o := range objects {
		if err := d.unsecretUnknown(o); err != nil {
			return nil, fmt.Errorf("%s: %w", o.name(), err)
		}
		r := &pulumi.CustomResourceState{}
		options := slices.Concat(d.options, []pulumi.ResourceOption{pulumi.Parent(c), pulumi.DependsOn(after)})
		if err := d.ctx.RegisterResource(o.token(), o.name(), kubernetes.UntypedArgs(o), r, options...); err != nil {
			return nil, fmt.Errorf("%s: %w", o.name(), err)
		}
		last, after = r, []pulumi.Resource{r}
	}
	return last, d.ctx.RegisterResourceOutputs(c, pulumi.Map{})
}

// unsecretUnknown removes the mark of a secret from data that a preview does not know. Before the cluster exists, the
// provider has no kubeconfig. Then the engine's `preview --json` panics for inputs that are secret and unknown.
func (d deployer) unsecretUnknown(o object) error {
	data, _ := o["data"].(map[string]any)
	for key, value := range data {
		output, ok := value.(pulumi.Output)
		if !ok || !d.ctx.DryRun() {
			continue
		}
		result, err := internals.UnsafeAwaitOutput(d.ctx.Context(), output)
		if err != nil {
			return err
		}
		if !result.Known {
			data[key] = pulumi.Unsecret(output)
		}
	}
	return nil
}

// token returns Pulumi's type token of the object, such as kubernetes:apps/v1:Deployment.
func (o object) token() string {
	version := o["apiVersion"].(string)
	if !strings.Contains(version, "/") {
		version = "core/" + version
	}
	return "kubernetes:" + version + ":" + o["kind"].(string)
}

// name returns namespace/name, or only the name of an object without a namespace.
func (o object) name() string {
	metadata := o["metadata"].(map[string]any)
	if namespace, ok := metadata["namespace"]; ok {
		return fmt.Sprintf("%s/%s", namespace, metadata["name"])
	}
	return metadata["name"].(string)
}
