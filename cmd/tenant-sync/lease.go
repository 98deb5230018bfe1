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

// lease is the Lease kube-system/tenant-sync: who holds it works, and nobody else.
//
// It is not client-go's leaderelection, which is for programs that run for ever: it tries again and again
// where it may not, and says so in its own log only.
type lease struct {
	client coordination.LeaseInterface
	holder string
	// duration is how long one who has died holds it: longer than two starts of kube-apiserver take, which is a reload.
	duration time.Duration
	// interval is how often one who waits looks.
	interval time.Duration

	mu   sync.Mutex
	held *coordinationv1.Lease
}

// newLease is for this very run: one that somebody starts by hand beside the timer's waits, too.
func newLease(client kubernetes.Interface) (*lease, error) {
	host, err := os.Hostname()
	return &lease{
		client: client.CoordinationV1().Leases(metav1.NamespaceSystem), holder: fmt.Sprintf("%s/%d", host, os.Getpid()),
		duration: 5 * time.Minute, interval: 2 * time.Second,
	}, err
}

const leaseName = "tenant-sync"

var errLost = errors.New("another has taken it")

// take waits until it is ours. held ends when that is no longer sure; release lets the next one have it.
func (l *lease) take(ctx context.Context, out io.Writer) (held context.Context, release func(), err error) {
	var seen string // the version
	var since time.Time
	for waiting := false; ; {
		current, err := l.client.Get(ctx, leaseName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			nobodys := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName}}
			current, err = l.client.Create(ctx, nobodys, metav1.CreateOptions{})
		}
		if apierrors.IsAlreadyExists(err) {
			continue
		} else if err != nil {
			return nil, nil, err
		}
		// Its own time may be of another clock. Who lives renews it, so it is given up when it stayed as it was.
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
			l.release(ctx) // if it is ours, and we only did not hear of it
			return nil, nil, err
		}
		if !waiting {
			fmt.Fprintf(out, "waiting for %s, which is at work\n", holder)
			waiting = true
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(l.interval):
		}
	}
	held, release = l.keep(ctx)
	return held, release, nil
}

// keep renews it until it is released: after a signal, too, as a reload goes on.
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
				cancel(fmt.Errorf("Lease %s: %w", leaseName, err))
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

// renew has the Lease say that the holder lives.
func (l *lease) renew(ctx context.Context) error { return l.write(ctx, l.holder) }

// release has it say that there is none. Where that fails, it is taken when it was not renewed for long enough.
func (l *lease) release(ctx context.Context) { _ = l.write(context.WithoutCancel(ctx), "") }

func (l *lease) write(ctx context.Context, holder string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.duration/3)
	defer cancel()
	for {
		next := l.held.DeepCopy() // the API server refuses it where that is another version by now
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
