package infra

import (
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/blockstorage"
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/compute"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// newVolume declares an etcd member's data. It outlives its instance: a new instance with the volume and the port of
// the old one is the same member.
func newVolume(ctx *pulumi.Context, plan cluster.Plan, m cluster.Machine,
	child pulumi.ResourceOption) (*blockstorage.Volume, error) {
	return blockstorage.NewVolume(ctx, m.ID, &blockstorage.VolumeArgs{
		Name:       pulumi.String(m.ID),
		Size:       pulumi.Int(plan.Etcd.Volume.Size),
		VolumeType: optional(plan.Etcd.Volume.Type),
		Metadata:   metadata(plan, m.Role),
		// a volume can grow under a running member
		EnableOnlineResize: pulumi.Bool(true),
	}, child, pulumi.Protect(plan.Protect))
}

// attach declares the volume's attachment, at whatever device: the guest finds it by the volume's ID.
func attach(ctx *pulumi.Context, m cluster.Machine, instance *compute.Instance, volume *blockstorage.Volume,
	child pulumi.ResourceOption) (*compute.VolumeAttach, error) {
	return compute.NewVolumeAttach(ctx, m.ID, &compute.VolumeAttachArgs{
		InstanceId: instance.ID(),
		VolumeId:   volume.ID(),
	}, child,
		// pulled from under a running etcd it would take the file system with it: the instance's end detaches it
		pulumi.DeletedWith(instance))
}
