package infra

import (
	"encoding/base64"
	"errors"
	"math/rand/v2"

	"kubernetes-openstack/cluster"
)

// pemSize in bytes is that of our largest PEM, an API server's certificate: at preview none exists yet.
const pemSize = 1500

// CheckUserData renders each machine's user-data with stand-ins for what is not known before `pulumi up`, so that one
// that is too large for Nova fails at preview.
func CheckUserData(plan cluster.Plan) error {
	random := rand.New(rand.NewPCG(0, 0)) // keys do not compress, so neither must their stand-ins
	var errs []error
	for _, m := range plan.Machines {
		var contents []string
		for range m.PKI {
			pem := make([]byte, pemSize*3/4)
			for i := range pem {
				pem[i] = byte(random.Uint32())
			}
			contents = append(contents, base64.StdEncoding.EncodeToString(pem))
		}
		if _, err := render(plan, m, "00000000-0000-0000-0000-000000000000", contents); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
