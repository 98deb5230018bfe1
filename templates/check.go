package templates

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/rand/v2"

	"kubernetes-openstack/cluster"
)

// CheckUserData renders user-data with stand-ins for the values that are unknown before `pulumi up`. So
// user-data that is too large for Nova fails at preview. The machines of a group differ only in their names,
// addresses and zones. If the user-data of the first machine fits with spare bytes for these differences, the
// user-data of all machines of the group fits. Otherwise CheckUserData renders each machine of the group, and
// returns an error for each that is too large.
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
	renderer := NewRenderer(plan)
	check := func(m cluster.Machine, spare int) error {
		in := Inputs{
			VolumeID:    "00000000-0000-0000-0000-000000000000",
			WorkerToken: Token(derived()), ControlPlaneToken: Token(derived()), EncryptionKey: derived(),
			BackupID: hex.EncodeToString(bytes(16)), BackupSecret: base64.RawURLEncoding.EncodeToString(bytes(64)),
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
		_, err := renderer.UserData(m, in)
		return err
	}
	const spare = 1024 // a name and a zone have at most 63 characters each, and gzip shortens their repetitions
	var errs []error
	fits := map[string]bool{}
	for _, m := range plan.Machines {
		if _, known := fits[m.Group]; !known {
			fits[m.Group] = check(m, spare) == nil
		}
		if !fits[m.Group] {
			errs = append(errs, check(m, 0))
		}
	}
	return errors.Join(errs...)
}
