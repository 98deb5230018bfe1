package tests

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkProgram measures the program's share in the preview of an existing cluster, under mocks. The
// program renders the user-data of each machine. The time per worker must not grow with their number.
func BenchmarkProgram(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			config := edited(b, "../Pulumi.dev.yaml", workers(b, n))
			for b.Loop() {
				require.NoError(b, runWith(&recorder{}, "bench", config, &watcher{}, true))
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n)/1000, "ms/worker")
		})
	}
}
