package templates

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/tests/selinux"
)

// selinuxMachines returns path → content of the files of a machine of each role, for each setting that changes which
// systems a machine has.
func selinuxMachines(t *testing.T) map[string]map[string]string {
	t.Helper()
	prefix := netip.MustParsePrefix
	all := map[string]map[string]string{}
	add := func(name string, m values) {
		for i := range m.Artifacts {
			m.Artifacts[i].SHA256 = strings.Repeat("0", 64)
		}
		all[name] = filesOf(t, m)
	}
	for name, m := range machines() {
		add(name, m)
	}
	for i, name := range []string{"keepalived", "octavia", "tenancy", "tenancy without a CA", "tunnels", "backups"} {
		c := cluster.Defaults("test")
		c.Network.CIDR = prefix("10.0.0.0/24")
		c.Etcd.Addresses, c.ControlPlane.Addresses = prefix("10.0.0.16/28"), prefix("10.0.0.32/28")
		c.Pools = make([]cluster.Pool, 1)
		c.Pools[0].Name, c.Pools[0].Count, c.Pools[0].Addresses = "worker", 1, prefix("10.0.0.64/28")
		c.OpenStack.AuthURL, c.OpenStack.CACertificate = "https://keystone.example.com:5000/v3", "PEM\n"
		switch i {
		case 1:
			c.API.LoadBalancer = cluster.Octavia
		case 2:
			c.Tenancy.Enabled, c.Tenancy.Interval = true, time.Minute
		case 3:
			c.Tenancy.Enabled, c.Tenancy.Interval, c.OpenStack.CACertificate = true, time.Minute, ""
		case 4:
			c.Calico.Encapsulation = cluster.VXLAN
		case 5:
			c.Artifacts.CACertificate = "PEM\n"
			c.Proxy.HTTPS = "http://proxy.example.com:3128"
			c.NTPServers = []string{"ntp.example.com"}
			c.Etcd.Volume.Device = "/dev/vdb"
			c.Etcd.Backup = cluster.Backup{Container: "etcd", Interval: time.Hour, Keep: 2}
		}
		plan := cluster.NewPlan(c)
		for _, role := range []cluster.Role{cluster.RoleEtcd, cluster.RoleControlPlane, cluster.RoleWorker} {
			m := values{Plan: plan, Machine: plan.WithRole(role)[0], Inputs: Inputs{
				VolumeID: "4f1c0d9e-2b7a-4c55-9e2e-0123456789ab", EncryptionKey: strings.Repeat("00", 32),
				BootstrapSeed: "00001s.0123456789abcdef", BackupID: "id", BackupSecret: "secret",
			}}
			m.Artifacts, m.Inputs.PKI = slices.Clone(m.Artifacts), make([]string, len(m.PKI))
			add(fmt.Sprintf("%s, %s", role, name), m)
		}
	}
	return all
}

// TestSELinuxAllowsAllUnits checks that SELinux in CentOS Stream 9 denies no unit of any machine anything that it
// needs.
func TestSELinuxAllowsAllUnits(t *testing.T) {
	all := selinuxMachines(t)
	require.Len(t, all, 5+6*3)
	for name, files := range all {
		for _, denial := range selinux.Machine(files) {
			assert.Fail(t, denial.String(), name)
		}
	}
}

// TestSELinuxDenies checks that the policy finds each fault, so that TestSELinuxAllowsAllUnits can fail.
func TestSELinuxDenies(t *testing.T) {
	const (
		apiProxy, apiVIP = unitFolder + "api-proxy.service", unitFolder + "api-vip.service"
		haproxy          = "/etc/haproxy/api.cfg"
		keepalived       = "/etc/keepalived/keepalived.conf"
		staticPod        = "/etc/kubernetes/manifests/k8s-keystone-auth.yaml"
	)
	for name, fault := range map[string]struct {
		file, old, replacement string
		denials                []string // some of them
	}{
		"HAProxy reads the CA of Kubernetes": {haproxy, "/etc/haproxy/ca.crt", "/etc/kubernetes/pki/ca.crt",
			[]string{"api-proxy.service: /etc/kubernetes/pki/ca.crt: haproxy_t may not read a file of kubernetes_file_t"}},
		"HAProxy has no boolean": {apiProxy, "setsebool", "true", []string{
			"api-proxy.service: port 6443: haproxy_t may not name_connect a tcp_socket of unreserved_port_t " +
				"without the boolean haproxy_connect_any",
			"api-proxy.service: port 7443: haproxy_t may not name_bind a tcp_socket of unreserved_port_t " +
				"without the boolean haproxy_connect_any"}},
		"HAProxy reads a file in another way": {haproxy, "option httpchk", "errorfile 503 /etc/haproxy/503.http",
			[]string{"api-proxy.service: /etc/haproxy/503.http: unknown use of a path by HAProxy: " +
				"errorfile 503 /etc/haproxy/503.http GET /readyz"}},
		"keepalived reads another unit's folder": {keepalived, "/run/keepalived/", "/run/api-vip/",
			[]string{"api-vip.service: /run/api-vip/interface.conf: keepalived_t may not read a file of var_run_t"}},
		"keepalived's script is confined": {keepalived, "/usr/libexec/keepalived/", "/usr/local/sbin/", []string{
			"api-vip.service: /etc/kubernetes/pki/ca.crt: keepalived_t may not read a file of kubernetes_file_t",
			"api-vip.service: port 6443: keepalived_t may not name_connect a tcp_socket of unreserved_port_t " +
				"without the boolean keepalived_connect_any"}},
		"a boolean that nothing needs": {apiVIP, "\nExecStart=",
			"\nExecStartPre=/bin/sh -c 'setsebool keepalived_connect_any=1'\nExecStart=",
			[]string{"api-vip.service: setsebool keepalived_connect_any: no access needs this boolean"}},
		"programs of an image keep their label": {"/usr/local/sbin/calico-image", "restorecon -RF", "restorecon -R", []string{
			"calico-bird.service: /opt/calico/node/bin/sh: init_t may not execute a file of container_file_t",
			"calico-felix.service: /opt/calico/node/usr/bin/calico-node: init_t may not execute a file of container_file_t",
			"calico-startup.service: /opt/calico/node/usr/bin/calico-node: init_t may not execute a file of container_file_t"}},
		"a mount point that systemd may not create": {"/usr/local/sbin/calico-image", "usr/lib/modules", "modules", []string{
			"calico-felix.service: /opt/calico/node/usr/lib/modules: init_t may not add_name a dir of lib_t"}},
		"downloads keep their label": {"/usr/local/sbin/install-artifacts", "restorecon", "true",
			[]string{"kube-proxy.service: /usr/local/bin/kube-proxy: " +
				"the new type of a process of init_t from var_t is unknown: add it to transitions.csv"}},
		"a confined static pod": {staticPod, "spc_t", "container_t", []string{
			"Pod k8s-keystone-auth/k8s-keystone-auth: /etc/kubernetes/pki/keystone-auth.crt: " +
				"container_t may not read a file of kubernetes_file_t"}},
		"containerd does not wait for its policy": {unitFolder + "containerd.service", "wait-for-unit os-packages.service",
			"wait-for-unit artifacts.service", []string{"containerd.service: /usr/local/bin/containerd: " +
				"may start before container-selinux is installed, and then not in container_runtime_t"}},
		"another program has kubelet's label": {unitFolder + "node-approver.service", "/usr/local/bin/node-approver",
			"/usr/local/bin/kubelet-csr-approver", []string{"node-approver.service: /usr/local/bin/kubelet-csr-approver: " +
				"runs in kubelet_t, which is for /usr/local/bin/kubelet: its label is kubelet_exec_t"}},
		"an unknown program": {unitFolder + "kube-proxy.service", "/usr/local/bin/kube-proxy", "/usr/local/bin/proxy",
			[]string{"kube-proxy.service: /usr/local/bin/proxy: no file, download or package contains this program"}},
		"an unknown package's program": {unitFolder + "kube-proxy.service", "/usr/local/bin/kube-proxy", "/usr/sbin/squid",
			[]string{"kube-proxy.service: /usr/sbin/squid: the label of this file is unknown: " +
				"add its rule from file_contexts to labels.csv"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := filesOf(t, controlPlaneMachine())
			require.Contains(t, files[fault.file], fault.old)
			files[fault.file] = strings.ReplaceAll(files[fault.file], fault.old, fault.replacement)
			if strings.HasSuffix(fault.replacement, "kubelet-csr-approver") {
				files["/etc/artifacts.list"] = strings.ReplaceAll(files["/etc/artifacts.list"], "node-approver ",
					"kubelet-csr-approver ")
			}
			var found []string
			for _, denial := range selinux.Machine(files) {
				found = append(found, denial.String())
			}
			for _, denial := range fault.denials {
				assert.Contains(t, found, denial)
			}
		})
	}
}
