package infra

import (
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Instances lists the instances of all machines. A destroy deletes this resource before the machines. With
// storage.onDestroy: delete, our provider then deletes all instances, 16 in parallel. Drains and shutdowns are not
// necessary, because the data are deleted too.
type Instances struct{ pulumi.CustomResourceState }

// NewInstances declares the resource. ids are the IDs of the Nova instances.
func NewInstances(ctx *pulumi.Context, plan cluster.Plan, ids pulumi.StringArray,
	opts ...pulumi.ResourceOption) (*Instances, error) {
	i := &Instances{}
	// after this timeout, the OpenStack provider deletes the instances that are left
	timeout := time.Minute + time.Duration(len(ids))*2*time.Second
	opts = append(opts, pulumi.Timeouts(&pulumi.CustomTimeouts{Delete: timeout.String()}))
	return i, ctx.RegisterResource("teardown:index:Instances", plan.Name, pulumi.Map{
		"cluster":   pulumi.String(plan.Name),
		"onDestroy": pulumi.String(plan.Storage.OnDestroy),
		"instances": ids,
	}, i, opts...)
}
