// Command sidecar checks that kube-dns and dnsmasq answer, and exports their state and dnsmasq's cache as metrics. It
// has the flags, ports and paths of upstream's sidecar that the manifest uses.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
)

func main() {
	klog.InitFlags(nil)
	var probes []*probe
	flag.Func("probe", "label,server,name,seconds,type: sends a query to a server repeatedly; can be repeated",
		func(text string) error {
			p, err := parseProbe(text)
			probes = append(probes, p)
			return err
		})
	address := flag.String("prometheus-addr", "0.0.0.0", "address of /metrics and /healthcheck")
	port := flag.Int("prometheus-port", 10054, "port of /metrics and /healthcheck")
	path := flag.String("prometheus-path", "/metrics", "path of the metrics")
	namespace := flag.String("prometheus-namespace", "kubedns", "first part of the metrics' names")
	dnsmasqAddress := flag.String("dnsmasq-addr", "127.0.0.1", "address of dnsmasq")
	dnsmasqPort := flag.Int("dnsmasq-port", 53, "port of dnsmasq")
	pollInterval := flag.Int("dnsmasq-poll-interval-ms", 5000, "time between two queries for dnsmasq's counters")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	registry, mux := prometheus.NewRegistry(), http.NewServeMux()
	mux.Handle(*path, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	for _, p := range probes {
		p.register(registry, *namespace)
		mux.Handle("/healthcheck/"+p.label, p)
		group.Go(func() error { return p.run(ctx) })
	}
	c := newCounters(registry, *namespace, net.JoinHostPort(*dnsmasqAddress, strconv.Itoa(*dnsmasqPort)))
	group.Go(func() error { return c.run(ctx, time.Duration(*pollInterval)*time.Millisecond) })
	server := &http.Server{Addr: net.JoinHostPort(*address, strconv.Itoa(*port)), Handler: mux}
	context.AfterFunc(ctx, func() { server.Close() })
	group.Go(func() error {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("listen: %w", err)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		klog.Exitf("sidecar: %v", err)
	}
}
