// Command csi-sanity is the CSI community's test of a driver, run as a cluster calls one: what fails because Cinder is
// not done yet is tried again, which sidecars do and the test does not. cinder-csi-plugin says that a volume or a
// snapshot is made as soon as Cinder has begun to.
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

var version = "unknown" // the linker's

// patience is how long Cinder may take.
const patience = time.Minute

func main() {
	config := sanity.NewTestConfig()
	flag.StringVar(&config.Address, "endpoint", "", "the driver's socket, which serves the controller and the node")
	flag.StringVar(&config.TargetPath, "target", config.TargetPath, "folder to be made, where volumes are published")
	flag.StringVar(&config.StagingPath, "staging", config.StagingPath, "folder to be made, where volumes are staged")
	showVersion := flag.Bool("version", false, "show the version and end")
	flag.Parse()
	if *showVersion {
		fmt.Println(os.Args[0], version)
		return
	}
	config.TestVolumeSize, config.TestVolumeExpandSize = 1<<30, 2<<30
	config.DialOptions = append(config.DialOptions, grpc.WithUnaryInterceptor(patiently))
	result := &result{}
	sanity.Test(result, config)
	os.Exit(result.code)
}

type result struct{ code int }

func (r *result) Fail() { r.code = 1 }

// patiently tries a call again while Cinder says that what it is about is not in a state for it.
func patiently(
	ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	for end := time.Now().Add(patience); ; time.Sleep(time.Second / 2) {
		err := invoke(ctx, method, request, answer, conn, options...)
		if err == nil || !early(err) || time.Now().After(end) {
			return err
		}
	}
}

func early(err error) bool {
	message := status.Convert(err).Message()
	return strings.Contains(message, "Invalid volume") || strings.Contains(message, "Invalid snapshot") ||
		strings.Contains(message, "when status is creating")
}
