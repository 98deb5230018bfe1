// Command livenessprobe replaces the official program, whose module the Go module proxy does not serve. For each GET
// /healthz, it probes the CSI driver in the same pod and returns the result. docs/contributing/images.md lists the
// differences.
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

// version is set by the linker.
var version = "unknown"

const defaultPort = "9808"

var (
	timeout     = flag.Duration("probe-timeout", time.Second, "timeout of a probe")
	port        = flag.String("health-port", defaultPort, "port of /healthz on all addresses")
	httpAddress = flag.String("http-endpoint", "", "address and port of /healthz, instead of --health-port")
)

func main() { standin.Main(version, "Cannot probe the driver", run) }

// run waits for the driver and serves until ctx ends.
func run(ctx context.Context) error {
	if *httpAddress != "" && *port != defaultPort {
		return errors.New("--http-endpoint and --health-port: must not both be set")
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

// health returns the handler of /healthz. It sends one probe for each request.
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
			klog.ErrorS(err, "The driver is unhealthy")
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "ok")
	})
	return mux
}
