package infra

import (
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/identity"
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/objectstorage"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Snapshot is a local file with the data of etcd.
type Snapshot struct {
	// Path is relative to the folder of Pulumi.yaml, as the user wrote it. The OpenStack provider runs in this folder.
	Path string
	// MD5 of the file, in hexadecimal digits.
	MD5 string
	// Name of its object, which has a hash of the content.
	Name string
}

// Backup is the object storage of etcd's snapshots, and the access of the etcd machines to it. It has no resources if
// the configuration has no backups.
type Backup struct {
	pulumi.ResourceState
	// id and secret are the application credential of the etcd machines.
	id, secret pulumi.StringOutput
	// uploads is true if this stack uploads the snapshot that the machines restore.
	uploads bool
	// resources must exist before the etcd machines, and are deleted after them.
	resources []pulumi.Resource
}

// NewBackup declares the container, the application credential of the etcd machines, and the upload of a local
// snapshot.
func NewBackup(ctx *pulumi.Context, plan cluster.Plan, security *Security, snapshot *Snapshot) (*Backup, error) {
	none := pulumi.String("").ToStringOutput()
	b := &Backup{id: none, secret: none}
	settings := plan.Etcd.Backup
	if settings.Container == "" {
		return b, nil
	}
	child, err := component(ctx, "Backup", plan.Name, b)
	if err != nil {
		return nil, err
	}
	deletes := plan.Storage.OnDestroy == cluster.Delete
	container, err := objectstorage.NewContainer(ctx, settings.Container, &objectstorage.ContainerArgs{
		Name: pulumi.String(settings.Container),
		// Swift refuses to delete a container with objects, so the provider deletes the objects first
		ForceDestroy: pulumi.Bool(deletes),
	}, child, pulumi.RetainOnDelete(!deletes), pulumi.Protect(deletes && plan.Protect))
	if err != nil {
		return nil, err
	}
	b.resources = []pulumi.Resource{container}
	if existing := settings.ApplicationCredential; existing.ID != "" {
		b.id, b.secret = existingCredential(existing)
	} else {
		access, err := newBackupCredential(ctx, plan, security, child)
		if err != nil {
			return nil, err
		}
		b.id, b.secret, b.resources = access.ID().ToStringOutput(), access.Secret, append(b.resources, access)
	}
	if snapshot != nil {
		object, err := objectstorage.NewContainerObject(ctx, snapshot.Name, &objectstorage.ContainerObjectArgs{
			ContainerName: container.Name,
			Name:          pulumi.String(snapshot.Name),
			Source:        pulumi.String(snapshot.Path),
			// Swift refuses an upload with another MD5
			Etag: pulumi.String(snapshot.MD5),
		}, child, pulumi.RetainOnDelete(true)) // it is a backup, also after etcd.restore has another value
		if err != nil {
			return nil, err
		}
		b.uploads, b.resources = true, append(b.resources, object)
	}
	return b, ctx.RegisterResourceOutputs(b, pulumi.Map{})
}

// newBackupCredential declares the application credential of the etcd machines, which allows only requests to their
// container. Other settings are another credential with another name: Pulumi creates it first, replaces the etcd
// machines one at a time, and deletes the old one at the end of the `up`.
func newBackupCredential(ctx *pulumi.Context, plan cluster.Plan, security *Security,
	child pulumi.ResourceOption) (*identity.ApplicationCredential, error) {
	name := plan.BackupCredentialName()
	var rules identity.ApplicationCredentialAccessRuleArray
	for _, rule := range plan.Etcd.Backup.AccessRules() {
		rules = append(rules, identity.ApplicationCredentialAccessRuleArgs{
			Service: pulumi.String("object-store"),
			Method:  pulumi.String(rule.Method),
			Path:    pulumi.Sprintf("/v1/AUTH_%s/%s", security.groups[cluster.RoleEtcd].TenantId, rule.Path),
		})
	}
	return identity.NewApplicationCredential(ctx, name, &identity.ApplicationCredentialArgs{
		Name:         pulumi.String(name),
		Description:  pulumi.String("etcd machines of the Kubernetes cluster " + plan.Name),
		Roles:        pulumi.ToStringArray(plan.Etcd.Backup.CredentialRoles()),
		AccessRules:  rules,
		Unrestricted: pulumi.Bool(false),
	}, child,
		pulumi.IgnoreChanges([]string{"description"}), // not part of the name, and not worth a new credential
		// for one that resume has adopted. Its secret is unknown, and no machine has it
		pulumi.DeleteBeforeReplace(true))
}

// Credential returns the ID and the secret of the application credential for machines of a role. Both are empty for
// machines that do not have it.
func (b *Backup) Credential(role cluster.Role) (id, secret pulumi.StringOutput) {
	if role != cluster.RoleEtcd {
		none := pulumi.String("").ToStringOutput()
		return none, none
	}
	return b.id, b.secret
}
