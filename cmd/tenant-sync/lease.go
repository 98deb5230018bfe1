package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// lease holds the Lease kube-system/tenant-sync. Only the process that holds it syncs.
//
// client-go's leaderelection does not fit. It is for programs that run forever: it retries requests that the API
// server forbids, and reports errors only in its own log.
type lease struct {
	client coordination.LeaseInterface
	holder string
	// duration is the time after which the Lease of a dead holder expires. A reload of kube-apiserver must fit into
	// it, which takes up to two starts.
	duration time.Duration
	// retryInterval is the time between two attempts to acquire the Lease.
	retryInterval time.Duration

	mu   sync.Mutex
	held *coordinationv1.Lease
}

// newLease returns a lease for this process. So a manual run also waits for the timer's run.
func newLease(client kubernetes.Interface) (*lease, error) {
	host, err := os.Hostname()
	return &lease{
		client: client.CoordinationV1().Leases(metav1.NamespaceSystem), holder: fmt.Sprintf("%s/%d", host, os.Getpid()),
		duration: 5 * time.Minute, retryInterval: 2 * time.Second,
	}, err
}

const leaseName = "tenant-sync"

var errLost = errors.New("another process has acquired the Lease")

// acquire waits until this process holds the Lease. held ends when this is no longer certain. release frees the
// Lease.
func (l *lease) acquire(ctx context.Context, out io.Writer) (held context.Context, release func(), err error) {
	var seen string // resourceVersion
	var since time.Time
	for logged := false; ; {
		current, err := l.client.Get(ctx, leaseName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			free := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName}}
			current, err = l.client.Create(ctx, free, metav1.CreateOptions{})
		}
		if apierrors.IsAlreadyExists(err) {
			continue
		} else if err != nil {
			return nil, nil, err
		}
		// The time in the Lease may come from another clock. A living holder renews the Lease, so it has expired if
		// its version stays the same for the duration.
		if current.ResourceVersion != seen {
			seen, since = current.ResourceVersion, time.Now()
		}
		holder := holderOf(current)
		if holder == "" || time.Since(since) > l.duration {
			l.held = current
			err := l.renew(ctx)
			if err == nil {
				break
			} else if errors.Is(err, errLost) {
				continue
			}
			l.release(ctx) // the renewal may have succeeded although its response is lost
			return nil, nil, err
		}
		if !logged {
			fmt.Fprintf(out, "waiting for %s, which holds the Lease\n", holder)
			logged = true
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(l.retryInterval):
		}
	}
	held, release = l.keep(ctx)
	return held, release, nil
}

// keep renews the Lease until release is called. It continues after a signal, because a reload also continues.
func (l *lease) keep(ctx context.Context) (held context.Context, release func()) {
	held, cancel := context.WithCancelCause(ctx)
	ctx = context.WithoutCancel(ctx)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for renewed := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-time.After(l.duration / 20):
			}
			err := l.renew(ctx)
			if err == nil {
				renewed = time.Now()
			} else if lost := errors.Is(err, errLost); lost || time.Since(renewed) > l.duration/2 {
				cancel(fmt.Errorf("renew Lease %s: %w", leaseName, err))
				if lost {
					return
				}
			}
		}
	}()
	return held, func() {
		close(stop)
		<-stopped
		cancel(nil)
		l.release(ctx)
	}
}

// renew extends the Lease of this process.
func (l *lease) renew(ctx context.Context) error { return l.write(ctx, l.holder) }

// release frees the Lease. If this fails, the Lease expires.
func (l *lease) release(ctx context.Context) { _ = l.write(context.WithoutCancel(ctx), "") }

func (l *lease) write(ctx context.Context, holder string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.duration/3)
	defer cancel()
	for {
		next := l.held.DeepCopy() // the update fails if the resourceVersion has changed
		now, seconds := metav1.NowMicro(), int32(l.duration.Seconds())
		next.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now}
		updated, err := l.client.Update(ctx, next, metav1.UpdateOptions{})
		if err == nil {
			l.held = updated
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		current, err := l.client.Get(ctx, leaseName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if holderOf(current) != l.holder {
			return errLost
		}
		l.held = current
	}
}

func holderOf(l *coordinationv1.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}
