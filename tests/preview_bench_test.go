package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkPreview previews new clusters with growing numbers of workers, without a cloud. The time per
// worker must not grow with their number. Run it with -benchtime 1x.
func BenchmarkPreview(b *testing.B) {
	e := newEngine(b, "bench", noCloud, workers(b, 1))
	e.must("preview") // links the program
	var out strings.Builder
	fmt.Fprintf(&out, "%8s %8s %14s\n", "Workers", "seconds", "ms per worker")
	for _, n := range []int{10, 100, 1000} {
		e.configure(b, workers(b, n))
		begin := time.Now()
		e.must("preview")
		seconds := time.Since(begin).Seconds()
		fmt.Fprintf(&out, "%8d %8.1f %14.1f\n", n, seconds, 1000*seconds/float64(n))
		b.ReportMetric(seconds, fmt.Sprintf("s/%d-workers", n))
	}
	record(b, out.String())
	b.ReportMetric(0, "ns/op") // of all previews together
}

// workers returns an edit to a cluster in its own network with n workers.
func workers(b *testing.B, n int) func(string) string {
	return func(text string) string {
		text = patched(b, "large.yaml")(patched(b, "tenant.yaml")(text))
		const count = `"count":1000`
		require.Equal(b, 1, strings.Count(text, count), text)
		return strings.Replace(text, count, fmt.Sprintf(`"count":%d`, n), 1)
	}
}
