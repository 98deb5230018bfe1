// Command csi-node-driver-registrar replaces the official program, whose module the Go module proxy does not serve. It
// registers the CSI driver in the same pod with the kubelet. docs/contributing/images.md lists the differences.
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

// version is set by the linker.
var version = "unknown"

var (
	endpoint    = flag.String("kubelet-registration-path", "", "path of the driver's socket on the host")
	folder      = flag.String("plugin-registration-path", "/registration", "folder that the kubelet watches")
	timeout     = flag.Duration("timeout", time.Second, "timeout of a call to the driver")
	httpAddress = flag.String("http-endpoint", "", "address and port of /healthz; empty for none")
	healthPort  = flag.Int("health-port", 0, "port of /healthz on all addresses; 0 for none")
)

func main() { standin.Main(version, "Cannot register the driver", run) }

// run waits for the driver and registers it whenever the kubelet requests it. It returns when ctx ends or the kubelet
// rejects the driver.
func run(ctx context.Context) error {
	if *endpoint == "" {
		return errors.New("--kubelet-registration-path: must be set to the path of the driver's socket on the host")
	}
	name, err := driverName(ctx)
	if err != nil {
		return err
	}
	socket := filepath.Join(*folder, name+"-reg.sock")
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) { // left by a killed process
		return err
	}
	syscall.Umask(0o077) // only root, and so the kubelet, may connect to the socket
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	end := make(chan error, 3)
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, &registrar{name: name, rejected: end})
	go func() { end <- server.Serve(listener) }()
	for _, address := range healthAddresses() {
		go func() { end <- http.ListenAndServe(address, health(socket)) }()
	}
	klog.InfoS("Waiting for the kubelet", "driver", name, "socket", socket)
	select {
	case err = <-end:
	case <-ctx.Done():
	}
	server.GracefulStop() // finishes pending answers to the kubelet and deletes the socket
	return err
}

// driverName waits for the driver and requests its name.
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

// registrar answers the kubelet's requests.
type registrar struct {
	registration.UnimplementedRegistrationServer
	name     string
	rejected chan<- error
}

// GetInfo returns the name of the driver and the path of its socket.
func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              r.name,
		Endpoint:          *endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus ends this program if the kubelet rejects the driver. The kubelet then restarts the
// container, which registers the driver again.
func (r *registrar) NotifyRegistrationStatus(_ context.Context,
	status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	klog.InfoS("Received the registration status", "registered", status.PluginRegistered, "error", status.Error)
	if !status.PluginRegistered {
		select {
		case r.rejected <- fmt.Errorf("the kubelet rejected the driver %s: %s", r.name, status.Error):
		default: // the program is already ending
		}
	}
	return &registration.RegistrationStatusResponse{}, nil
}

// healthAddresses returns the addresses of /healthz.
func healthAddresses() (addresses []string) {
	if *httpAddress != "" {
		addresses = append(addresses, *httpAddress)
	}
	if *healthPort > 0 {
		addresses = append(addresses, fmt.Sprint(":", *healthPort))
	}
	return addresses
}

// health returns the handler of /healthz. It succeeds while the socket exists.
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
