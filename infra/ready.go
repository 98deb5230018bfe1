package infra

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/bootstraptoken"
	"kubernetes-openstack/internal/readiness"
)

// Watcher waits until the machines form a ready cluster. *readiness.Cloud is the real implementation. A
// preview calls no method of Watcher.
type Watcher interface {
	// Observe returns the conditions of the machines with these names, and of the API.
	Observe(ctx context.Context, kubeconfig string, names []string) (cluster.Observation, error)
	// Snapshot returns an error if a Swift container has no object of a snapshot with this name.
	Snapshot(ctx context.Context, container, name string) error
	// Machine waits until one machine is ready, and passes progress to log.
	Machine(ctx context.Context, m readiness.Machine, log func(line string) error) error
	// Cluster waits until the API and all nodes are ready.
	Cluster(ctx context.Context, c readiness.Cluster, log func(line string) error) error
}

// Logger returns a function that logs lines under resource r. It logs notices as warnings. Lines that end in
// ": started" are ephemeral, because the next line outdates them. The function returns an error if the Pulumi
// engine has ended.
func Logger(ctx *pulumi.Context, r pulumi.Resource) func(line string) error {
	return func(line string) error {
		if step, notice, ok := strings.Cut(line, ": notice: "); ok {
			return ctx.Log.Warn(step+": "+notice, &pulumi.LogArgs{Resource: r})
		}
		return ctx.Log.Info(line, &pulumi.LogArgs{Resource: r, Ephemeral: strings.HasSuffix(line, ": started")})
	}
}

// NotReady logs err under r, and returns a short error for the program. It returns nil if err is nil.
func NotReady(ctx *pulumi.Context, r pulumi.Resource, name string, err error) error {
	if err == nil {
		return nil
	}
	_ = ctx.Log.Error(err.Error(), &pulumi.LogArgs{Resource: r})
	return errors.New(name + " is not ready")
}

// whenReady returns the ID of the instance of m. In an `up`, the ID resolves when the machine is ready.
func (s *Machines) whenReady(
	ctx *pulumi.Context, plan cluster.Plan, machine cluster.Machine, m *Machine,
) pulumi.StringOutput {
	id := m.Instance.ID().ToStringOutput()
	if ctx.DryRun() {
		return id
	}
	ready := pulumi.All(id, s.kubeconfig, s.pki.Derived(cluster.BootstrapKey)).ApplyT(func(values []any) (string, error) {
		wanted := readiness.Machine{
			Name: machine.ID, ID: values[0].(string), Node: machine.Role != cluster.RoleEtcd,
			Kubeconfig: values[1].(string), Timeout: plan.BootstrapTimeout,
			Seed: bootstraptoken.NewSeed(values[2].(string), machine.ID, machine.Address),
		}
		err := s.watcher.Machine(ctx.Context(), wanted, Logger(ctx, m))
		if err == nil && !s.observed.Instances[wanted.ID] {
			_, replaces := s.observed.Machines[machine.ID]
			s.mu.Lock()
			defer s.mu.Unlock()
			s.took.Add(machine.Role, replaces, time.Since(m.begin))
		}
		return wanted.ID, NotReady(ctx, m, machine.ID, err)
	})
	return pulumi.Unsecret(ready).(pulumi.StringOutput) // the ID is no secret
}

// waitFor returns text after all others are ready. It hides this order from the engine on purpose. A declared
// dependency would replace this machine whenever one of the others is replaced.
func waitFor[T pulumi.Output](ctx *pulumi.Context, others []T, text pulumi.StringOutput) pulumi.StringOutput {
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

// Cluster is the component of all machines. In an `up`, it completes when the API and all nodes are ready.
type Cluster struct {
	pulumi.ResourceState
	// Kubeconfig is the administrators' kubeconfig, a Pulumi secret. In an `up`, it resolves when the cluster
	// is ready.
	Kubeconfig pulumi.StringOutput
}

// newCluster declares the component.
func (in *Infra) newCluster(ctx *pulumi.Context, plan cluster.Plan, watcher Watcher) (*Cluster, error) {
	c := &Cluster{Kubeconfig: in.Kubeconfig(plan)}
	child, err := component(ctx, "Cluster", plan.Name, c)
	if err != nil {
		return nil, err
	}
	nodes, ports, instances := pulumi.StringMap{}, pulumi.StringMap{}, pulumi.StringMap{}
	etcd := pulumi.StringArray{}
	for _, m := range plan.Machines {
		machine := in.Machines.ByID[m.ID]
		ports[m.ID], instances[m.ID] = machine.Port.ID(), machine.Instance.ID()
		if m.Role == cluster.RoleEtcd {
			etcd = append(etcd, machine.Ready)
		} else {
			nodes[m.ID] = machine.Ready
		}
	}
	all := nodes.ToStringMapOutput()
	var seconds pulumi.Input
	if !ctx.DryRun() {
		awaited := pulumi.All(nodes, c.Kubeconfig, etcd).ApplyT(func(values []any) (map[string]string, error) {
			ids := values[0].(map[string]string)
			wanted := readiness.Cluster{Kubeconfig: values[1].(string), Nodes: ids, Timeout: plan.BootstrapTimeout}
			return ids, NotReady(ctx, c, plan.Name, watcher.Cluster(ctx.Context(), wanted, Logger(ctx, c)))
		})
		all = pulumi.Unsecret(awaited).(pulumi.StringMapOutput) // the IDs contain no secret
		c.Kubeconfig = waitFor(ctx, []pulumi.Output{all}, c.Kubeconfig)
		seconds = all.ApplyT(func(map[string]string) map[string]int { return in.Machines.took })
	}
	project := pulumi.Provider(in.Machines.project)
	if _, err := NewRollout(ctx, plan, ports, instances, seconds, child, project); err != nil {
		return nil, err
	}
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{"nodes": all})
}
