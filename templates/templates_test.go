package templates

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
)

// machines returns one complete machine of each role, with placeholders for keys, a member of etcd with backups, and a
// worker of devcloud.
func machines() map[string]values {
	devcloud := workerMachine()
	devcloud.Plan.Devcloud = true
	devcloud.Plan.Calico.Encapsulation = cluster.VXLAN
	devcloud.Calico.RouteReflectorClusterID = "244.0.0.1"
	withMonitoring(&devcloud)
	return map[string]values{
		"etcd": etcdMachine(), "etcd-backup": backupMachine(), "control-plane": controlPlaneMachine(),
		"worker": workerMachine(), "devcloud": devcloud,
	}
}

// userData returns the user-data of m.
func userData(m values) (string, error) { return NewRenderer(m.Plan).UserData(m.Machine, m.Inputs) }

// configOf returns the cloud-config of m.
func configOf(m values) ([]byte, error) { return NewRenderer(m.Plan).CloudConfig(m.Machine, m.Inputs) }

// addPKI adds a PKI file to m.
func addPKI(m *values, path, content string) {
	f := cluster.PKIFile{Path: path, Part: cluster.PartCertificate}
	if filepath.Ext(path) == ".key" {
		f.Part = cluster.PartPrivateKey
	}
	m.PKI, m.Inputs.PKI = append(m.PKI, f), append(m.Inputs.PKI, content)
}

// addPlaceholders adds PKI files to m, with placeholders for their contents.
func addPlaceholders(m *values, dir string, names ...string) {
	for _, name := range names {
		addPKI(m, dir+name, "-----BEGIN placeholder-----\n"+filepath.Base(name)+"\n-----END placeholder-----\n")
	}
}

// withMonitoring adds the metrics of Prometheus to m.
func withMonitoring(m *values) {
	m.Plan.Monitoring.Enabled = true
	m.Artifacts = append(m.Artifacts, artifacts("machine-metrics")...)
	addPlaceholders(m, "/etc/machine-metrics/", "ca.crt")
}

// testPlan returns the Plan of a cluster with three members of etcd, two control planes and a worker. It has a
// mesh and two routers. One router has a password.
func testPlan() cluster.Plan {
	address, prefix := netip.MustParseAddr, netip.MustParsePrefix
	machine := func(id string, role cluster.Role, ip string) cluster.Machine {
		return cluster.Machine{ID: id, Role: role, Address: address(ip)}
	}
	return cluster.Plan{
		Config: cluster.Config{
			Name: "dev",
			Network: cluster.Network{
				Mode: cluster.TenantNetwork, CIDR: prefix("10.0.0.0/24"), PodCIDR: prefix("10.244.0.0/16"),
				ServiceCIDR: prefix("10.96.0.0/16"),
			},
			Calico: cluster.Calico{Version: "3.28.5", Encapsulation: cluster.NoEncapsulation},
			OpenStack: cluster.OpenStack{
				AuthURL:       "https://keystone.example.com:5000/v3",
				CACertificate: "-----BEGIN placeholder-----\nkeystone-ca\n-----END placeholder-----",
			},
			Tenancy: cluster.Tenancy{Enabled: true, Interval: time.Minute},
			API:     cluster.API{Address: address("10.0.0.5")},
			Etcd:    cluster.Etcd{Group: cluster.Group{Count: 3, Addresses: prefix("10.0.0.10/28")}},
			ControlPlane: cluster.NodeGroup{
				Group: cluster.Group{Count: 2, Addresses: prefix("10.0.0.20/28")},
			},
			Kubernetes: cluster.Kubernetes{ProxyMode: cluster.ProxyNFTables},
			Artifacts: cluster.Artifacts{
				RegistryMirrors: map[string]string{"registry.k8s.io": "http://192.0.2.1/registry.k8s.io"},
			},
		},
		Gateway:    address("10.0.0.1"),
		APIService: address("10.96.0.1"),
		DNSService: address("10.96.0.10"),
		IPPool: cluster.IPPool{
			CIDR: prefix("10.244.0.0/16"), BlockSize: 26, IPIPMode: "Never", VXLANMode: "Never", NATOutgoing: true,
		},
		BGPConfiguration: cluster.BGPConfiguration{
			ASNumber: 4200000000, NodeToNodeMeshEnabled: true,
			ServiceClusterIPs:      []netip.Prefix{prefix("10.96.0.0/16")},
			ServiceLoadBalancerIPs: []netip.Prefix{prefix("198.51.100.0/25"), prefix("198.51.100.128/25")},
		},
		BGPPeers: []cluster.BGPPeer{
			{
				Name: "peer-10-0-0-1", NodeSelector: "all()", PeerIP: address("10.0.0.1"), ASNumber: 65001,
				Password: "secret of the router", KeepOriginalNextHop: true,
				ExportV4: []cluster.FilterRule{{Action: "Reject", Remote: true}},
				ImportV4: []cluster.FilterRule{{Action: "Reject"}},
			},
			{
				Name: "peer-10-0-0-2", NodeSelector: "topology.kubernetes.io/zone in {'nova', 'az2'}",
				PeerIP: address("10.0.0.2"), ASNumber: 65002,
				ExportV4: []cluster.FilterRule{{Action: "Reject", Remote: true},
					{Action: "Reject", CIDR: prefix("10.96.0.0/16")}},
				ImportV4: []cluster.FilterRule{{Action: "Reject", CIDR: prefix("10.244.0.0/16")},
					{Action: "Accept", CIDR: prefix("10.1.0.0/16")}, {Action: "Reject"}},
			},
		},
		Machines: []cluster.Machine{
			machine("dev-etcd-0", cluster.RoleEtcd, "10.0.0.10"),
			machine("dev-etcd-1", cluster.RoleEtcd, "10.0.0.11"),
			machine("dev-etcd-2", cluster.RoleEtcd, "10.0.0.12"),
			machine("dev-control-plane-0", cluster.RoleControlPlane, "10.0.0.20"),
			machine("dev-control-plane-1", cluster.RoleControlPlane, "10.0.0.21"),
			machine("dev-worker-0", cluster.RoleWorker, "10.0.0.64"),
		},
	}
}

// testMachine returns the first machine of a role, with the named artifacts.
func testMachine(role cluster.Role, names ...string) values {
	plan := testPlan()
	m := values{Plan: plan, Machine: plan.WithRole(role)[0]}
	m.Artifacts = artifacts(names...)
	return m
}

func etcdMachine() values {
	m := testMachine(cluster.RoleEtcd, "etcd", "etcd-join")
	m.Inputs.VolumeID = "4f1c0d9e-2b7a-4c55-9e2e-0123456789ab"
	addPlaceholders(&m, "/etc/etcd/pki/", "ca.crt", "server.crt", "server.key", "peer.crt", "peer.key", "client.crt",
		"client.key")
	return m
}

// backupMachine returns a member of etcd with backups and a snapshot to restore.
func backupMachine() values {
	m := etcdMachine()
	m.Artifacts = artifacts("etcd", "etcd-join", "etcd-backup")
	m.Plan.Region, m.Plan.OpenStack.Interface = "RegionOne", "internal"
	m.Plan.Etcd.Backup = cluster.Backup{Container: "dev-etcd", Interval: time.Hour, Keep: 24}
	m.Plan.Etcd.Restore = "dev-20270131T120000Z.db"
	withMonitoring(&m)
	m.Inputs.BackupID, m.Inputs.BackupSecret = "6d1f4d105f0c4a7b9f5e0a1b2c3d4e5f", "secret-of_etcd-backup"
	return m
}

// testNode returns the first machine of a role whose machines are nodes.
func testNode(role cluster.Role, names ...string) values {
	m := testMachine(role, append([]string{"containerd", "runc", "cni-plugins", "calicoctl", "kubelet",
		"kube-proxy"}, names...)...)
	m.Labels = map[string]string{"topology.kubernetes.io/region": "RegionOne", "topology.kubernetes.io/zone": "nova"}
	m.Calico = &cluster.CalicoNode{
		Address: netip.PrefixFrom(m.Address, 24), Labels: map[string]string{"topology.kubernetes.io/zone": "nova"},
	}
	m.Inputs.BootstrapSeed = "00001s.0123456789abcdef"
	return m
}

func controlPlaneMachine() values {
	m := testNode(cluster.RoleControlPlane, "kubectl", "node-approver", "kube-apiserver", "kube-controller-manager",
		"kube-scheduler", "keystone-webhook", "tenant-sync")
	m.Taints = []cluster.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}}
	m.Calico.Labels["node.kubernetes.io/exclude-from-external-load-balancers"] = "true"
	m.VirtualIP = &cluster.VirtualIP{
		RouterID: 51, Peers: []netip.Addr{netip.MustParseAddr("10.0.0.21")},
	}
	m.Inputs.EncryptionKey = fmt.Sprintf("%x", "01234567890123456789012345678901")
	addPlaceholders(&m, "/etc/calico/pki/", "ca.crt", "etcd.crt", "etcd.key")
	addPlaceholders(&m, "/etc/haproxy/", "ca.crt")
	addPlaceholders(&m, "/etc/kubernetes/pki/",
		"ca.crt", "client-ca.crt", "node-ca.crt", "node-ca.key", "admin.crt", "admin.key", "apiserver.crt", "apiserver.key",
		"apiserver-etcd-client.crt", "apiserver-etcd-client.key", "apiserver-kubelet-client.crt",
		"calico-node-etcd.crt", "calico-node-etcd.key",
		"apiserver-kubelet-client.key",
		"controller-manager.crt", "controller-manager.key", "etcd/ca.crt", "front-proxy-ca.crt", "front-proxy-client.crt",
		"front-proxy-client.key", "keystone-auth.crt", "keystone-auth.key", "node-approver.crt", "node-approver.key",
		"sa.key", "sa.pub",
		"scheduler.crt", "scheduler.key", "tenant-sync.crt", "tenant-sync.key",
	)
	withMonitoring(&m)
	return m
}

func workerMachine() values {
	m := testNode(cluster.RoleWorker)
	m.Labels["kubernetes-openstack/pool"] = "worker"
	addPlaceholders(&m, "/etc/kubernetes/pki/", "ca.crt")
	addPlaceholders(&m, "/etc/haproxy/", "ca.crt")
	addPlaceholders(&m, "/etc/calico/pki/", "ca.crt")
	return m
}

// artifacts returns the named artifacts. The checksum of each is the SHA-256 of its name, not upstream's.
func artifacts(names ...string) []cluster.Artifact {
	const github, kubernetes = "http://192.0.2.1/github.com/",
		"http://192.0.2.1/dl.k8s.io/release/v1.36.3/bin/linux/amd64/"
	all := map[string]cluster.Artifact{
		"containerd": {URL: github + "containerd/containerd/releases/download/v2.3.4/containerd-2.3.4-linux-amd64.tar.gz",
			Members: []string{"bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr"}},
		"runc": {URL: github + "opencontainers/runc/releases/download/v1.4.3/runc.amd64"},
		"cni-plugins": {URL: github +
			"containernetworking/plugins/releases/download/v1.9.1/cni-plugins-linux-amd64-v1.9.1.tgz",
			Directory: "/opt/cni/bin", Members: []string{"./host-local", "./loopback", "./portmap", "./ptp"}},
		"calicoctl": {URL: github + "projectcalico/calico/releases/download/v3.28.5/calicoctl-linux-amd64"},
		"etcd": {URL: github + "etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz",
			Members: []string{"etcd-v3.6.14-linux-amd64/etcd", "etcd-v3.6.14-linux-amd64/etcdctl"}},
	}
	var list []cluster.Artifact
	for _, name := range names {
		a, packed := all[name]
		if !packed {
			a.URL = kubernetes + name
		}
		if slices.Contains([]string{"etcd-backup", "etcd-join", "machine-metrics", "node-approver", "keystone-webhook",
			"tenant-sync"}, name) {
			a.URL = "http://192.0.2.1/kubernetes-openstack/0.1.0/" + name
		}
		a.Name = name
		a.SHA256 = fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
		if a.Directory == "" {
			a.Directory = "/usr/local/bin"
		}
		list = append(list, a)
	}
	return list
}

// TestGolden compares the user-data of each role's machine with testdata/<role>.yaml. UPDATE_GOLDEN=1
// rewrites the files.
func TestGolden(t *testing.T) {
	for role, m := range machines() {
		t.Run(role, func(t *testing.T) {
			got, err := configOf(m)
			require.NoError(t, err)
			golden := filepath.Join("testdata", role+".yaml")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(golden, got, 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got), "intended? UPDATE_GOLDEN=1 go test ./templates, and read the diff")
		})
	}
}

// TestMachinesOfAPoolShareFiles checks that the shared files of a pool are rendered once, also if it has several
// server groups. Each machine gets the same user-data as without the cache, for names and addresses of all lengths.
func TestMachinesOfAPoolShareFiles(t *testing.T) {
	renderer := NewRenderer(testPlan())
	for _, name := range []string{"dev-worker-0", strings.Repeat("w", 60) + "-99"} {
		for _, address := range []string{"10.0.0.64", "192.168.100.200"} {
			m := workerMachine()
			m.ID, m.Address = name, netip.MustParseAddr(address)
			m.Calico.Address = netip.PrefixFrom(m.Address, 24)
			m.Index++
			m.ServerGroup = "worker." + fmt.Sprint(len(name))
			single, err := m.renderFiles()
			require.NoError(t, err)
			got, err := renderer.CloudConfig(m.Machine, m.Inputs)
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(string(got), "\n"+single.text), name)
			shared, _ := m.marked()
			other, _ := workerMachine().marked()
			require.Equal(t, other, shared)
		}
	}
	rendered := 0
	renderer.pools.Range(func(any, any) bool {
		rendered++
		return true
	})
	require.Equal(t, 1, rendered)
}

// knownKeys are the top-level keys that we use. Each is in cloud-init's documentation. The list is necessary
// because cloud-init's own schema check accepts a misspelt key.
var knownKeys = []string{"bootcmd", "fqdn", "hostname", "manage_etc_hosts", "preserve_hostname", "write_files"}

func TestCloudConfigKeysAndFiles(t *testing.T) {
	for role, m := range machines() {
		t.Run(role, func(t *testing.T) {
			text, err := configOf(m)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(text), "#cloud-config\n"))
			var keys map[string]any
			require.NoError(t, yaml.Unmarshal(text, &keys))
			for key := range keys {
				require.Contains(t, knownKeys, key)
			}

			var config cloudConfig
			require.NoError(t, yaml.UnmarshalStrict(text, &config))
			modes := map[string]string{}
			for _, f := range config.WriteFiles {
				require.NotContains(t, modes, f.Path, "written twice")
				modes[f.Path] = cmp.Or(f.Permissions, "0644") // cloud-init's default
				require.NotContains(t, f.Path, ".tmpl")
				require.NotContains(t, f.Content, "<no value>")
				require.Truef(t, f.Content == "" || strings.HasSuffix(f.Content, "\n"), "%s does not end in a newline", f.Path)
			}
			require.Equal(t, "0755", modes["/usr/local/sbin/first-boot"])
			require.Equal(t, "0644", modes["/etc/sysctl.d/90-kubernetes.conf"])
			require.Equal(t, "0440", modes["/etc/sudoers.d/kubernetes"])
			if role == "etcd-backup" {
				require.Equal(t, "0600", modes["/etc/etcd/backup.env"])
			}
			for name, mode := range modes {
				if strings.HasPrefix(name, "/etc/kubernetes/") && path.Ext(name) != ".crt" && path.Ext(name) != ".pub" {
					require.Equal(t, "0600", mode, name)
				}
			}
			for _, secret := range m.PKI {
				want := "0644"
				if path.Ext(secret.Path) == ".key" {
					want = "0600"
				}
				require.Equal(t, want, modes[secret.Path])
			}
		})
	}
}

// TestExternalIPs checks that externalIPs of Services are refused (cis_test.go has 1.2.3), unless the
// configuration has addresses for them.
func TestExternalIPs(t *testing.T) {
	m := controlPlaneMachine()
	m.Plan.BGPConfiguration.ServiceExternalIPs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/26")}
	require.Contains(t, filesOf(t, m)["/etc/systemd/system/kube-apiserver.service"],
		"--enable-admission-plugins=NodeRestriction ")
}

func TestInvalidMachine(t *testing.T) {
	for name, test := range map[string]struct {
		breakIt func(*values)
		want    string
	}{
		"no hostname": {func(m *values) { m.ID = "" }, "without a hostname"},
		"value missing": {func(m *values) { m.Inputs.VolumeID = "" },
			`etcd/etc/etcd/volume.env.tmpl:1:12: executing "etcd/etc/etcd/volume.env.tmpl" at <required ".Inputs.VolumeID">: ` +
				`error calling required: .Inputs.VolumeID is not set`},
		"address missing": {func(m *values) { m.Address = netip.Addr{} }, ".Address is not set"},
		"file missing":    {func(m *values) { m.Inputs.PKI = nil }, "7 PKI files, but the contents of 0"},
		"file twice":      {func(m *values) { addPKI(m, m.PKI[0].Path, "") }, "/etc/etcd/pki/ca.crt is written twice"},
		"secret over unit": {func(m *values) { m.PKI[0].Path = "/etc/systemd/system/etcd.service" },
			"/etc/systemd/system/etcd.service is written twice"},
		"relative path": {func(m *values) { m.PKI[0].Path = "etc/ca.crt" },
			`"etc/ca.crt" is not an absolute, clean path`},
		"checksum": {func(m *values) { m.Artifacts[0].SHA256 = "ffe8" }, `artifact etcd: "ffe8" is not a sha256`},
		"blank in URL": {func(m *values) { m.Artifacts[0].URL = "http://mirror/a b" },
			`artifact etcd: "http://mirror/a b" is not one word`},
		"quote in URL": {func(m *values) { m.Artifacts[0].URL = "http://mirror/a'b" },
			`artifact etcd: "http://mirror/a'b" is not one word`},
		"no directory": {func(m *values) { m.Artifacts[0].Directory = "" }, `artifact etcd: "" is not one word`},
		"relative directory": {func(m *values) { m.Artifacts[0].Directory = "bin" },
			`artifact etcd: "bin" is not an absolute path`},
		"newline in member": {func(m *values) { m.Artifacts[0].Members[0] = "etcd\nevil" },
			`artifact etcd: "etcd\nevil" is not one word`},
	} {
		t.Run(name, func(t *testing.T) {
			m := machines()["etcd"]
			test.breakIt(&m)
			_, err := userData(m)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestRegistryIsAPath(t *testing.T) {
	m := workerMachine()
	m.Plan.Artifacts.RegistryMirrors["registry.example:5000"] = "https://mirror.example"
	files := filesOf(t, m)
	require.Contains(t, files["/etc/containerd/certs.d/registry.k8s.io/hosts.toml"],
		`server = "http://192.0.2.1/registry.k8s.io"`)
	require.Contains(t, files["/etc/containerd/certs.d/registry.example:5000/hosts.toml"],
		`server = "https://mirror.example"`)

	m.Plan.Artifacts.RegistryMirrors = nil
	for name := range filesOf(t, m) {
		require.NotContains(t, name, "hosts.toml")
	}
	m.Plan.Artifacts.RegistryMirrors = map[string]string{"../../../etc": "https://mirror.example"}
	_, err := userData(m)
	require.ErrorContains(t, err, `"/etc/containerd/certs.d/../../../etc/hosts.toml" is not an absolute, clean path`)
}

func TestRenderNamesTheBrokenTemplate(t *testing.T) {
	tree := fstest.MapFS{"system/etc/broken.tmpl": {Data: []byte("{{.Hostname")}}
	_, err := machines()["worker"].render(tree, "system")
	require.ErrorContains(t, err, "system/etc/broken.tmpl")
}

func TestUserDataLimit(t *testing.T) {
	noise := make([]byte, 60_000)
	source := rand.NewChaCha8([32]byte{})
	_, err := source.Read(noise)
	require.NoError(t, err)
	m := machines()["worker"]
	addPKI(&m, "/etc/small", "small\n")
	addPKI(&m, "/etc/big", base64.StdEncoding.EncodeToString(noise))
	_, err = userData(m)
	require.ErrorContains(t, err, "user-data of dev-worker-0: ")
	require.ErrorContains(t, err, " bytes gzipped, 49151 are allowed; biggest files: /etc/big (80000 bytes), /")
}

func TestUserDataFitsNova(t *testing.T) {
	for role, m := range machines() {
		data, err := userData(m)
		require.NoError(t, err)
		require.LessOrEqual(t, len(data), 65_535)
		t.Logf("%s: %d of 65535 characters", role, len(data))
		again, err := userData(m)
		require.NoError(t, err)
		require.Equal(t, data, again)
	}
}

// TestCompressionIsPinned fails if the compressor changes, for example with a new version of Go. User-data
// would then differ although its content is the same, and `pulumi up` would replace every machine of every
// cluster. Do not simply update the checksum.
func TestCompressionIsPinned(t *testing.T) {
	packed, err := compress([]byte(strings.Repeat("hostname: dev-etcd-0\nmanage_etc_hosts: localhost\n", 1000)))
	require.NoError(t, err)
	require.Equal(t, "2aefce2b4cda7d0ec2c62de39c110d28bfafdccd7ee7c9286857f221435001dc",
		fmt.Sprintf("%x", sha256.Sum256(packed)))
}

// TestMachinesWithoutMonitoring checks that a machine exports no metrics unless monitoring is on.
func TestMachinesWithoutMonitoring(t *testing.T) {
	for role, m := range machines() {
		m.Plan.Monitoring.Enabled = false
		files, err := m.files()
		require.NoError(t, err)
		for _, f := range files {
			if f.Path == "/etc/artifacts.list" || f.Path == "/etc/machine-metrics/ca.crt" {
				continue // package cluster decides about them
			}
			for _, text := range []string{"9100", "9091", "PROMETHEUSMETRICS", "always-allow-paths", "machine-metrics"} {
				require.NotContains(t, f.Path+f.Content, text, role)
			}
		}
	}
}
