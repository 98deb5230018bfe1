package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

// The module proxy has only a pseudo-version, so the test reads the release from the manifests in Calico's source.
func TestCalicoModuleIsTheRelease(t *testing.T) {
	module, err := calico.programs[0].moduleDir(".")
	require.NoError(t, err)
	manifest, err := os.ReadFile(filepath.Join(module, "manifests/calico-etcd.yaml"))
	require.NoError(t, err)
	for _, name := range []string{"node", "cni", "kube-controllers"} {
		require.Contains(t, string(manifest), "image: docker.io/calico/"+name+":v"+calicoVersion+"\n")
	}
}

func TestCalicoProgramsPrintTheirVersion(t *testing.T) {
	require.NoError(t, calico.ensure(".", progress.New(os.Stderr, "toolchain")))
	const tag = "@v" + calicoVersion
	node, cni, controllers := unpack(t, "quay.io/calico/node"+tag), unpack(t, "quay.io/calico/cni"+tag), unpack(t,
		"quay.io/calico/kube-controllers"+tag)
	for _, command := range [][]string{
		{node + "/usr/bin/calico-node", "-v"},
		{cni + "/opt/cni/bin/calico", "-v"},
		{cni + "/opt/cni/bin/calico-ipam", "-v"},
		{controllers + "/usr/bin/kube-controllers", "-version"},
		{controllers + "/usr/bin/check-status", "-v"},
	} {
		out, err := exec.Command(command[0], command[1:]...).Output()
		require.NoError(t, err, command)
		require.Equal(t, "v"+calicoVersion+"\n", string(out), command)
	}
	path, err := calico.programs[1].expand(".", calicoctlBinary+"/calicoctl-linux-{arch}")
	require.NoError(t, err)
	calicoctl := exec.Command(dirs.Mirror(path), "version")
	calicoctl.Env = []string{"DATASTORE_TYPE=etcdv3", "ETCD_ENDPOINTS="} // it prints its own version without a cluster
	out, _ := calicoctl.Output()
	require.Contains(t, string(out), "Client Version:    v"+calicoVersion+"\n")
}

// TestCalicoNodeImage runs the programs of a node in the image's root filesystem. calico-node registers the node in a
// real etcd and renders BIRD's configuration, and the image's BIRD accepts it. The datastore contains an IP pool.
func TestCalicoNodeImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("must run as root, because it uses chroot")
	}
	log := progress.New(os.Stderr, "toolchain")
	require.NoError(t, calico.ensure(".", log))
	require.NoError(t, etcd.ensure(".", log))
	root := unpack(t, "quay.io/calico/node@v"+calicoVersion)
	require.NoError(t, unix.Mknod(filepath.Join(root, "dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	client := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	server := exec.CommandContext(t.Context(), unpack(t, "registry.k8s.io/etcd@3.6.8-0")+"/usr/local/bin/etcd",
		"--data-dir", t.TempDir(),
		"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", "http://127.0.0.1:0")
	require.NoError(t, server.Start())
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })

	run := func(command ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "timeout", append([]string{"30", "chroot", root}, command...)...)
		cmd.Env = []string{
			"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SVDIR=/etc/service/enabled",
			"DATASTORE_TYPE=etcdv3", "ETCD_ENDPOINTS=" + client, "WAIT_FOR_DATASTORE=true",
			"NODENAME=n1", "IP=10.0.0.1/24", "IP6=none", "CLUSTER_TYPE=k8s,bgp", "CALICO_DISABLE_FILE_LOGGING=true",
			"CALICO_IPV4POOL_CIDR=10.244.0.0/16", "CALICO_IPV4POOL_IPIP=Never", "FELIX_IPV6SUPPORT=false",
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%q\n%s", command, out)
		return string(out)
	}
	run("calico-node", "-startup")
	run("calico-node", "-confd", "-confd-run-once")
	config := filepath.Join(root, "etc/calico/confd/config")
	require.Eventually(t, func() bool { _, err := os.Stat(config + "/bird.cfg"); return err == nil }, 5*time.Second,
		50*time.Millisecond)
	ipam, err := os.ReadFile(config + "/bird_ipam.cfg")
	require.NoError(t, err)
	require.Contains(t, string(ipam), `krt_tunnel = "";`,
		"the configuration must use the attribute that Debian's BIRD does not have")
	run("bird", "-p", "-c", "/etc/calico/confd/config/bird.cfg")

	require.Contains(t, run("bird", "--version"), "BIRD version 1.6")
	for _, program := range strings.Fields("arp bird6 birdcl conntrack ip ipset iptables-legacy-restore " +
		"iptables-nft-restore modprobe ps runsvdir start_runit sv tc") {
		run("sh", "-c", "command -v "+program)
	}
}
