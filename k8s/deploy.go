package k8s

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// deployer declares manifests.
type deployer struct {
	ctx     *pulumi.Context
	plan    cluster.Plan
	options []pulumi.ResourceOption // of every object
}

// deploy declares the objects of a manifest in their order: each when those before it are there and ready.
func (d deployer) deploy(component string, m manifest) error {
	objects, err := m.objects()
	if err != nil {
		return err
	}
	c := &pulumi.ResourceState{}
	if err := d.ctx.RegisterComponentResource("kubernetes-openstack:k8s:"+component, d.plan.Name, c); err != nil {
		return err
	}
	var before []pulumi.Resource
	for _, o := range objects {
		r := &pulumi.CustomResourceState{}
		options := slices.Concat(d.options, []pulumi.ResourceOption{pulumi.Parent(c), pulumi.DependsOn(before)})
		if err := d.ctx.RegisterResource(o.token(), o.name(), kubernetes.UntypedArgs(o), r, options...); err != nil {
			return fmt.Errorf("%s: %w", o.name(), err)
		}
		before = []pulumi.Resource{r}
	}
	return d.ctx.RegisterResourceOutputs(c, pulumi.Map{})
}

// token is Pulumi's name of the kind: kubernetes:apps/v1:Deployment.
func (o object) token() string {
	version := o["apiVersion"].(string)
	if !strings.Contains(version, "/") {
		version = "core/" + version
	}
	return "kubernetes:" + version + ":" + o["kind"].(string)
}

// name is namespace/name, or the name of what is in no namespace.
func (o object) name() string {
	metadata := o["metadata"].(map[string]any)
	if namespace, ok := metadata["namespace"]; ok {
		return fmt.Sprintf("%s/%s", namespace, metadata["name"])
	}
	return metadata["name"].(string)
}
