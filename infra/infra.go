// Package infra declares the OpenStack resources and the PKI of a cluster from the Plan. Each concern has one
// file, and each file declares one Pulumi component. The package makes no decisions: package cluster computes
// what infra declares, and package templates renders the files of the machines.
package infra

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Infra holds all OpenStack resources and the PKI of one cluster.
type Infra struct {
	Network  *Network
	Endpoint *Endpoint
	PKI      *PKI
	SSHKey   *SSHKey
	Machines *Machines
	Cluster  *Cluster
	// Credential is the application credential of the cluster's controllers.
	Credential *Credential
	// Backup is the object storage of etcd's snapshots.
	Backup *Backup
}

// New declares all resources. snapshot is the local file that the plan restores, or nil. In an `up`, New uses
// watcher to wait until all machines and the cluster are ready.
func New(ctx *pulumi.Context, plan cluster.Plan, snapshot *Snapshot, watcher Watcher) (*Infra, error) {
	security, err := NewSecurity(ctx, plan)
	if err != nil {
		return nil, err
	}
	project, err := NewProject(ctx, plan, security)
	if err != nil {
		return nil, err
	}
	if err := security.Allow(ctx, plan); err != nil {
		return nil, err
	}
	network, err := NewNetwork(ctx, plan)
	if err != nil {
		return nil, err
	}
	endpoint, err := NewEndpoint(ctx, plan, network, security)
	if err != nil {
		return nil, err
	}
	pki, err := NewPKI(ctx, plan, endpoint)
	if err != nil {
		return nil, err
	}
	key, err := NewSSHKey(ctx, plan)
	if err != nil {
		return nil, err
	}
	credential, err := NewCredential(ctx, plan)
	if err != nil {
		return nil, err
	}
	backup, err := NewBackup(ctx, plan, security, snapshot)
	if err != nil {
		return nil, err
	}
	leftovers, err := NewLeftovers(ctx, plan, network, security, pki, backup, project)
	if err != nil {
		return nil, err
	}
	in := &Infra{
		Network: network, Endpoint: endpoint, PKI: pki, SSHKey: key, Credential: credential, Backup: backup,
	}
	in.Machines, err = NewMachines(ctx, plan, project, network, security, leftovers, pki, backup, key,
		in.Kubeconfig(plan), watcher)
	if err != nil {
		return nil, err
	}
	in.Cluster, err = in.newCluster(ctx, plan, watcher)
	return in, err
}

// component registers a component of this package, and returns the option that makes other resources its
// children.
func component(ctx *pulumi.Context, kind, name string, c pulumi.ComponentResource,
	opts ...pulumi.ResourceOption) (pulumi.ResourceOption, error) {
	if err := ctx.RegisterComponentResource("kubernetes-openstack:infra:"+kind, name, c, opts...); err != nil {
		return nil, err
	}
	return pulumi.Parent(c), nil
}

// tags returns the tags that mark resources of the cluster, for kinds of resources that have tags in
// OpenStack. The tag of the role is left out if role is empty.
func tags(plan cluster.Plan, role string) pulumi.StringArray {
	out := pulumi.StringArray{pulumi.String("cluster=" + plan.Name)}
	if role != "" {
		out = append(out, pulumi.String("role="+role))
	}
	return out
}

// metadata returns the same marks as tags, for kinds of resources that have metadata instead of tags.
func metadata(plan cluster.Plan, role cluster.Role) pulumi.Map {
	return pulumi.Map{"cluster": pulumi.String(plan.Name), "role": pulumi.String(string(role))}
}

// optional returns an argument that is absent if s is empty.
func optional(s string) pulumi.StringPtrInput {
	if s == "" {
		return nil
	}
	return pulumi.String(s)
}

// stringArray converts each element of list to its text.
func stringArray[T fmt.Stringer](list []T) pulumi.StringArray {
	var out pulumi.StringArray
	for _, s := range list {
		out = append(out, pulumi.String(s.String()))
	}
	return out
}
