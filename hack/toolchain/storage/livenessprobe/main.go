// Command livenessprobe stands in for the official one, whose module the Go module proxy refuses: it answers GET
// /healthz with what the CSI driver beside it answers to a probe. docs/contributing/images.md says what differs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/rpc"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"kubernetes-openstack/hack/toolchain/storage/standin"
)

var version = "unknown" // the linker's

const defaultPort = "9808"

var (
	timeout     = flag.Duration("probe-timeout", time.Second, "of one probe")
	port        = flag.String("health-port", defaultPort, "port that serves /healthz, on all addresses")
	httpAddress = flag.String("http-endpoint", "", "address that serves /healthz instead")
)

func main() { standin.Main(version, "Cannot probe the driver", run) }

// run waits for the driver and serves until ctx ends.
func run(ctx context.Context) error {
	if *httpAddress != "" && *port != defaultPort {
		return errors.New("--http-endpoint and --health-port exclude each other")
	}
	if *httpAddress == "" {
		*httpAddress = net.JoinHostPort("", *port)
	}
	conn, err := standin.Connect(ctx)
	if err != nil {
		return err
	}
	server := http.Server{Addr: *httpAddress, Handler: health(conn)}
	context.AfterFunc(ctx, func() { server.Close() })
	return server.ListenAndServe()
}

// health serves /healthz: each request is one probe.
func health(conn *grpc.ClientConn) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, request *http.Request) {
		ctx, cancel := context.WithTimeout(request.Context(), *timeout)
		defer cancel()
		ready, err := rpc.Probe(ctx, conn)
		if err == nil && !ready {
			err = errors.New("the driver is not ready")
		}
		if err != nil {
			klog.ErrorS(err, "The driver is not well")
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "ok")
	})
	return mux
}
