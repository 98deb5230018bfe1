package infra

import (
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/identity"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Credential is what the cluster's own controllers act as in OpenStack: never the user who runs the program.
type Credential struct {
	pulumi.ResourceState
	// ID and Secret of an application credential; Secret is one.
	ID     pulumi.StringOutput
	Secret pulumi.StringOutput
}

// NewCredential declares it. One with another name is another resource, so that the one before ends
// when all else is done: who used it has the new one by then. Replaced under its name, as for other
// roles, it ends first: Keystone has no two of a name.
func NewCredential(ctx *pulumi.Context, plan cluster.Plan) (*Credential, error) {
	c := &Credential{}
	child, err := component(ctx, "Credential", plan.Name, c)
	if err != nil {
		return nil, err
	}
	created, err := identity.NewApplicationCredential(ctx, plan.CredentialName(), &identity.ApplicationCredentialArgs{
		Name:        pulumi.String(plan.CredentialName()),
		Description: pulumi.String("controllers of the Kubernetes cluster " + plan.Name),
		Roles:       pulumi.ToStringArray(plan.OpenStack.CredentialRoles()),
		// it cannot make others of its kind
		Unrestricted: pulumi.Bool(false),
	}, child)
	if err != nil {
		return nil, err
	}
	c.ID, c.Secret = created.ID().ToStringOutput(), created.Secret
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{})
}
