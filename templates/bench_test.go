package templates

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
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

// BenchmarkChecks measures all that a preview computes before it declares resources: it decodes, plans and checks a
// configuration. With 5,000 workers it may take 10 s. The machines of a pool share most, so the number of pools counts.
// In one case, the user-data of the workers does not fit.
func BenchmarkChecks(b *testing.B) {
	for _, row := range []struct {
		workers, pools, labels int
	}{{100, 1, 0}, {1000, 1, 0}, {5000, 1, 0}, {5000, 50, 0}, {5000, 1, 2000}} {
		b.Run(fmt.Sprintf("workers=%d/pools=%d/labels=%d", row.workers, row.pools, row.labels), func(b *testing.B) {
			labels := map[string]string{}
			for i := range row.labels {
				sum := sha256.Sum256([]byte(fmt.Sprint(i)))
				labels["a"+hex.EncodeToString(sum[:8])] = hex.EncodeToString(sum[8:16])
			}
			var pools []map[string]any
			for i := range row.pools {
				first := netip.AddrFrom4([4]byte{10, 0, byte(32 * (1 + i)), 0})
				bits := 19
				if row.pools > 1 {
					first, bits = netip.AddrFrom4([4]byte{10, 0, byte(32 + i), 0}), 24
				}
				pools = append(pools, map[string]any{"name": fmt.Sprint("p", i), "count": row.workers / row.pools,
					"flavor": "large", "labels": labels, "zones": []string{"az1", "az2", "az3"},
					"addresses": netip.PrefixFrom(first, bits).String()})
			}
			text, err := json.Marshal(map[string]any{
				"image": map[string]any{"id": "11111111-1111-1111-1111-111111111111"},
				"network": map[string]any{"cidr": "10.0.0.0/16", "podCIDR": "10.128.0.0/12",
					"external": map[string]any{"id": "22222222-2222-2222-2222-222222222222"}},
				"bgp":          map[string]any{"routeReflectors": "control-plane"},
				"openstack":    map[string]any{"authURL": "https://keystone.example.com:5000/v3"},
				"etcd":         map[string]any{"flavor": "small", "addresses": "10.0.1.0/28"},
				"controlPlane": map[string]any{"flavor": "small", "addresses": "10.0.1.16/28"},
				"pools":        pools,
			})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				c, err := cluster.Decode("test", string(text))
				if err != nil {
					b.Fatal(err)
				}
				c.Warnings()
				if err := CheckUserData(cluster.NewPlan(c)); (err != nil) != (row.labels > 0) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(row.workers), "ns/worker")
		})
	}
}
