package fleet

import (
	"context"
	"sync"
	"time"

	"kubernetes-openstack/internal/status"
)

// Reader reads clusters.
type Reader struct {
	// State returns the state of a stack, as `pulumi stack export` prints it.
	State func(ctx context.Context, stack string) ([]byte, error)
	// Cluster reads the cluster of a stack. It ends when ctx ends.
	Cluster func(ctx context.Context, stack status.Stack) Facts
	// Parallel is the maximum number of states that are read in parallel, because each read is a process that computes.
	// Clusters have no limit: the reads only wait, and one that does not respond must not delay the others.
	Parallel int
	// Timeout is the time limit for each cluster.
	Timeout time.Duration
}

// List reads all stacks, and returns their rows in the same order. It calls done after each, one call at a time.
func (r Reader) List(ctx context.Context, stacks []string, done func(Row)) []Row {
	rows := make([]Row, len(stacks))
	slots := make(chan struct{}, r.Parallel)
	var mu sync.Mutex
	var all sync.WaitGroup
	for i, stack := range stacks {
		all.Go(func() {
			slots <- struct{}{}
			state, err := r.State(ctx, stack)
			<-slots
			rows[i] = r.row(ctx, stack, state, err)
			mu.Lock()
			defer mu.Unlock()
			done(rows[i])
		})
	}
	all.Wait()
	return rows
}

// row reads the cluster of a state.
func (r Reader) row(ctx context.Context, name string, state []byte, err error) Row {
	if err != nil {
		return unreadable(name, err)
	}
	stack, err := status.ParseStack(name, state)
	if err != nil {
		return unreadable(name, err)
	}
	row := fromState(stack)
	if row.API != "" {
		return row // there is nothing to read
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	row.add(stack, r.Cluster(ctx, stack))
	return row
}
