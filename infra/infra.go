// Package infra declares a cluster's OpenStack side, and its PKI, from the Plan: one file for each concern, one Pulumi
// component for each file. It decides nothing; what it declares is in package cluster, and what machines run in
// package templates.
package infra

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Infra is everything in OpenStack that one cluster has.
type Infra struct {
	Network  *Network
	Endpoint *Endpoint
	PKI      *PKI
	SSHKey   *SSHKey
	Machines *Machines
	Cluster  *Cluster
	// Credential of the cluster's own controllers.
	Credential *Credential
}

// New declares all of it, and has an `up` wait by watcher until all of it works.
func New(ctx *pulumi.Context, plan cluster.Plan, watcher Watcher) (*Infra, error) {
	network, err := NewNetwork(ctx, plan)
	if err != nil {
		return nil, err
	}
	security, err := NewSecurity(ctx, plan)
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
	leftovers, err := NewLeftovers(ctx, plan, network, security, pki)
	if err != nil {
		return nil, err
	}
	machines, err := NewMachines(ctx, plan, network, security, leftovers, pki, key, watcher)
	if err != nil {
		return nil, err
	}
	in := &Infra{Network: network, Endpoint: endpoint, PKI: pki, SSHKey: key, Machines: machines, Credential: credential}
	in.Cluster, err = in.newCluster(ctx, plan, watcher)
	return in, err
}

// component registers a component of this package, and gives its children's options.
func component(ctx *pulumi.Context, kind, name string, c pulumi.ComponentResource,
	opts ...pulumi.ResourceOption) (pulumi.ResourceOption, error) {
	if err := ctx.RegisterComponentResource("kubernetes-openstack:infra:"+kind, name, c, opts...); err != nil {
		return nil, err
	}
	return pulumi.Parent(c), nil
}

// tags mark what belongs to the cluster, where OpenStack has tags.
func tags(plan cluster.Plan, role string) pulumi.StringArray {
	out := pulumi.StringArray{pulumi.String("cluster=" + plan.Name)}
	if role != "" {
		out = append(out, pulumi.String("role="+role))
	}
	return out
}

// metadata is the same where OpenStack has metadata instead.
func metadata(plan cluster.Plan, role cluster.Role) pulumi.Map {
	return pulumi.Map{"cluster": pulumi.String(plan.Name), "role": pulumi.String(string(role))}
}

// optional is an argument that is left out where it is empty.
func optional(s string) pulumi.StringPtrInput {
	if s == "" {
		return nil
	}
	return pulumi.String(s)
}

// stringArray is a list of anything that prints.
func stringArray[T fmt.Stringer](list []T) pulumi.StringArray {
	var out pulumi.StringArray
	for _, s := range list {
		out = append(out, pulumi.String(s.String()))
	}
	return out
}
