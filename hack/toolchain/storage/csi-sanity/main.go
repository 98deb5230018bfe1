// Command csi-sanity runs the CSI community's test suite for drivers. It retries calls that fail because Cinder has not
// finished an operation, like the sidecars in a cluster. This is necessary because cinder-csi-plugin reports a volume
// or snapshot as created while Cinder is still creating it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// version is set by the linker.
var version = "unknown"

// retryTimeout is the maximum duration of an operation of Cinder.
const retryTimeout = time.Minute

func main() {
	config := sanity.NewTestConfig()
	flag.StringVar(&config.Address, "endpoint", "", "path of the driver's socket, with its controller and node services")
	flag.StringVar(&config.TargetPath, "target", config.TargetPath, "new folder in which volumes are published")
	flag.StringVar(&config.StagingPath, "staging", config.StagingPath, "new folder in which volumes are staged")
	showVersion := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *showVersion {
		fmt.Println(os.Args[0], version)
		return
	}
	config.TestVolumeSize, config.TestVolumeExpandSize = 1<<30, 2<<30
	config.DialOptions = append(config.DialOptions, grpc.WithUnaryInterceptor(retryWhileBusy))
	result := &result{}
	sanity.Test(result, config)
	os.Exit(result.code)
}

// result is the exit code of the test suite.
type result struct{ code int }

// Fail is called if a test fails.
func (r *result) Fail() { r.code = 1 }

// retryWhileBusy repeats a call while Cinder rejects it because of the status of the volume or snapshot.
func retryWhileBusy(
	ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	for end := time.Now().Add(retryTimeout); ; time.Sleep(time.Second / 2) {
		err := invoke(ctx, method, request, answer, conn, options...)
		if err == nil || !isBusy(err) || time.Now().After(end) {
			return err
		}
	}
}

// isBusy returns true if Cinder has not finished an operation on the volume or snapshot.
func isBusy(err error) bool {
	message := status.Convert(err).Message()
	return strings.Contains(message, "Invalid volume") || strings.Contains(message, "Invalid snapshot") ||
		strings.Contains(message, "when status is creating")
}
