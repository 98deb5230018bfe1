package templates

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"kubernetes-openstack/cluster"
)

// BenchmarkUserData renders the user-data of one machine of each role, as `pulumi up` does for each machine.
func BenchmarkUserData(b *testing.B) {
	for _, role := range []string{"etcd", "control-plane", "worker"} {
		b.Run(role, func(b *testing.B) {
			m := machines()[role]
			renderer := NewRenderer(m.Plan)
			for b.Loop() {
				if _, err := renderer.UserData(m.Machine, m.Inputs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCheckUserData measures the time per worker, which must not grow with the number of workers.
func BenchmarkCheckUserData(b *testing.B) {
	for _, workers := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			c := cluster.Defaults("test")
			block := netip.MustParsePrefix
			c.Network.CIDR = block("10.0.0.0/16")
			c.Artifacts.Checksums = map[string]string{"node-approver": strings.Repeat("0", 64)}
			c.Etcd.Addresses, c.ControlPlane.Addresses = block("10.0.1.0/28"), block("10.0.1.16/28")
			c.Pools = []cluster.Pool{{Name: "general",
				NodeGroup: cluster.NodeGroup{Group: cluster.Group{Count: workers, Addresses: block("10.0.32.0/19")}}}}
			plan := cluster.NewPlan(c)
			for b.Loop() {
				if err := CheckUserData(plan); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(workers), "ns/worker")
		})
	}
}
