// Package storage tests the stand-ins as the programs that they are, with a driver that does as it is told.
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

// bin has the stand-ins.
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

// A driver is a CSI driver's identity.
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

// serve lets the driver answer at the socket until stop.
func (d *driver) serve(t *testing.T, socket string) (stop func()) {
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := grpc.NewServer()
	csi.RegisterIdentityServer(server, d)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return server.Stop
}

// A process is a stand-in that runs.
type process struct {
	*exec.Cmd
	ended chan error
	log   bytes.Buffer // complete when it has ended
}

func start(t *testing.T, program string, args ...string) *process {
	p := &process{Cmd: exec.Command(filepath.Join(bin, program), args...), ended: make(chan error, 1)}
	p.Stdout, p.Stderr = &p.log, &p.log
	require.NoError(t, p.Start())
	go func() { p.ended <- p.Wait() }()
	t.Cleanup(func() { p.Process.Kill() })
	return p
}

// end is how it ended.
func (p *process) end(t *testing.T) error {
	select {
	case err := <-p.ended:
		return err
	case <-time.After(10 * time.Second):
		require.FailNow(t, "it does not end")
		return nil
	}
}

// freePort is a port that nothing listens on.
func freePort(t *testing.T) string {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer free.Close()
	_, port, err := net.SplitHostPort(free.Addr().String())
	require.NoError(t, err)
	return port
}

// health is the answer at a port's /healthz; 0 for none.
func health(port string) (code int, body string) {
	response, err := http.Get("http://127.0.0.1:" + port + "/healthz")
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// registered starts a registrar, then its driver, and is the kubelet that finds the registrar's socket.
func registered(t *testing.T,
	args ...string) (registrar *process, kubelet registration.RegistrationClient, socket string) {
	dir := t.TempDir()
	registrar = start(t, "csi-node-driver-registrar", append(args, "--v=5", "--csi-address="+dir+"/csi.sock",
		"--plugin-registration-path="+dir, "--kubelet-registration-path=/var/lib/kubelet/plugins/a.test/csi.sock")...)
	socket = dir + "/a.test-reg.sock"
	time.Sleep(200 * time.Millisecond)
	require.NoFileExists(t, socket, "there is no driver yet")
	require.NoError(t, os.WriteFile(socket, nil, 0o600), "left by one that was killed")
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

func TestRegistrarStaysUntilItsPodEnds(t *testing.T) {
	port, address := freePort(t), freePort(t)
	registrar, kubelet, socket := registered(t, "--health-port="+port, "--http-endpoint=127.0.0.1:"+address)
	for range 2 { // a kubelet that restarts asks again
		_, err := kubelet.NotifyRegistrationStatus(t.Context(), &registration.RegistrationStatus{PluginRegistered: true})
		require.NoError(t, err)
	}
	for _, at := range []string{port, address} {
		require.Eventually(t, func() bool { code, _ := health(at); return code == 200 }, 10*time.Second, 50*time.Millisecond)
	}
	require.NoError(t, os.Rename(socket, socket+".away"))
	code, _ := health(port)
	require.Equal(t, 500, code)
	require.NoError(t, os.Rename(socket+".away", socket))
	require.Empty(t, registrar.ended)

	require.NoError(t, registrar.Process.Signal(syscall.SIGTERM))
	require.NoError(t, registrar.end(t), &registrar.log)
	require.NoFileExists(t, socket, "the kubelet forgets the driver when its socket goes")
}

func TestRegistrarFailsWhenTheKubeletRefuses(t *testing.T) {
	registrar, kubelet, _ := registered(t)
	_, err := kubelet.NotifyRegistrationStatus(t.Context(), &registration.RegistrationStatus{Error: "no such place"})
	require.NoError(t, err)
	require.EqualError(t, registrar.end(t), "exit status 1")
	require.Contains(t, registrar.log.String(), "no such place")
}

func TestRegistrarNeedsThePath(t *testing.T) {
	registrar := start(t, "csi-node-driver-registrar")
	require.EqualError(t, registrar.end(t), "exit status 1")
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
	becomes := func(want int, text string) {
		t.Helper()
		require.Eventually(t, func() bool { code, body = health(port); return code == want }, 10*time.Second,
			50*time.Millisecond)
		require.Contains(t, body, text)
	}
	answer(&csi.ProbeResponse{}, nil) // CSI: ready, unless it says otherwise
	stop := d.serve(t, socket)
	becomes(200, "ok")

	answer(&csi.ProbeResponse{Ready: wrapperspb.Bool(false)}, nil)
	becomes(500, "not ready")
	answer(nil, errors.New("no cloud"))
	becomes(500, "no cloud")
	left := make(chan time.Duration, 1)
	d.probe.Store(func(ctx context.Context) (*csi.ProbeResponse, error) {
		deadline, _ := ctx.Deadline() // without a deadline, this never returns
		select {
		case left <- time.Until(deadline):
		default:
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	becomes(500, "DeadlineExceeded")
	require.LessOrEqual(t, <-left, 300*time.Millisecond)
	answer(&csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil)
	becomes(200, "ok")

	stop()
	becomes(500, "")
	d.serve(t, socket)
	becomes(200, "ok")

	require.NoError(t, probe.Process.Signal(syscall.SIGTERM))
	require.NoError(t, probe.end(t), &probe.log)
}

func TestLivenessProbeServesWhereItIsTold(t *testing.T) {
	socket, port := filepath.Join(t.TempDir(), "csi.sock"), freePort(t)
	d := &driver{name: "a.test"}
	d.probe.Store(func(context.Context) (*csi.ProbeResponse, error) { return &csi.ProbeResponse{}, nil })
	d.serve(t, socket)
	start(t, "livenessprobe", "--csi-address="+socket, "--http-endpoint=127.0.0.1:"+port)
	require.Eventually(t, func() bool { code, _ := health(port); return code == 200 }, 10*time.Second, 50*time.Millisecond)

	both := start(t, "livenessprobe", "--csi-address="+socket, "--http-endpoint=:1", fmt.Sprint("--health-port=", port))
	require.EqualError(t, both.end(t), "exit status 1")
}
