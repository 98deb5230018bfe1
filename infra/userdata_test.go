package infra

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"kubernetes-openstack/cluster"
)

// Too much for Nova is said at preview, when no certificate exists yet, and for each machine.
func TestCheckUserData(t *testing.T) {
	plan := cluster.NewPlan(cluster.Config{
		Name:    "test",
		Network: cluster.Network{CIDR: netip.MustParsePrefix("10.0.0.0/24"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16")},
		Etcd:    cluster.Etcd{Version: "3.6.14", Group: cluster.Group{Count: 1, Addresses: netip.MustParsePrefix("10.0.0.16/28")}},
	})
	assert.NoError(t, CheckUserData(plan))
	for i := range 40 {
		plan.Machines[0].PKI = append(plan.Machines[0].PKI, cluster.PKIFile{Path: fmt.Sprintf("/etc/etcd/pki/%d.crt", i)})
	}
	err := CheckUserData(plan)
	assert.ErrorContains(t, err, "test-etcd-0")
	assert.ErrorContains(t, err, "49151 are allowed")
}
