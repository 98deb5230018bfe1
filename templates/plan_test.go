package templates

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/tenancy"
)

// planned returns path → content of the files of the first control plane of c.
func planned(t *testing.T, c cluster.Config) map[string]string {
	t.Helper()
	plan := cluster.NewPlan(c)
	m := values{Plan: plan, Machine: plan.WithRole(cluster.RoleControlPlane)[0], Inputs: Inputs{
		BootstrapSeed: "abcdef.0123456789abcdef",
		EncryptionKey: strings.Repeat("00", 31) + "ff",
	}}
	m.Artifacts, m.Inputs.PKI = nil, make([]string, len(m.PKI))
	return filesOf(t, m)
}

// TestPlanInFiles checks the values of a Plan in the files of a control plane.
func TestPlanInFiles(t *testing.T) {
	prefix := netip.MustParsePrefix
	c := cluster.Defaults("test")
	c.Network.Mode, c.Network.CIDR = cluster.ProviderNetwork, prefix("10.0.0.0/24")
	c.Calico.Encapsulation = cluster.VXLAN
	c.Etcd.Count, c.Etcd.Addresses = 1, prefix("10.0.0.16/28")
	c.ControlPlane.Count, c.ControlPlane.Addresses = 2, prefix("10.0.0.32/28")
	c.ControlPlane.Labels = map[string]string{"z": "1", "a": ""}
	c.Kubernetes.ProxyMode = cluster.ProxyIPTables
	c.Artifacts.RegistryMirrors = map[string]string{"registry.k8s.io": "http://192.0.2.1/k8s/",
		"docker.io": "http://192.0.2.1"}
	files := planned(t, c)
	const units, keepalived = "/etc/systemd/system/", "/etc/keepalived/keepalived.conf"
	for path, parts := range map[string][]string{
		units + "kubelet.service": {"--hostname-override=test-control-plane-0 \\\n", "--node-ip=10.0.0.32 \\\n",
			"--node-labels=a=,kubernetes-openstack/pool=control-plane,z=1\n"},
		units + "kube-apiserver.service": {"--advertise-address=10.0.0.32 \\\n",
			"--etcd-servers=https://127.0.0.1:2379 \\\n", "--service-cluster-ip-range=10.96.0.0/16 \\\n"},
		units + "node-approver.service": {
			"--cluster-cidrs=10.244.0.0/16,10.96.0.0/16 \\\n", "--control-plane-prefix=test-control-plane- \\\n",
			"--machine-cidr=10.0.0.0/24 \\\n", "--reserved=api=10.0.0.10,test-etcd-0=10.0.0.16,",
			",test-etcd-6=10.0.0.22,test-control-plane-0=10.0.0.32,", ",test-control-plane-6=10.0.0.38\n",
		},
		units + "calico-image.service":   {"/calico-image 3.28.5\n"},
		units + "calico-tunnels.service": nil,
		"/etc/haproxy/api.cfg": {"\n    server test-control-plane-0 10.0.0.32:6443\n",
			"\n    server test-control-plane-6 10.0.0.38:6443\n"},
		"/etc/haproxy/etcd.cfg": {"\n    server test-etcd-0 10.0.0.16:2379\n",
			"\n    server test-etcd-6 10.0.0.22:2379\n"},
		"/etc/kubernetes/kube-proxy.yaml": {"clusterCIDR: 10.244.0.0/16\n", "mode: iptables\n"},
		"/etc/kubernetes/kubelet.yaml": {"clusterDNS:\n  - 10.96.0.10\n", "registerWithTaints:\n" +
			"  - key: node-role.kubernetes.io/control-plane\n    value: \"\"\n    effect: NoSchedule\n"},
		"/etc/kubernetes/bootstrap-seed":  {"abcdef.0123456789abcdef\n"},
		"/etc/kubernetes/encryption.yaml": {"secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8=\n"},
		"/etc/calico/calico.env":          {"IP=10.0.0.32/24\n"},
		"/etc/calico/node.json": {`"labels": {
      "a": "",
      "kubernetes-openstack/pool": "control-plane",
      "node.kubernetes.io/exclude-from-external-load-balancers": "true",
      "z": "1"
    }
`, `"routeReflectorClusterID": null`},
		"/etc/containerd/config.toml":                        {"sandbox = '" + cluster.PauseImage + "'\n"},
		"/etc/containerd/certs.d/docker.io/hosts.toml":       {"server = \"http://192.0.2.1\"\n"},
		"/etc/containerd/certs.d/registry.k8s.io/hosts.toml": {"server = \"http://192.0.2.1/k8s\"\n"},
		keepalived: {"virtual_router_id 10\n", "unicast_src_ip 10.0.0.32\n",
			"unicast_peer {\n        10.0.0.33\n", "        10.0.0.38\n    }\n",
			"virtual_ipaddress {\n        10.0.0.10/32\n    }\n"},
	} {
		require.Contains(t, files, path)
		for _, part := range parts {
			assert.Contains(t, files[path], part, path)
		}
	}

	c.API.LoadBalancer = cluster.Octavia
	assert.NotContains(t, planned(t, c), keepalived)
}

func TestTenancyInFiles(t *testing.T) {
	prefix := netip.MustParsePrefix
	c := cluster.Defaults("test")
	c.Network.CIDR = prefix("10.0.0.0/24")
	c.Etcd.Addresses, c.ControlPlane.Addresses = prefix("10.0.0.16/28"), prefix("10.0.0.32/28")
	c.OpenStack.AuthURL, c.OpenStack.CACertificate = "https://keystone.example.com:5000/v3", "PEM\n"
	c.Tenancy.Enabled, c.Tenancy.Interval = true, 90*time.Second
	files := planned(t, c)
	assert.Equal(t, "PEM\n", files["/etc/kubernetes/keystone-ca.crt"])
	assert.Contains(t, files["/etc/kubernetes/manifests/k8s-keystone-auth.yaml"],
		"--keystone-url=https://keystone.example.com:5000/v3\n")
	assert.Contains(t, files["/etc/systemd/system/tenant-sync.timer"], "OnUnitActiveSec=1m30s\n")
	assert.Contains(t, files["/etc/kubernetes/kube-apiserver-spare.nft"],
		"ip daddr 10.96.0.1 tcp dport 443 dnat to 10.0.0.32:6444\n")

	c.Tenancy.Reader = cluster.Reader{Username: "reader", Domain: "Default", Password: "open sesame"}
	c.Tenancy.Roles = map[string]tenancy.Access{"auditor": "view"}
	c.Tenancy.Exclude = []string{"service@Default"}
	assert.Equal(t, files, planned(t, c), "a change of these settings would replace machines")
}

// TestBackupInFiles checks the settings of etcd-backup, with and without the optional ones.
func TestBackupInFiles(t *testing.T) {
	m := backupMachine()
	files := filesOf(t, m)
	const all = `BACKUP_CONTAINER=dev-etcd
BACKUP_INTERVAL=1h0m0s
BACKUP_KEEP=24
BACKUP_PREFIX=dev
OS_APPLICATION_CREDENTIAL_ID=6d1f4d105f0c4a7b9f5e0a1b2c3d4e5f
OS_APPLICATION_CREDENTIAL_SECRET=secret-of_etcd-backup
OS_AUTH_URL=https://keystone.example.com:5000/v3
OS_CACERT=/etc/etcd/openstack-ca.crt
OS_INTERFACE=internal
OS_REGION_NAME=RegionOne
RESTORE=dev-20270131T120000Z.db
`
	assert.Equal(t, all, files["/etc/etcd/backup.env"])
	assert.Contains(t, files["/etc/etcd/etcd.env"], "\nBACKUP_CONTAINER=dev-etcd\nRESTORE=dev-20270131T120000Z.db\n")
	assert.Equal(t, m.Plan.OpenStack.CACertificate+"\n", files["/etc/etcd/openstack-ca.crt"])
	assert.Contains(t, files["/etc/systemd/system/etcd-backup.timer"], "\nOnUnitActiveSec=10m0s\n")

	m.Plan.Region, m.Plan.OpenStack.CACertificate, m.Plan.Etcd.Restore = "", "", ""
	files = filesOf(t, m)
	assert.Equal(t, regexp.MustCompile("(?m)^(OS_CACERT|OS_REGION_NAME|RESTORE)=.*\n").ReplaceAllString(all, ""),
		files["/etc/etcd/backup.env"])
	assert.NotContains(t, files["/etc/etcd/etcd.env"], "RESTORE")
	assert.NotContains(t, files, "/etc/etcd/openstack-ca.crt")
	m.Inputs.BackupSecret = ""
	_, err := m.files()
	assert.ErrorContains(t, err, ".Inputs.BackupSecret is not set")
}

// TestNoBackups checks that a member of etcd without backups has neither their files nor their settings.
func TestNoBackups(t *testing.T) {
	m := etcdMachine()
	withMonitoring(&m)
	with, without := filesOf(t, backupMachine()), filesOf(t, m)
	var added []string
	for name := range with {
		if _, exists := without[name]; !exists {
			added = append(added, name)
		}
	}
	assert.ElementsMatch(t, []string{"/etc/etcd/backup.env", "/etc/etcd/openstack-ca.crt",
		"/etc/systemd/system/etcd-backup.service", "/etc/systemd/system/etcd-backup.timer"}, added)
	const unit = "/etc/systemd/system/etcd.service"
	assert.Equal(t, strings.Replace(with[unit], "etcd-join etcd-backup", "etcd-join", 1), without[unit])
	assert.NotContains(t, without[unit], "backup")
	const settings = "/etc/etcd/etcd.env"
	assert.Equal(t, regexp.MustCompile("(?m)^(BACKUP_CONTAINER|RESTORE)=.*\n").ReplaceAllString(with[settings], ""),
		without[settings])
	m = backupMachine()
	m.Plan.Etcd.Restore = ""
	assert.Equal(t, with[unit], filesOf(t, m)[unit], "a member needs etcd-backup before it creates a cluster")
	assert.Contains(t, filesOf(t, m)[settings], "\nBACKUP_CONTAINER=dev-etcd\n")
}

// TestNoUnitHasTheCredentialOfBackups checks that no unit has the credential in its environment: only root may read it,
// and etcd does not run as root.
func TestNoUnitHasTheCredentialOfBackups(t *testing.T) {
	for name, text := range filesOf(t, backupMachine()) {
		if strings.HasPrefix(name, unitFolder) {
			assert.NotContains(t, property(text, "EnvironmentFile"), "/etc/etcd/backup.env", name)
		}
	}
}

// TestCalicoFiles checks Calico's resources in the files of a control plane.
func TestCalicoFiles(t *testing.T) {
	prefix := netip.MustParsePrefix
	m := controlPlaneMachine()
	m.Plan.IPPool = cluster.IPPool{CIDR: prefix("10.244.0.0/16"), BlockSize: 26, IPIPMode: "Never",
		VXLANMode: "CrossSubnet", NATOutgoing: true}
	m.Plan.BGPConfiguration = cluster.BGPConfiguration{
		ASNumber: 64512, NodeToNodeMeshEnabled: true, ServiceClusterIPs: []netip.Prefix{prefix("10.96.0.0/16")},
		ServiceExternalIPs:     []netip.Prefix{prefix("192.0.2.0/25")},
		ServiceLoadBalancerIPs: []netip.Prefix{prefix("192.0.2.128/26"), prefix("192.0.2.192/26")},
	}
	m.Plan.BGPPeers = []cluster.BGPPeer{
		{Name: "route-reflectors", NodeSelector: "all()", PeerSelector: "x == 'y'"},
		{
			Name: "peer-10-0-0-1", NodeSelector: "z == 'a'", PeerIP: netip.MustParseAddr("10.0.0.1"), ASNumber: 65001,
			Password: "open sesame", KeepOriginalNextHop: true,
			ExportV4: []cluster.FilterRule{{Action: "Reject", Remote: true}, {Action: "Reject", CIDR: prefix("10.244.0.0/16")}},
			ImportV4: []cluster.FilterRule{{Action: "Reject"}},
		},
	}
	files := filesOf(t, m)
	for path, want := range map[string]string{
		"/etc/calico/resources/ippool.yaml": `apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: pods
spec:
  allowedUses:
  - Workload
  - Tunnel
  blockSize: 26
  cidr: 10.244.0.0/16
  ipipMode: Never
  natOutgoing: true
  nodeSelector: all()
  vxlanMode: CrossSubnet
`,
		"/etc/calico/bgpconfiguration.yaml": `apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata:
  name: default
spec:
  asNumber: 64512
  nodeToNodeMeshEnabled: true
  serviceClusterIPs:
  - cidr: 10.96.0.0/16
  serviceExternalIPs:
  - cidr: 192.0.2.0/25
  serviceLoadBalancerIPs:
  - cidr: 192.0.2.128/26
  - cidr: 192.0.2.192/26
`,
		"/etc/calico/resources/bgppeer.yaml": `---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  labels:
    app.kubernetes.io/managed-by: kubernetes-openstack
  name: route-reflectors
spec:
  nodeSelector: all()
  peerSelector: x == 'y'
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  labels:
    app.kubernetes.io/managed-by: kubernetes-openstack
  name: peer-10-0-0-1
spec:
  asNumber: 65001
  filters:
  - peer-10-0-0-1
  keepOriginalNextHop: true
  maxRestartTime: 12s
  nodeSelector: z == 'a'
  password:
    secretKeyRef:
      key: peer-10-0-0-1
      name: bgp-peers
  peerIP: 10.0.0.1
`,
		"/etc/calico/resources/bgpfilter.yaml": `---
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata:
  labels:
    app.kubernetes.io/managed-by: kubernetes-openstack
  name: peer-10-0-0-1
spec:
  exportV4:
  - action: Reject
    source: RemotePeers
  - action: Reject
    cidr: 10.244.0.0/16
    matchOperator: In
  importV4:
  - action: Reject
`,
		"/etc/kubernetes/cluster/bgp-peers.yaml": `apiVersion: v1
kind: Secret
metadata:
  name: bgp-peers
  namespace: kube-system
data:
  peer-10-0-0-1: b3BlbiBzZXNhbWU=
`,
	} {
		assert.Equal(t, want, files[path], path)
	}
}
