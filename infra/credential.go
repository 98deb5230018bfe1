package infra

import (
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/identity"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Credential is the application credential of the cluster's controllers in OpenStack. The controllers never
// use the credential of the user who runs the program.
type Credential struct {
	pulumi.ResourceState
	// ID and Secret belong to one application credential. Secret is a Pulumi secret.
	ID     pulumi.StringOutput
	Secret pulumi.StringOutput
}

// NewCredential declares the application credential, unless the configuration has one. If the credential's name
// changes, Pulumi creates a new resource and deletes the old one at the end of the `up`. By then every controller uses
// the new credential. If the name stays the same and other properties change, such as the roles, or if the secret is
// unknown, Pulumi deletes the old credential first. Keystone does not allow two credentials with the same name.
func NewCredential(ctx *pulumi.Context, plan cluster.Plan) (*Credential, error) {
	c := &Credential{}
	child, err := component(ctx, "Credential", plan.Name, c)
	if err != nil {
		return nil, err
	}
	if existing := plan.OpenStack.ApplicationCredential; existing.ID != "" {
		c.ID, c.Secret = existingCredential(existing)
		return c, ctx.RegisterResourceOutputs(c, pulumi.Map{})
	}
	created, err := identity.NewApplicationCredential(ctx, plan.CredentialName(), &identity.ApplicationCredentialArgs{
		Name:        pulumi.String(plan.CredentialName()),
		Description: pulumi.String("controllers of the Kubernetes cluster " + plan.Name),
		Roles:       pulumi.ToStringArray(plan.OpenStack.CredentialRoles()),
		// a restricted credential cannot create other application credentials
		Unrestricted: pulumi.Bool(false),
	}, child,
		// for one that resume has adopted. Its secret is unknown, and no controller has it. Another name is another
		// resource, so it is still created first
		pulumi.DeleteBeforeReplace(true))
	if err != nil {
		return nil, err
	}
	c.ID, c.Secret = created.ID().ToStringOutput(), created.Secret
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{})
}

// existingCredential returns the ID and the secret of an application credential of the configuration.
func existingCredential(c cluster.ApplicationCredential) (id, secret pulumi.StringOutput) {
	secret = pulumi.ToSecret(pulumi.String(string(c.Secret))).(pulumi.StringOutput)
	return pulumi.String(c.ID).ToStringOutput(), secret
}
