package infra

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Rollout records the last complete `up`: the configuration of its plan, the instances, and the durations of machines.
// In a preview, our provider compares the record with the plan, and prints the table of the changes.
type Rollout struct{ pulumi.CustomResourceState }

// NewRollout declares the resource. ports and instances map machines to IDs. seconds are the durations of this `up`,
// after the cluster is ready. It is nil in a preview.
func NewRollout(ctx *pulumi.Context, plan cluster.Plan, ports, instances pulumi.StringMap, seconds pulumi.Input,
	opts ...pulumi.ResourceOption) (*Rollout, error) {
	config, err := plan.Record()
	if err != nil {
		return nil, err
	}
	inputs := pulumi.Map{
		"cluster":   pulumi.String(plan.Name),
		"config":    pulumi.ToSecret(pulumi.String(config)),
		"ports":     ports,
		"instances": instances,
	}
	if seconds != nil {
		inputs["seconds"] = seconds
	}
	r := &Rollout{}
	return r, ctx.RegisterResource("teardown:index:Rollout", plan.Name, inputs, r, opts...)
}
