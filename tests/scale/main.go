// Command scale is this repository's program without the resources in the cluster. Its machines count as
// ready as soon as Nova reports them as ACTIVE. `make bench-scale` uses it to measure the engine.
package main

import (
	"context"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/internal/readiness"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		text, _ := ctx.GetConfig("kubernetes-openstack:cluster")
		config, err := cluster.Decode(ctx.Stack(), text)
		if err != nil {
			return err
		}
		_, err = infra.New(ctx, cluster.NewPlan(config), nil, watcher{})
		return err
	})
}

// watcher reports every machine as ready at once.
type watcher struct{}

func (watcher) Observe(context.Context, string, []string) (cluster.Observation, error) {
	return cluster.Observation{}, nil
}

func (watcher) Snapshot(context.Context, string, string) error { return nil }

func (watcher) Machine(context.Context, readiness.Machine, func(string) error) error { return nil }

func (watcher) Cluster(context.Context, readiness.Cluster, func(string) error) error { return nil }
