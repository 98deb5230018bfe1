package policy

import (
	"slices"
	"strings"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/bootstraptoken"
	"kubernetes-openstack/templates"
)

// NewStack renders the user-data of a plan. podImages are the images of the pods that the program declares. NewStack
// returns an error if a template fails.
func NewStack(plan cluster.Plan, podImages []string) (Stack, error) {
	s := Stack{Plan: plan, Images: slices.Concat(podImages, plan.NodeImages()), UserData: map[string]string{}}
	renderer := templates.NewRenderer(plan)
	for _, m := range plan.Machines {
		if m.Index > 0 {
			continue
		}
		text, err := renderer.CloudConfig(m, standIns(m))
		if err != nil {
			return Stack{}, err
		}
		s.UserData[m.Group] = string(text)
	}
	return s, nil
}

// standIns returns values for a machine's user-data that no machine has.
func standIns(m cluster.Machine) templates.Inputs {
	secret := strings.Repeat("0123456789abcdef", 4)
	in := templates.Inputs{
		VolumeID: "volume", BootstrapSeed: bootstraptoken.Seed("000000." + secret), EncryptionKey: secret,
		BackupID: "id", BackupSecret: "secret",
	}
	for _, f := range m.PKI {
		kind := strings.ToUpper(string(f.Part)) // as in PEM
		in.PKI = append(in.PKI, "-----BEGIN "+kind+"-----\n-----END "+kind+"-----\n")
	}
	return in
}
