// Command kube-dns is the SkyDNS server with the Services of a Kubernetes cluster. It has the flags of upstream's
// kube-dns that its manifest uses, and answers with the records of the Kubernetes DNS specification.
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
	"strings"
	"syscall"
	"time"

	"github.com/skynetservices/skydns/metrics"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"kubernetes-openstack/hack/toolchain/skydns/config"
)

var (
	domain      = flag.String("domain", "cluster.local.", "domain of the cluster")
	bindAddress = flag.String("dns-bind-address", "0.0.0.0", "address that answers queries")
	port        = flag.Int("dns-port", 53, "port that answers queries, over UDP and TCP")
	healthzPort = flag.Int("healthz-port", 8081, "port of /readiness")
	nameservers = flag.String("nameservers", "", "servers that resolve all other names, separated by commas; the "+
		"default is those in /etc/resolv.conf")
	configDir    = flag.String("config-dir", "", "folder with the ConfigMap kube-dns")
	configPeriod = flag.Duration("config-period", 10*time.Second, "time between two reads of the folder")
	kubeconfig   = flag.String("kubecfg-file", "", "kubeconfig; the default is the pod's ServiceAccount")
	master       = flag.String("kube-master-url", "", "URL of the API, instead of the kubeconfig's")
)

func main() {
	klog.InitFlags(nil)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		klog.Exitf("kube-dns: %v", err)
	}
}

func run(ctx context.Context) error {
	rest, err := clientcmd.BuildConfigFromFlags(*master, *kubeconfig)
	if err != nil {
		return err
	}
	services, endpoints, err := listWatches(rest)
	if err != nil {
		return err
	}
	b := newBackend(*domain, services, endpoints)
	s := &server{backend: b, domain: *domain}
	if *nameservers != "" {
		for text := range strings.SplitSeq(*nameservers, ",") {
			server, err := config.ParseServer(text)
			if err != nil {
				return fmt.Errorf("--nameservers: %w", err)
			}
			s.nameservers = append(s.nameservers, server)
		}
	}
	if err := s.use(config.Config{}); err != nil {
		return err
	}
	if err := metrics.Metrics(); err != nil { // listens at $PROMETHEUS_PORT
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	group.Go(func() error { return b.run(ctx) })
	group.Go(func() error {
		if b.wait(ctx) {
			klog.Infof("%d Services and %d Endpoints are loaded after %s", len(b.services.ListKeys()),
				len(b.endpoints.ListKeys()), time.Since(begin).Round(time.Millisecond))
		}
		return nil
	})
	group.Go(func() error { return s.listen(ctx, net.JoinHostPort(*bindAddress, strconv.Itoa(*port))) })
	group.Go(func() error { return serveReadiness(ctx, b) })
	if *configDir != "" {
		settings := config.Watch(ctx, *configDir, *configPeriod)
		group.Go(func() error {
			for {
				select {
				case c := <-settings:
					if err := s.use(c); err != nil {
						return err
					}
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	return group.Wait()
}

// serveReadiness answers /readiness with 200 after all Services and Endpoints are loaded.
func serveReadiness(ctx context.Context, b *backend) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/readiness", func(w http.ResponseWriter, _ *http.Request) {
		if !b.HasSynced() {
			http.Error(w, "Services and Endpoints are not loaded yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{Addr: net.JoinHostPort(*bindAddress, strconv.Itoa(*healthzPort)), Handler: mux}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
