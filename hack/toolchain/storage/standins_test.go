// Package storage tests our replacements for CSI sidecars. The tests run the programs with a simulated driver.
package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// bin is the folder of the built programs.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "standins"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(bin)
		out, err := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin+"/", "./csi-node-driver-registrar",
			"./livenessprobe").CombinedOutput()
		if err != nil {
			panic(string(out))
		}
		return m.Run()
	}())
}

// driver is the identity service of a CSI driver.
type driver struct {
	csi.UnimplementedIdentityServer
	name  string
	probe atomic.Value // func(context.Context) (*csi.ProbeResponse, error)
}

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: d.name}, nil
}

func (d *driver) Probe(ctx context.Context, _ *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return d.probe.Load().(func(context.Context) (*csi.ProbeResponse, error))(ctx)
}

// serve makes the driver answer at the socket until stop is called.
func (d *driver) serve(t *testing.T, socket string) (stop func()) {
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := grpc.NewServer()
	csi.RegisterIdentityServer(server, d)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return server.Stop
}

// process is a running program.
type process struct {
	*exec.Cmd
	ended chan error
	log   bytes.Buffer // complete after the process has ended
}

// start starts a program in the folder bin.
func start(t *testing.T, program string, args ...string) *process {
	p := &process{Cmd: exec.Command(filepath.Join(bin, program), args...), ended: make(chan error, 1)}
	p.Stdout, p.Stderr = &p.log, &p.log
	require.NoError(t, p.Start())
	go func() { p.ended <- p.Wait() }()
	t.Cleanup(func() { p.Process.Kill() })
	return p
}

// wait waits for the end of the process and returns its error.
func (p *process) wait(t *testing.T) error {
	select {
	case err := <-p.ended:
		return err
	case <-time.After(10 * time.Second):
		require.FailNow(t, "the process must end within 10 s")
		return nil
	}
}

// freePort returns an unused port.
func freePort(t *testing.T) string {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer free.Close()
	_, port, err := net.SplitHostPort(free.Addr().String())
	require.NoError(t, err)
	return port
}

// health requests /healthz at a port. code is 0 if there is no answer.
func health(port string) (code int, body string) {
	response, err := http.Get("http://127.0.0.1:" + port + "/healthz")
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// startRegistrar starts a registrar and then its driver. It returns a client for the kubelet's requests to the
// registrar's socket.
func startRegistrar(t *testing.T,
	args ...string) (registrar *process, kubelet registration.RegistrationClient, socket string) {
	dir := t.TempDir()
	registrar = start(t, "csi-node-driver-registrar", append(args, "--v=5", "--csi-address="+dir+"/csi.sock",
		"--plugin-registration-path="+dir, "--kubelet-registration-path=/var/lib/kubelet/plugins/a.test/csi.sock")...)
	socket = dir + "/a.test-reg.sock"
	time.Sleep(200 * time.Millisecond)
	require.NoFileExists(t, socket, "the driver is not running yet")
	require.NoError(t, os.WriteFile(socket, nil, 0o600), "a killed registrar leaves its socket")
	(&driver{name: "a.test"}).serve(t, dir+"/csi.sock")

	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	kubelet = registration.NewRegistrationClient(conn)
	var info *registration.PluginInfo
	require.Eventually(t, func() bool {
		info, err = kubelet.GetInfo(t.Context(), &registration.InfoRequest{}, grpc.WaitForReady(true))
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
	require.True(t, proto.Equal(&registration.PluginInfo{
		Type: "CSIPlugin", Name: "a.test", Endpoint: "/var/lib/kubelet/plugins/a.test/csi.sock",
		SupportedVersions: []string{"1.0.0"},
	}, info), info)
	stat, err := os.Stat(socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), stat.Mode().Perm())
	return registrar, kubelet, socket
}

func TestRegistrarRunsUntilItsPodEnds(t *testing.T) {
	port, otherPort := freePort(t), freePort(t)
	registrar, kubelet, socket := startRegistrar(t, "--health-port="+port, "--http-endpoint=127.0.0.1:"+otherPort)
	for range 2 { // a restarted kubelet registers the driver again
		_, err := kubelet.NotifyRegistrationStatus(t.Context(), &registration.RegistrationStatus{PluginRegistered: true})
		require.NoError(t, err)
	}
	for _, p := range []string{port, otherPort} {
		require.Eventually(t, func() bool { code, _ := health(p); return code == 200 }, 10*time.Second, 50*time.Millisecond)
	}
	require.NoError(t, os.Rename(socket, socket+".renamed"))
	code, _ := health(port)
	require.Equal(t, 500, code)
	require.NoError(t, os.Rename(socket+".renamed", socket))
	require.Empty(t, registrar.ended)

	require.NoError(t, registrar.Process.Signal(syscall.SIGTERM))
	require.NoError(t, registrar.wait(t), &registrar.log)
	require.NoFileExists(t, socket, "the kubelet unregisters the driver when the socket is deleted")
}

func TestRegistrarFailsIfTheKubeletRejectsTheDriver(t *testing.T) {
	registrar, kubelet, _ := startRegistrar(t)
	_, err := kubelet.NotifyRegistrationStatus(t.Context(), &registration.RegistrationStatus{Error: "no such place"})
	require.NoError(t, err)
	require.EqualError(t, registrar.wait(t), "exit status 1")
	require.Contains(t, registrar.log.String(), "no such place")
}

func TestRegistrarRequiresTheSocketPath(t *testing.T) {
	registrar := start(t, "csi-node-driver-registrar")
	require.EqualError(t, registrar.wait(t), "exit status 1")
	require.Contains(t, registrar.log.String(), "--kubelet-registration-path")
}

func TestLivenessProbe(t *testing.T) {
	socket, port := filepath.Join(t.TempDir(), "csi.sock"), freePort(t)
	probe := start(t, "livenessprobe", "--csi-address="+socket, "--probe-timeout=300ms", "--health-port="+port)
	time.Sleep(200 * time.Millisecond)
	code, body := health(port)
	require.Zero(t, code, body)

	d := &driver{name: "a.test"}
	answer := func(response *csi.ProbeResponse, err error) {
		d.probe.Store(func(context.Context) (*csi.ProbeResponse, error) { return response, err })
	}
	waitForHealth := func(want int, text string) {
		t.Helper()
		require.Eventually(t, func() bool { code, body = health(port); return code == want }, 10*time.Second,
			50*time.Millisecond)
		require.Contains(t, body, text)
	}
	answer(&csi.ProbeResponse{}, nil) // in CSI, an answer without Ready means ready
	stop := d.serve(t, socket)
	waitForHealth(200, "ok")

	answer(&csi.ProbeResponse{Ready: wrapperspb.Bool(false)}, nil)
	waitForHealth(500, "not ready")
	answer(nil, errors.New("no cloud"))
	waitForHealth(500, "no cloud")
	remaining := make(chan time.Duration, 1)
	d.probe.Store(func(ctx context.Context) (*csi.ProbeResponse, error) {
		deadline, _ := ctx.Deadline() // without a deadline, the probe never returns
		select {
		case remaining <- time.Until(deadline):
		default:
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	waitForHealth(500, "DeadlineExceeded")
	require.LessOrEqual(t, <-remaining, 300*time.Millisecond)
	answer(&csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil)
	waitForHealth(200, "ok")

	stop()
	waitForHealth(500, "")
	d.serve(t, socket)
	waitForHealth(200, "ok")

	require.NoError(t, probe.Process.Signal(syscall.SIGTERM))
	require.NoError(t, probe.wait(t), &probe.log)
}

func TestLivenessProbeServesAtTheHTTPEndpoint(t *testing.T) {
	socket, port := filepath.Join(t.TempDir(), "csi.sock"), freePort(t)
	d := &driver{name: "a.test"}
	d.probe.Store(func(context.Context) (*csi.ProbeResponse, error) { return &csi.ProbeResponse{}, nil })
	d.serve(t, socket)
	start(t, "livenessprobe", "--csi-address="+socket, "--http-endpoint=127.0.0.1:"+port)
	require.Eventually(t, func() bool { code, _ := health(port); return code == 200 }, 10*time.Second, 50*time.Millisecond)

	both := start(t, "livenessprobe", "--csi-address="+socket, "--http-endpoint=:1", fmt.Sprint("--health-port=", port))
	require.EqualError(t, both.wait(t), "exit status 1")
}
