package infra

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/blockstorage"
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/compute"
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/networking"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/bootstraptoken"
	"kubernetes-openstack/internal/readiness"
	"kubernetes-openstack/templates"
)

// Machine is a component with the port, the instance and, for etcd, the volume of one machine.
type Machine struct {
	pulumi.ResourceState
	Port     *networking.Port
	Instance *compute.Instance
	// begin is the time at which the turn of the machine began.
	begin time.Time
	// Ready is the ID of the Nova instance. In an `up`, it resolves when the machine is ready.
	Ready pulumi.StringOutput
}

// Machines is the component of all machines. Each group of machines has one or more server groups, or none.
type Machines struct {
	pulumi.ResourceState
	// ByID maps the ID of every machine of the Plan to its component.
	ByID map[string]*Machine

	project   *Project
	network   *Network
	security  *Security
	leftovers *Leftovers
	pki       *PKI
	backup    *Backup
	key       *SSHKey
	renderer  *templates.Renderer
	watcher   Watcher
	// kubeconfig is the one that watcher uses.
	kubeconfig pulumi.StringOutput
	// observed are the conditions before the first change, or none in a preview.
	observed cluster.Observation

	mu sync.Mutex
	// took has the durations of the machines that this `up` has created or replaced.
	took cluster.Durations
}

// NewMachines declares all machines. In an `up`, it first uses watcher to find the conditions of the machines. It
// returns an error if watcher cannot list them, or if they must restore a snapshot that does not exist.
func NewMachines(
	ctx *pulumi.Context, plan cluster.Plan, project *Project, network *Network, security *Security,
	leftovers *Leftovers, pki *PKI, backup *Backup, key *SSHKey, kubeconfig pulumi.StringOutput, watcher Watcher,
) (*Machines, error) {
	s := &Machines{
		ByID: map[string]*Machine{}, project: project, network: network, security: security, leftovers: leftovers,
		pki: pki, backup: backup, key: key, renderer: templates.NewRenderer(plan), watcher: watcher,
		kubeconfig: kubeconfig, took: cluster.Durations{},
	}
	child, err := component(ctx, "Machines", plan.Name, s)
	if err != nil {
		return nil, err
	}
	groups := map[string]*compute.ServerGroup{}
	for _, group := range plan.ServerGroups() {
		name := plan.Name + "-" + group
		groups[group], err = compute.NewServerGroup(ctx, name, &compute.ServerGroupArgs{
			Name:     pulumi.String(name),
			Policies: pulumi.ToStringArray([]string{plan.ServerGroupPolicy}),
		}, child,
			// The provider would delete the group before its replacement, and the engine all its machines with it.
			pulumi.DeleteBeforeReplace(false))
		if err != nil {
			return nil, err
		}
	}
	if s.observed, err = s.observe(ctx, plan); err != nil {
		return nil, err
	}
	if plan.Restoring(s.observed) {
		// after a restore, its object may be deleted
		if !backup.uploads {
			if err := watcher.Snapshot(ctx.Context(), plan.Etcd.Backup.Container, plan.Etcd.Restore); err != nil {
				return nil, err
			}
		}
		err := ctx.Log.Warn("etcd.restore: all members of etcd change in parallel to restore "+plan.Etcd.Restore+
			". The Kubernetes API is unavailable until they are ready", &pulumi.LogArgs{Resource: s})
		if err != nil {
			return nil, err
		}
	}
	// by group, in the order of the rollout; each resolves after its machine and all before it are ready
	ready := map[string][]pulumi.StringOutput{}
	for _, turn := range plan.Rollout(s.observed) {
		before := ready[turn.Group]
		group := groups[turn.ServerGroup]
		machine, err := s.newMachine(ctx, plan, turn.Machine, group, last(before[:len(turn.WaitFor)]), child)
		if err != nil {
			return nil, err
		}
		s.ByID[turn.ID] = machine
		ready[turn.Group] = append(before, waitFor(ctx, last(before), machine.Ready))
	}
	var ids pulumi.StringArray
	for _, m := range plan.Machines {
		ids = append(ids, s.ByID[m.ID].Instance.ID().ToStringOutput())
	}
	if _, err := NewInstances(ctx, plan, ids, child, pulumi.Provider(project)); err != nil {
		return nil, err
	}
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}

// last returns the last element of list, or none if list is empty.
func last[T any](list []T) []T { return list[max(0, len(list)-1):] }

// observe returns the conditions of the machines, or none in a preview.
func (s *Machines) observe(ctx *pulumi.Context, plan cluster.Plan) (cluster.Observation, error) {
	if ctx.DryRun() {
		return cluster.Observation{}, nil
	}
	kubeconfig, err := internals.UnsafeAwaitOutput(ctx.Context(), s.kubeconfig)
	if err != nil {
		return cluster.Observation{}, err
	}
	var names []string
	for _, m := range plan.Machines {
		names = append(names, m.ID)
	}
	for _, former := range s.project.renamed {
		names = append(names, former)
	}
	text, _ := kubeconfig.Value.(string) // unknown if `pulumi up --target` skips a new certificate
	o, err := s.watcher.Observe(ctx.Context(), text, names)
	for id, former := range s.project.renamed {
		if condition, ok := o.Machines[former]; ok {
			o.Machines[id] = max(o.Machines[id], condition)
		}
	}
	return o, err
}

// newMachine declares one machine. Its instance does not change until all others are ready. group can be nil.
func (s *Machines) newMachine(
	ctx *pulumi.Context, plan cluster.Plan, m cluster.Machine, group *compute.ServerGroup,
	others []pulumi.StringOutput, parent pulumi.ResourceOption,
) (*Machine, error) {
	machine := &Machine{}
	child, err := component(ctx, "Machine", m.ID, machine, parent, s.project.Former(m.ID))
	if err != nil {
		return nil, err
	}
	portArgs := &networking.PortArgs{
		Name:         pulumi.String(m.ID),
		NetworkId:    s.network.NetworkID,
		AdminStateUp: pulumi.Bool(true),
		FixedIps:     fixedIP(s.network, m.Address),
		Tags:         tags(plan, string(m.Role)),
	}
	s.security.secure(portArgs, plan, m.Role, addressPairs(plan, m.Role))
	machine.Port, err = networking.NewPort(ctx, m.ID, portArgs, child)
	if err != nil {
		return nil, err
	}
	var volume *blockstorage.Volume
	volumeID := pulumi.String("").ToStringOutput()
	if m.Role == cluster.RoleEtcd {
		if volume, err = newVolume(ctx, plan, m, child); err != nil {
			return nil, err
		}
		volumeID = volume.ID().ToStringOutput()
	}

	args := &compute.InstanceArgs{
		Name:             pulumi.String(m.ID),
		FlavorName:       pulumi.String(m.Flavor),
		ImageId:          optional(plan.Image.ID),
		ImageName:        optional(plan.Image.Name),
		AvailabilityZone: optional(m.Zone),
		Networks:         compute.InstanceNetworkArray{compute.InstanceNetworkArgs{Port: machine.Port.ID()}},
		// the machine reads user-data from a disk, without the network and the metadata service
		ConfigDrive: pulumi.Bool(true),
		Metadata:    instanceMetadata(plan, m.Role),
		UserData: waitFor(ctx, others, s.userData(m, volumeID)).ApplyT(func(text string) string {
			machine.begin = time.Now()
			return text
		}).(pulumi.StringOutput),
		// the state is explicit. Otherwise a refresh would store the current power state as the wanted state
		PowerState: pulumi.String("active"),
		// Nova shuts the machine down before the deletion, instead of switching it off. So a node drains
		// itself (node-drain.service), and etcd closes its files. The resource Instances is the exception.
		StopBeforeDestroy: pulumi.Bool(true),
	}
	options := []pulumi.ResourceOption{child,
		pulumi.DependsOn(s.network.Routed),               // a machine first downloads packages
		pulumi.DependsOn([]pulumi.Resource{s.leftovers}), // Leftovers is deleted when no machine is left to create more
		pulumi.DeleteBeforeReplace(true),                 // only one instance at a time can have the port and the volume
	}
	if pair := s.key.Pair; pair != nil {
		args.KeyPair = pulumi.String(plan.Name)
		options = append(options, pulumi.DependsOn([]pulumi.Resource{pair})) // without an input from it: see SSHKey
	}
	if group != nil {
		args.SchedulerHints = compute.InstanceSchedulerHintArray{compute.InstanceSchedulerHintArgs{Group: group.ID()}}
	}
	if m.RootVolume.Size > 0 {
		args.ImageId, args.BlockDevices = nil, rootVolume(plan.Image.ID, m.RootVolume)
	}
	machine.Instance, err = compute.NewInstance(ctx, m.ID, args, options...)
	if err != nil {
		return nil, err
	}
	if volume != nil {
		if _, err = attach(ctx, m, machine.Instance, volume, child); err != nil {
			return nil, err
		}
	}
	machine.Ready = s.whenReady(ctx, plan, m, machine)
	return machine, ctx.RegisterResourceOutputs(machine, pulumi.Map{"ready": machine.Ready})
}

// instanceMetadata returns the metadata of an instance, which change without a replacement. On members of etcd they
// have the number of members, which etcd-join reads on a new machine. They also have the snapshot that the members
// restore, so an `up` finds the members that still have the data before the restore.
func instanceMetadata(plan cluster.Plan, role cluster.Role) pulumi.Map {
	out := metadata(plan, role)
	if role != cluster.RoleEtcd {
		return out
	}
	out["members"] = pulumi.String(strconv.Itoa(plan.Etcd.Count))
	if name := plan.Etcd.Restore; name != "" {
		out[readiness.RestoreKey] = pulumi.String(name)
	}
	return out
}

func addressPairs(plan cluster.Plan, role cluster.Role) networking.PortAllowedAddressPairArray {
	var out networking.PortAllowedAddressPairArray
	for _, address := range plan.AddressPairs(role) {
		out = append(out, networking.PortAllowedAddressPairArgs{IpAddress: pulumi.String(address)})
	}
	return out
}

// userData returns the machine's user-data, gzipped and in base64. It is a Pulumi secret for every role.
func (s *Machines) userData(m cluster.Machine, volumeID pulumi.StringOutput) pulumi.StringOutput {
	var files pulumi.StringArray
	for _, f := range m.PKI {
		var parts []any
		for _, of := range f.Of {
			parts = append(parts, s.pki.Part(of, f.Part))
		}
		files = append(files, pulumi.Sprintf(strings.Repeat("%s", len(parts)), parts...))
	}
	backupID, backupSecret := s.backup.Credential(m.Role)
	return pulumi.ToSecret(pulumi.All(volumeID, files,
		s.pki.Derived(cluster.BootstrapKey), s.pki.Derived(cluster.EncryptionKey), backupID, backupSecret, s.key.UserData,
	).ApplyT(func(values []any) (string, error) {
		return s.renderer.UserData(m, templates.Inputs{
			VolumeID:      values[0].(string),
			PKI:           values[1].([]string),
			BootstrapSeed: bootstraptoken.NewSeed(values[2].(string), m.ID, m.Address),
			EncryptionKey: values[3].(string),
			BackupID:      values[4].(string),
			BackupSecret:  values[5].(string),
			SSHKey:        values[6].(string),
		})
	})).(pulumi.StringOutput)
}
