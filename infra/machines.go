package infra

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/blockstorage"
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/compute"
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/networking"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/templates"
)

// Machine is one machine: its port, its instance and, for etcd, its volume.
type Machine struct {
	pulumi.ResourceState
	Instance *compute.Instance
	// ready is the last of its resources.
	ready pulumi.Resource
}

// Machines are all of them, in a server group for each group.
type Machines struct {
	pulumi.ResourceState
	// ByID has every machine of the Plan.
	ByID map[string]*Machine

	network  *Network
	security *Security
	pki      *PKI
	key      *SSHKey
}

// NewMachines declares them.
func NewMachines(ctx *pulumi.Context, plan cluster.Plan, network *Network, security *Security, pki *PKI, key *SSHKey) (*Machines, error) {
	s := &Machines{ByID: map[string]*Machine{}, network: network, security: security, pki: pki, key: key}
	child, err := component(ctx, "Machines", plan.Name, s)
	if err != nil {
		return nil, err
	}
	groups := map[string]*compute.ServerGroup{}
	for _, group := range plan.Groups() {
		name := plan.Name + "-" + group
		groups[group], err = compute.NewServerGroup(ctx, name, &compute.ServerGroupArgs{
			Name:     pulumi.String(name),
			Policies: pulumi.ToStringArray([]string{plan.ServerGroupPolicy}),
		}, child)
		if err != nil {
			return nil, err
		}
	}
	previous := map[cluster.Role]pulumi.Resource{}
	for _, m := range plan.Machines {
		// workers come and go side by side; of the others never two at a time, or a change would take the quorum
		var after []pulumi.Resource
		if p := previous[m.Role]; p != nil && m.Role != cluster.RoleWorker {
			after = append(after, p)
		}
		machine, err := s.newMachine(ctx, plan, m, groups[m.Group], after, child)
		if err != nil {
			return nil, err
		}
		s.ByID[m.ID], previous[m.Role] = machine, machine.ready
	}
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}

func (s *Machines) newMachine(ctx *pulumi.Context, plan cluster.Plan, m cluster.Machine, group *compute.ServerGroup, after []pulumi.Resource, parent pulumi.ResourceOption) (*Machine, error) {
	machine := &Machine{}
	child, err := component(ctx, "Machine", m.ID, machine, parent)
	if err != nil {
		return nil, err
	}
	port, err := networking.NewPort(ctx, m.ID, &networking.PortArgs{
		Name:                pulumi.String(m.ID),
		NetworkId:           s.network.NetworkID,
		AdminStateUp:        pulumi.Bool(true),
		FixedIps:            fixedIP(s.network, m.Address),
		SecurityGroupIds:    pulumi.StringArray{s.security.groups[m.Role].ID()},
		AllowedAddressPairs: addressPairs(plan, m.Role),
		Tags:                tags(plan, string(m.Role)),
	}, child)
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

	machine.Instance, err = compute.NewInstance(ctx, m.ID, &compute.InstanceArgs{
		Name:             pulumi.String(m.ID),
		FlavorName:       pulumi.String(m.Flavor),
		ImageId:          optional(plan.Image.ID),
		ImageName:        optional(plan.Image.Name),
		KeyPair:          s.key.Name,
		AvailabilityZone: optional(m.Zone),
		SchedulerHints:   compute.InstanceSchedulerHintArray{compute.InstanceSchedulerHintArgs{Group: group.ID()}},
		Networks:         compute.InstanceNetworkArray{compute.InstanceNetworkArgs{Port: port.ID()}},
		// the metadata service is a network away, and will be closed to pods
		ConfigDrive: pulumi.Bool(true),
		Metadata:    metadata(plan, m.Role),
		UserData:    s.userData(plan, m, volumeID),
		// said, not left to the provider's default: else a refresh takes what a machine happens to be for what is wanted
		PowerState: pulumi.String("active"),
		// etcd closes its files before its volume goes
		StopBeforeDestroy: pulumi.Bool(m.Role == cluster.RoleEtcd),
	}, child,
		pulumi.DependsOn(append(after, s.network.Routed...)), // its first act is a download
		pulumi.DeleteBeforeReplace(true),                     // the port and the volume are one instance's at a time
	)
	if err != nil {
		return nil, err
	}
	machine.ready = machine.Instance
	if volume != nil {
		if machine.ready, err = attach(ctx, m, machine.Instance, volume, child); err != nil {
			return nil, err
		}
	}
	return machine, ctx.RegisterResourceOutputs(machine, pulumi.Map{})
}

// addressPairs let pods' and Services' addresses through the port's anti-spoofing, and the API's on the machines that
// hold it in turn.
func addressPairs(plan cluster.Plan, role cluster.Role) networking.PortAllowedAddressPairArray {
	var out networking.PortAllowedAddressPairArray
	allow := func(address fmt.Stringer) {
		out = append(out, networking.PortAllowedAddressPairArgs{IpAddress: pulumi.String(address.String())})
	}
	if role == cluster.RoleControlPlane {
		allow(plan.API.Address)
	}
	if role != cluster.RoleEtcd {
		allow(plan.Network.PodCIDR)
		allow(plan.Network.ServiceCIDR)
	}
	return out
}

// userData is the machine's user-data, a secret on every role.
func (s *Machines) userData(plan cluster.Plan, m cluster.Machine, volumeID pulumi.StringOutput) pulumi.StringOutput {
	inputs := []any{volumeID}
	for _, f := range m.PKI {
		inputs = append(inputs, s.pki.Part(f.Of, f.Part))
	}
	return pulumi.ToSecret(pulumi.All(inputs...).ApplyT(func(values []any) (string, error) {
		var contents []string
		for _, v := range values[1:] {
			contents = append(contents, v.(string))
		}
		return render(plan, m, values[0].(string), contents)
	})).(pulumi.StringOutput)
}

// render is the user-data with the contents of the machine's PKI files, in their order.
func render(plan cluster.Plan, m cluster.Machine, volumeID string, contents []string) (string, error) {
	in := templates.Machine{Hostname: m.ID, Role: string(m.Role)}
	for i, f := range m.PKI {
		mode := fs.FileMode(0o644)
		if f.Part == cluster.PartPrivateKey {
			mode = 0o600
		}
		in.Secrets = append(in.Secrets, templates.File{Path: f.Path, Content: contents[i], Mode: mode})
	}
	for _, a := range m.Artifacts {
		in.Artifacts = append(in.Artifacts, templates.Artifact{Name: a.Name, URL: a.URL, SHA256: a.SHA256, Install: a.Install})
	}
	if m.Role == cluster.RoleEtcd {
		var members, endpoints []string
		for _, member := range plan.WithRole(cluster.RoleEtcd) {
			members = append(members, fmt.Sprintf("%s=https://%s:%d", member.ID, member.Address, cluster.EtcdPeerPort))
			endpoints = append(endpoints, fmt.Sprintf("https://%s:%d", member.Address, cluster.EtcdClientPort))
		}
		in.Etcd = &templates.Etcd{
			Name:           m.ID,
			Address:        m.Address.String(),
			VolumeID:       volumeID,
			InitialCluster: strings.Join(members, ","),
			Token:          plan.Name,
			Endpoints:      strings.Join(endpoints, ","),
		}
	}
	return templates.UserData(in)
}
