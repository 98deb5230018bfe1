package changes

import (
	"cmp"
	"fmt"
	"slices"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/bootstraptoken"
	"kubernetes-openstack/templates"
)

// view is what infra.Machines declares for the machines of a plan, as texts that can be compared.
type view struct {
	// key is the one that the plan is without.
	key      string
	plan     cluster.Plan
	byID     map[string]cluster.Machine
	renderer *templates.Renderer
	byName   map[string]cluster.Certificate
}

// machines returns the machines by their IDs.
func (v *view) machines() map[string]cluster.Machine {
	if v.byID == nil {
		v.byID = map[string]cluster.Machine{}
		for _, m := range v.plan.Machines {
			v.byID[m.ID] = m
		}
	}
	return v.byID
}

// lacks returns true if no machine had the address of m. It is false for an empty view.
func (v *view) lacks(m cluster.Machine) bool {
	return len(v.plan.Machines) > 0 && !slices.ContainsFunc(v.plan.Machines, func(other cluster.Machine) bool {
		return other.Address == m.Address
	})
}

// adjustable returns what changes while a machine runs: the metadata of its instance, its port and its volume.
func (v *view) adjustable(m cluster.Machine) string {
	out := fmt.Sprint(v.plan.Network.PortSecurity, v.plan.AddressPairs(m.Role))
	if m.Role == cluster.RoleEtcd {
		out += fmt.Sprint(v.plan.Etcd.Count, v.plan.Etcd.Restore, v.plan.Etcd.Volume.Size)
	}
	return out
}

// instance returns what an instance has from its creation: another one replaces it. Values from other resources have
// stand-ins, and a certificate is its plan.
func (v *view) instance(m cluster.Machine) string {
	if v.renderer == nil {
		v.renderer = templates.NewRenderer(v.plan)
		v.byName = map[string]cluster.Certificate{}
		for _, c := range v.plan.Certificates {
			v.byName[c.Name] = c
		}
	}
	backup := v.plan.Etcd.Backup
	in := templates.Inputs{
		BootstrapSeed: bootstraptoken.NewSeed("", m.ID, m.Address), EncryptionKey: "00",
		BackupID:     cmp.Or(backup.ApplicationCredential.ID, v.plan.BackupCredentialName()),
		BackupSecret: cmp.Or(string(backup.ApplicationCredential.Secret), "secret"),
	}
	if m.Role == cluster.RoleEtcd {
		in.VolumeID = m.ID
	}
	if !v.plan.SSH.KeyPair {
		in.SSHKey = v.plan.SSH.PublicKey
	}
	for _, f := range m.PKI {
		content := ""
		for _, of := range f.Of {
			content += fmt.Sprintf("-----BEGIN %+v-----\n-----END-----\n", v.byName[of])
		}
		in.PKI = append(in.PKI, content)
	}
	text, err := v.renderer.CloudConfig(m, in)
	return fmt.Sprint(m.Flavor, m.Zone, m.ServerGroup, v.plan.ServerGroupPolicy, m.RootVolume, v.plan.Image,
		v.plan.SSH.KeyPair, err, string(text))
}
