// Command csi-node-driver-registrar stands in for the official one, whose module the Go module proxy refuses: it makes
// the kubelet know the CSI driver beside it. docs/contributing/images.md says what differs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/rpc"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"kubernetes-openstack/hack/toolchain/storage/standin"
)

var version = "unknown" // the linker's

var (
	endpoint    = flag.String("kubelet-registration-path", "", "the driver's socket as the kubelet sees it")
	folder      = flag.String("plugin-registration-path", "/registration", "the folder that the kubelet watches")
	timeout     = flag.Duration("timeout", time.Second, "of a call to the driver")
	httpAddress = flag.String("http-endpoint", "", "address that serves /healthz; none if empty")
	healthPort  = flag.Int("health-port", 0, "port that serves /healthz, on all addresses; none if 0")
)

func main() { standin.Main(version, "The driver is not registered", run) }

// run registers the driver when it is there, as often as a kubelet asks, until ctx ends or a kubelet refuses it.
func run(ctx context.Context) error {
	if *endpoint == "" {
		return errors.New("--kubelet-registration-path is missing")
	}
	name, err := driverName(ctx)
	if err != nil {
		return err
	}
	socket := filepath.Join(*folder, name+"-reg.sock")
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) { // one that was killed leaves it
		return err
	}
	syscall.Umask(0o077) // the socket is the kubelet's alone
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	end := make(chan error, 3)
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, &registrar{name: name, refused: end})
	go func() { end <- server.Serve(listener) }()
	for _, at := range healthAddresses() {
		go func() { end <- http.ListenAndServe(at, health(socket)) }()
	}
	klog.InfoS("Waiting for the kubelet", "driver", name, "socket", socket)
	select {
	case err = <-end:
	case <-ctx.Done():
	}
	server.GracefulStop() // the kubelet gets its answer, and the socket goes
	return err
}

// driverName waits for the driver and asks for its name.
func driverName(ctx context.Context) (string, error) {
	conn, err := standin.Connect(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	return rpc.GetDriverName(ctx, conn)
}

// A registrar answers the kubelet.
type registrar struct {
	registration.UnimplementedRegistrationServer
	name    string
	refused chan<- error
}

// GetInfo tells the kubelet which driver this is and where.
func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              r.name,
		Endpoint:          *endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus ends this program if the kubelet refuses the driver: the next container tries again.
func (r *registrar) NotifyRegistrationStatus(_ context.Context,
	status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	klog.InfoS("The kubelet answered", "registered", status.PluginRegistered, "error", status.Error)
	if !status.PluginRegistered {
		select {
		case r.refused <- fmt.Errorf("the kubelet refused it: %s", status.Error):
		default: // it ends already
		}
	}
	return &registration.RegistrationStatusResponse{}, nil
}

// healthAddresses is where /healthz is to be served.
func healthAddresses() (addresses []string) {
	if *httpAddress != "" {
		addresses = append(addresses, *httpAddress)
	}
	if *healthPort > 0 {
		addresses = append(addresses, fmt.Sprint(":", *healthPort))
	}
	return addresses
}

// health serves /healthz, which is well while the socket exists.
func health(socket string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(socket); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "ok")
	})
	return mux
}
