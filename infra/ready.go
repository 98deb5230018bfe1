package infra

import (
	"context"
	"errors"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/readiness"
	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/internal/tenantsync"
)

// Watcher watches machines become a cluster; *readiness.Cloud is the real one. A preview calls none of it.
type Watcher interface {
	// Working tells which machines, by name, work now.
	Working(ctx context.Context, names []string) (map[string]bool, error)
	// Machine waits until one is ready.
	Machine(ctx context.Context, m readiness.Machine, log func(line string) error) error
	// Cluster waits until its API and its nodes are.
	Cluster(ctx context.Context, c readiness.Cluster, log func(line string) error) error
	// Tenants makes the cluster's be OpenStack's. The cloud is as machines reach it.
	Tenants(ctx context.Context, kubeconfig string, cloud tenantsync.Cloud, settings tenancy.Settings,
		log func(line string) error) error
}

// logger prints lines under r, notices as warnings, and keeps all but those that the next one
// outdates. Its error says that the engine is gone.
func logger(ctx *pulumi.Context, r pulumi.Resource) func(line string) error {
	return func(line string) error {
		if step, notice, ok := strings.Cut(line, ": notice: "); ok {
			return ctx.Log.Warn(step+": "+notice, &pulumi.LogArgs{Resource: r})
		}
		return ctx.Log.Info(line, &pulumi.LogArgs{Resource: r, Ephemeral: strings.HasSuffix(line, ": started")})
	}
}

// report prints what went wrong under r, and gives the program's own, short error.
func report(ctx *pulumi.Context, r pulumi.Resource, name string, err error) error {
	if err == nil {
		return nil
	}
	_ = ctx.Log.Error(err.Error(), &pulumi.LogArgs{Resource: r})
	return errors.New(name + " is not ready")
}

// whenReady is the instance's ID, in an `up` once the machine is ready.
func (s *Machines) whenReady(ctx *pulumi.Context, plan cluster.Plan, name string, m *Machine) pulumi.StringOutput {
	id := m.Instance.ID().ToStringOutput()
	if ctx.DryRun() {
		return id
	}
	return id.ApplyT(func(id string) (string, error) {
		wanted := readiness.Machine{Name: name, ID: id, Timeout: plan.BootstrapTimeout}
		return id, report(ctx, m, name, s.watcher.Machine(ctx.Context(), wanted, logger(ctx, m)))
	}).(pulumi.StringOutput)
}

// behind is text, once all others are ready. The engine is told nothing of it: if text depended on the others'
// instances, the replacement of one would be a reason to replace this one too.
func behind[T pulumi.Output](ctx *pulumi.Context, others []T, text pulumi.StringOutput) pulumi.StringOutput {
	if len(others) == 0 {
		return text
	}
	return text.ApplyTWithContext(ctx.Context(), func(ctx context.Context, text string) (string, error) {
		for _, other := range others {
			if _, err := internals.UnsafeAwaitOutput(ctx, other); err != nil {
				return "", err
			}
		}
		return text, nil
	}).(pulumi.StringOutput)
}

// Cluster is the machines together: in an `up` it is done when the API and every node are ready.
type Cluster struct {
	pulumi.ResourceState
	// Kubeconfig is the administrators', a secret; in an `up` it is known once all works.
	Kubeconfig pulumi.StringOutput
	watcher    Watcher
}

// newCluster declares it.
func (in *Infra) newCluster(ctx *pulumi.Context, plan cluster.Plan, watcher Watcher) (*Cluster, error) {
	c := &Cluster{Kubeconfig: in.Kubeconfig(plan), watcher: watcher}
	if _, err := component(ctx, "Cluster", plan.Name, c); err != nil {
		return nil, err
	}
	nodes := pulumi.StringMap{}
	etcd := pulumi.StringArray{}
	for _, m := range plan.Machines {
		ready := in.Machines.ByID[m.ID].Ready
		if m.Role == cluster.RoleEtcd {
			etcd = append(etcd, ready)
		} else {
			nodes[m.ID] = ready
		}
	}
	all := nodes.ToStringMapOutput()
	if !ctx.DryRun() {
		awaited := pulumi.All(nodes, c.Kubeconfig, etcd).ApplyT(func(values []any) (map[string]string, error) {
			ids := values[0].(map[string]string)
			wanted := readiness.Cluster{Kubeconfig: values[1].(string), Nodes: ids, Timeout: plan.BootstrapTimeout}
			return ids, report(ctx, c, plan.Name, watcher.Cluster(ctx.Context(), wanted, logger(ctx, c)))
		})
		all = pulumi.Unsecret(awaited).(pulumi.StringMapOutput) // no secret is in it
		c.Kubeconfig = behind(ctx, []pulumi.Output{all}, c.Kubeconfig)
	}
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{"nodes": all})
}
