package fleet

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"kubernetes-openstack/internal/status"
)

// stacks returns the names of 30 stacks.
func stacks() (names []string) {
	for i := range 30 {
		names = append(names, fmt.Sprintf("stack-%02d", i))
	}
	return names
}

// TestUnreachableDelaysNoOther checks that clusters that do not answer end last, although there are more of them than
// states that are read in parallel: each waits until all others are done.
func TestUnreachableDelaysNoOther(t *testing.T) {
	text := state(t, "s", summary())
	const silent = 5
	others := make(chan struct{})
	read := 0
	reader := Reader{
		State: func(context.Context, string) ([]byte, error) { return text, nil },
		Cluster: func(ctx context.Context, stack status.Stack) Facts {
			if stack.Name < fmt.Sprintf("stack-%02d", silent) {
				select {
				case <-others:
				case <-ctx.Done():
				}
				return unreach(healthy(stack), "no answer")
			}
			return healthy(stack)
		},
		Parallel: 1, Timeout: time.Minute,
	}
	rows := reader.List(t.Context(), stacks(), func(row Row) {
		if read++; read == 30-silent {
			close(others)
		}
		assert.Equal(t, read <= 30-silent, row.API == Ready, row.Stack)
	})
	for i, row := range rows {
		assert.Equal(t, fmt.Sprintf("stack-%02d", i), row.Stack)
	}
}

// TestParallelReads checks that all clusters are read in parallel, and only as many states as the limit.
func TestParallelReads(t *testing.T) {
	text := state(t, "s", summary())
	var running, most atomic.Int32
	var started sync.WaitGroup
	started.Add(30)
	reader := Reader{
		State: func(context.Context, string) ([]byte, error) {
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			return text, nil
		},
		Cluster: func(_ context.Context, stack status.Stack) Facts {
			started.Done()
			started.Wait() // until all others are here
			return healthy(stack)
		},
		Parallel: 4, Timeout: time.Minute,
	}
	rows := reader.List(t.Context(), stacks(), func(Row) {})
	assert.Len(t, rows, 30)
	assert.LessOrEqual(t, most.Load(), int32(4))
}

// TestTimeout checks that the time limit of a cluster ends its read.
func TestTimeout(t *testing.T) {
	text := state(t, "s", summary())
	reader := Reader{
		State: func(context.Context, string) ([]byte, error) { return text, nil },
		Cluster: func(ctx context.Context, stack status.Stack) Facts {
			<-ctx.Done()
			return unreach(healthy(stack), ctx.Err().Error())
		},
		Parallel: 1, Timeout: time.Millisecond,
	}
	rows := reader.List(t.Context(), []string{"silent"}, func(Row) {})
	assert.Equal(t, "unreachable: context deadline exceeded", rows[0].API)
}
