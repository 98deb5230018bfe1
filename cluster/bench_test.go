package cluster

import (
	"fmt"
	"testing"
)

// The time per worker must not grow with the number of workers.
func BenchmarkNewPlan(b *testing.B) {
	for _, workers := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			c := large(b, 0, workers)
			c.BGP.RouteReflectors = string(RoleControlPlane)
			for b.Loop() {
				NewPlan(c)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(workers), "ns/worker")
		})
	}
}
