// Package standin contains the common start of our replacements for CSI sidecars whose modules the Go module proxy does
// not serve. They have the official flags and connect to a CSI driver in the same pod.
package standin

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kubernetes-csi/csi-lib-utils/connection"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"
)

var (
	address     = flag.String("csi-address", "/run/csi/socket", "path of the driver's socket")
	showVersion = flag.Bool("version", false, "print the version and exit")
)

// Main parses the flags and calls run with a context that ends at SIGINT or SIGTERM. If run fails before, Main logs the
// message failure with the error, and the process exits with 1.
func Main(version, failure string, run func(context.Context) error) {
	klog.InitFlags(nil)
	flag.Parse()
	if *showVersion {
		fmt.Println(os.Args[0], version)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		klog.ErrorS(err, failure)
		klog.FlushAndExit(klog.ExitFlushTimeout, 1)
	}
}

// Connect waits for the driver, without a time limit. The connection survives a restart of the driver.
func Connect(ctx context.Context) (*grpc.ClientConn, error) {
	return connection.Connect(ctx, *address, nil, connection.WithTimeout(0))
}
