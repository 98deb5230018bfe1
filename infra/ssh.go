package infra

import (
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/compute"
	"github.com/pulumi/pulumi-tls/sdk/v5/go/tls"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// SSHKey is the key pair that lets operators into every machine.
type SSHKey struct {
	pulumi.ResourceState
	// Name in Nova.
	Name pulumi.StringOutput
	// PrivateKey is set where the user gave no public key; a secret.
	PrivateKey *pulumi.StringOutput
}

// NewSSHKey declares it.
func NewSSHKey(ctx *pulumi.Context, plan cluster.Plan) (*SSHKey, error) {
	s := &SSHKey{}
	child, err := component(ctx, "SSHKey", plan.Name, s)
	if err != nil {
		return nil, err
	}
	var public pulumi.StringInput = pulumi.String(plan.SSH.PublicKey)
	if plan.SSH.PublicKey == "" {
		key, err := tls.NewPrivateKey(ctx, plan.Name+"-ssh", &tls.PrivateKeyArgs{Algorithm: pulumi.String("ED25519")}, child)
		if err != nil {
			return nil, err
		}
		public, s.PrivateKey = key.PublicKeyOpenssh, &key.PrivateKeyOpenssh
	}
	pair, err := compute.NewKeypair(ctx, plan.Name, &compute.KeypairArgs{
		Name:      pulumi.String(plan.Name),
		PublicKey: public.ToStringOutput().ToStringPtrOutput(),
	}, child)
	if err != nil {
		return nil, err
	}
	s.Name = pair.Name
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}
