package infra

import (
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/compute"
	"github.com/pulumi/pulumi-tls/sdk/v5/go/tls"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// SSHKey is the key that operators use to log in to every machine.
type SSHKey struct {
	pulumi.ResourceState
	// Pair is the key pair in Nova, which belongs to one user. It is nil if user-data has the key. Its name is the
	// cluster's. No other resource may have an input from Pair: Nova allows only one key pair of a name, so a new public
	// key deletes Pair first. The engine would also delete all resources that have an input from it, which are all
	// machines.
	Pair *compute.Keypair
	// UserData is the public key for user-data. It is empty if Nova has a key pair.
	UserData pulumi.StringOutput
	// PrivateKey is the generated key in OpenSSH format, a Pulumi secret. It is nil if the configuration has
	// a public key.
	PrivateKey *pulumi.StringOutput
}

// NewSSHKey declares the key pair, unless user-data has the key. It generates an Ed25519 key if the configuration has
// no public key.
func NewSSHKey(ctx *pulumi.Context, plan cluster.Plan) (*SSHKey, error) {
	s := &SSHKey{UserData: pulumi.String("").ToStringOutput()}
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
	if !plan.SSH.KeyPair {
		s.UserData = public.ToStringOutput()
		return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
	}
	s.Pair, err = compute.NewKeypair(ctx, plan.Name, &compute.KeypairArgs{
		Name:      pulumi.String(plan.Name),
		PublicKey: public.ToStringOutput().ToStringPtrOutput(),
	}, child)
	if err != nil {
		return nil, err
	}
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}
