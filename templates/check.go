package templates

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/bootstraptoken"
	"kubernetes-openstack/internal/field"
)

// CheckUserData renders user-data with stand-ins for the values that are unknown before `pulumi up`. So user-data that
// is too large for Nova fails at preview. The error contains field.Errors.
//
// The machines of a group differ only in their names, addresses and zones. So CheckUserData renders only the machine
// with the longest name and zone, with spare bytes for the rest of the differences.
func CheckUserData(plan cluster.Plan) error {
	random := rand.New(rand.NewPCG(0, 0)) // keys do not compress, so their stand-ins must not compress either
	bytes := func(n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = byte(random.Uint32())
		}
		return out
	}
	derived := func() string { return hex.EncodeToString(bytes(32)) }
	const spare = 128
	check := func(plan cluster.Plan, m cluster.Machine) error {
		in := Inputs{
			VolumeID:      "00000000-0000-0000-0000-000000000000",
			BootstrapSeed: bootstraptoken.NewSeed(derived(), m.ID, m.Address), EncryptionKey: derived(),
			BackupID: hex.EncodeToString(bytes(16)), BackupSecret: base64.RawURLEncoding.EncodeToString(bytes(64)),
		}
		if !plan.SSH.KeyPair {
			in.SSHKey = cmp.Or(plan.SSH.PublicKey, "ssh-ed25519 "+base64.StdEncoding.EncodeToString(bytes(51)))
		}
		for i, f := range m.PKI {
			size := 0
			for _, of := range f.Of {
				size += pemSize(plan, of, f.Part)
			}
			if i == 0 {
				size += spare
			}
			in.PKI = append(in.PKI, base64.StdEncoding.EncodeToString(bytes(size*3/4)))
		}
		_, err := NewRenderer(plan).UserData(m, in)
		return err
	}
	bundles := []struct {
		path string
		of   func(*cluster.Plan) *string
	}{
		{"openstack.caCertificate", func(p *cluster.Plan) *string { return &p.OpenStack.CACertificate }},
		{"artifacts.caCertificate", func(p *cluster.Plan) *string { return &p.Artifacts.CACertificate }},
	}
	var errs field.Errors
	largest := map[string]cluster.Machine{}
	for _, m := range plan.Machines {
		if l := largest[m.Group]; len(m.ID)+len(m.Zone) > len(l.ID)+len(l.Zone) {
			largest[m.Group] = m
		}
	}
	for _, group := range plan.Groups() {
		m, exists := largest[group]
		if !exists {
			continue
		}
		err := check(plan, m)
		if err == nil {
			continue
		}
		path, message := plan.GroupPath(group), err.Error()
		for _, bundle := range bundles {
			without := plan
			text := bundle.of(&without)
			if *text == "" {
				continue
			}
			*text = ""
			if check(without, m) == nil {
				path, message = bundle.path, "must be shorter: "+err.Error()
			}
		}
		if !errs.Covers(path) {
			errs.Add(path, "%s", message)
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}
