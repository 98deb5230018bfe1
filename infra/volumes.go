package infra

import (
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/blockstorage"
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/compute"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// newVolume declares the data volume of an etcd member. The volume outlives its instance. A new instance with
// the volume and the port of the old instance is the same etcd member.
func newVolume(ctx *pulumi.Context, plan cluster.Plan, m cluster.Machine,
	child pulumi.ResourceOption) (*blockstorage.Volume, error) {
	return blockstorage.NewVolume(ctx, m.ID, &blockstorage.VolumeArgs{
		Name:       pulumi.String(m.ID),
		Size:       pulumi.Int(plan.Etcd.Volume.Size),
		VolumeType: optional(plan.Etcd.Volume.Type),
		Metadata:   metadata(plan, m.Role),
		// Nova can refuse to attach a volume of another zone (cross_az_attach)
		AvailabilityZone: optional(m.VolumeZone),
		// a volume can grow while its member runs
		EnableOnlineResize: pulumi.Bool(true),
	}, child, pulumi.Protect(plan.Protect),
		// a volume cannot move to another zone: the provider would delete it with its data
		pulumi.IgnoreChanges([]string{"availabilityZone"}))
}

// rootVolume is the disk of an instance that boots from a new volume. Nova creates the volume from the image, and
// deletes it with the instance. If Nova attaches only volumes of the instance's zone, it creates the volume there.
func rootVolume(image string, volume cluster.RootVolume) compute.InstanceBlockDeviceArray {
	return compute.InstanceBlockDeviceArray{compute.InstanceBlockDeviceArgs{
		SourceType:          pulumi.String("image"),
		Uuid:                pulumi.String(image),
		DestinationType:     pulumi.String("volume"),
		VolumeSize:          pulumi.Int(volume.Size),
		VolumeType:          optional(volume.Type),
		BootIndex:           pulumi.Int(0),
		DeleteOnTermination: pulumi.Bool(true),
	}}
}

// attach declares the attachment of volume to instance. It sets no device name, because the guest finds the
// device by the volume's ID.
func attach(ctx *pulumi.Context, m cluster.Machine, instance *compute.Instance, volume *blockstorage.Volume,
	child pulumi.ResourceOption) (*compute.VolumeAttach, error) {
	return compute.NewVolumeAttach(ctx, m.ID, &compute.VolumeAttachArgs{
		InstanceId: instance.ID(),
		VolumeId:   volume.ID(),
	}, child,
		// a detachment from a running etcd would break the file system, so only the deletion of the instance
		// detaches the volume
		pulumi.DeletedWith(instance))
}
