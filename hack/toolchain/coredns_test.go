package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

// The mirror contains every image that kubeadm requests, except kube-proxy's.
func TestMirrorContainsKubeadmsImages(t *testing.T) {
	log := progress.New(os.Stderr, "toolchain")
	for _, b := range []build{kubernetes, kubeadm, etcd, coredns, images} {
		require.NoError(t, b.ensure(".", log))
	}
	path, err := kubeadm.programs[0].expand(".", kubernetesBinaries+"/kubeadm")
	require.NoError(t, err)
	version, err := kubernetes.programs[0].expand(".", "v{version}")
	require.NoError(t, err)
	list, err := exec.Command(dirs.Mirror(path), "config", "images", "list", "--kubernetes-version", version).Output()
	require.NoError(t, err)
	require.Contains(t, string(list), "/coredns:")
	for _, name := range strings.Fields(string(list)) {
		if !strings.Contains(name, "/kube-proxy:") {
			require.FileExists(t, dirs.Mirror("oci", strings.ReplaceAll(name, ":", "@"), "index.json"))
		}
	}
}

// CoreDNS has the plugins of Kubernetes' default Corefile, and answers a query.
func TestCoreDNS(t *testing.T) {
	require.NoError(t, coredns.ensure(".", progress.New(os.Stderr, "toolchain")))
	version, err := coredns.programs[0].expand(".", "{version}")
	require.NoError(t, err)
	program := unpack(t, "registry.k8s.io/coredns/coredns@v"+version) + "/coredns"

	out, err := exec.Command(program, "-version").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "CoreDNS-"+version+"\n")
	out, err = exec.Command(program, "-plugins").Output()
	require.NoError(t, err)
	require.Subset(t, strings.Fields(string(out)),
		strings.Fields("bind cache errors forward health hosts kubernetes loadbalance log loop prometheus ready reload"))

	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.LocalAddr().String()
	require.NoError(t, free.Close())
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	corefile := filepath.Join(t.TempDir(), "Corefile")
	write(t, corefile, ".:"+port+" {\n  bind 127.0.0.1\n  errors\n  hosts {\n    10.0.0.7 name.test\n  }\n}\n")
	server := exec.CommandContext(t.Context(), program, "-conf", corefile)
	require.NoError(t, server.Start())
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	require.Eventually(t, func() bool {
		answer, err := resolver.LookupHost(t.Context(), "name.test.")
		return err == nil && len(answer) == 1 && answer[0] == "10.0.0.7"
	}, 5*time.Second, 50*time.Millisecond)
}
