package templates

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// machines returns one complete machine of each role, with placeholders for keys, and a worker of devcloud.
func machines() map[string]Machine {
	devcloud := workerMachine()
	devcloud.Node.Devcloud = true
	devcloud.Node.Calico.Tunnels = true
	devcloud.Node.Calico.RouteReflectorClusterID = "244.0.0.1"
	return map[string]Machine{
		"etcd": etcdMachine(), "control-plane": controlPlaneMachine(), "worker": workerMachine(), "devcloud": devcloud,
	}
}

// placeholder returns the file of a secret, with a placeholder for its content.
func placeholder(path string) File {
	content := "-----BEGIN placeholder-----\n" + filepath.Base(path) + "\n-----END placeholder-----\n"
	f := File{Path: path, Content: content, Mode: 0o644}
	if filepath.Ext(path) == ".key" {
		f.Mode = 0o600
	}
	return f
}

func etcdMachine() Machine {
	m := Machine{
		Hostname:  "dev-etcd-0",
		Role:      "etcd",
		Artifacts: artifacts("etcd"),
		Etcd: &Etcd{
			Name:     "dev-etcd-0",
			Address:  "10.0.0.10",
			VolumeID: "4f1c0d9e-2b7a-4c55-9e2e-0123456789ab",
			InitialCluster: "dev-etcd-0=https://10.0.0.10:2380,dev-etcd-1=https://10.0.0.11:2380," +
				"dev-etcd-2=https://10.0.0.12:2380",
			Token:     "dev",
			Endpoints: "https://10.0.0.10:2379,https://10.0.0.11:2379,https://10.0.0.12:2379",
		},
	}
	for _, name := range []string{"ca.crt", "server.crt", "server.key", "peer.crt", "peer.key", "client.crt",
		"client.key"} {
		m.Secrets = append(m.Secrets, placeholder("/etc/etcd/pki/"+name))
	}
	return m
}

func controlPlaneMachine() Machine {
	m := Machine{
		Hostname: "dev-control-plane-0",
		Role:     "control-plane",
		Artifacts: artifacts("containerd", "runc", "cni-plugins", "calicoctl", "etcd", "kubelet", "kube-proxy", "kubectl",
			"node-approver", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "keystone-webhook", "tenant-sync"),
		Node: node("10.0.0.20", "cptokn.0123456789abcdef"),
		ControlPlane: &ControlPlane{
			Etcd:          "https://10.0.0.10:2379,https://10.0.0.11:2379,https://10.0.0.12:2379",
			ServiceCIDR:   "10.96.0.0/16",
			APIService:    "10.96.0.1",
			EncryptionKey: "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
			NodePrefix:    "dev-control-plane-",
			NodeCIDR:      "10.0.0.0/24",
			Reserved: "api=10.0.0.5,router=10.0.0.1,dev-etcd-0=10.0.0.10,dev-etcd-1=10.0.0.11,dev-etcd-2=10.0.0.12," +
				"dev-control-plane-0=10.0.0.20,dev-control-plane-1=10.0.0.21",
			WorkerToken:       BootstrapToken{ID: "worker", Secret: "0123456789abcdef"},
			ControlPlaneToken: BootstrapToken{ID: "cptokn", Secret: "0123456789abcdef"},
			VirtualIP:         &VirtualIP{Address: "10.0.0.5", RouterID: 51, Priority: 100, Peers: []string{"10.0.0.21"}},
			Calico:            calicoResources(),
			Tenancy: &Tenancy{
				AuthURL:       "https://keystone.example.com:5000/v3",
				CACertificate: "-----BEGIN placeholder-----\nkeystone-ca\n-----END placeholder-----",
				Interval:      "1m0s",
			},
		},
	}
	m.Node.Labels = "topology.kubernetes.io/region=RegionOne,topology.kubernetes.io/zone=nova"
	m.Node.Taints = []Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}}
	m.Node.Calico.Labels["node.kubernetes.io/exclude-from-external-load-balancers"] = "true"
	m.Secrets = append(m.Secrets, placeholder("/etc/calico/pki/ca.crt"), placeholder("/etc/calico/pki/etcd.crt"),
		placeholder("/etc/calico/pki/etcd.key"))
	for _, name := range []string{
		"ca.crt", "client-ca.crt", "node-ca.crt", "node-ca.key", "admin.crt", "admin.key", "apiserver.crt", "apiserver.key",
		"apiserver-etcd-client.crt", "apiserver-etcd-client.key", "apiserver-kubelet-client.crt",
		"apiserver-kubelet-client.key",
		"controller-manager.crt", "controller-manager.key", "etcd/ca.crt", "front-proxy-ca.crt", "front-proxy-client.crt",
		"front-proxy-client.key", "keystone-auth.crt", "keystone-auth.key", "node-approver.crt", "node-approver.key",
		"sa.key", "sa.pub",
		"scheduler.crt", "scheduler.key", "tenant-sync.crt", "tenant-sync.key",
	} {
		m.Secrets = append(m.Secrets, placeholder("/etc/kubernetes/pki/"+name))
	}
	return m
}

// calicoResources returns the resources of a cluster with a mesh and two routers. One router has a password.
func calicoResources() CalicoResources {
	return CalicoResources{
		IPPool: IPPool{CIDR: "10.244.0.0/16", BlockSize: 26, IPIPMode: "Never", VXLANMode: "Never", NATOutgoing: true},
		BGPConfiguration: BGPConfiguration{
			ASNumber: 4200000000, NodeToNodeMeshEnabled: true,
			ServiceClusterIPs:      []string{"10.96.0.0/16"},
			ServiceLoadBalancerIPs: []string{"198.51.100.0/25", "198.51.100.128/25"},
		},
		BGPPeers: []BGPPeer{
			{
				Name: "peer-10-0-0-1", NodeSelector: "all()", PeerIP: "10.0.0.1", ASNumber: 65001,
				Password: "c2VjcmV0IG9mIHRoZSByb3V0ZXI=", KeepOriginalNextHop: true,
				ExportV4: []FilterRule{{Action: "Reject", Remote: true}}, ImportV4: []FilterRule{{Action: "Reject"}},
			},
			{
				Name: "peer-10-0-0-2", NodeSelector: "topology.kubernetes.io/zone in {'nova', 'az2'}", PeerIP: "10.0.0.2",
				ASNumber: 65002,
				ExportV4: []FilterRule{{Action: "Reject", Remote: true}, {Action: "Reject", CIDR: "10.96.0.0/16"}},
				ImportV4: []FilterRule{{Action: "Reject", CIDR: "10.244.0.0/16"}, {Action: "Accept", CIDR: "10.1.0.0/16"},
					{Action: "Reject"}},
			},
		},
	}
}

func workerMachine() Machine {
	m := Machine{
		Hostname:  "dev-worker-0",
		Role:      "worker",
		Artifacts: artifacts("containerd", "runc", "cni-plugins", "calicoctl", "etcd", "kubelet", "kube-proxy"),
		Node:      node("10.0.0.64", "worker.0123456789abcdef"),
		Secrets:   []File{placeholder("/etc/kubernetes/pki/ca.crt"), placeholder("/etc/calico/pki/ca.crt")},
	}
	m.Node.Labels = "kubernetes-openstack/pool=worker," +
		"topology.kubernetes.io/region=RegionOne,topology.kubernetes.io/zone=nova"
	return m
}

// node returns the values that control planes and workers share.
func node(address, token string) *Node {
	return &Node{
		Address: address,
		Etcd:    "10.0.0.10:2379,10.0.0.11:2379,10.0.0.12:2379",
		APIServers: []Server{{Name: "dev-control-plane-0", Address: "10.0.0.20"},
			{Name: "dev-control-plane-1", Address: "10.0.0.21"}},
		PodCIDR:    "10.244.0.0/16",
		DNSService: "10.96.0.10",
		ProxyMode:  "nftables",
		Calico: Calico{
			Version: "3.28.5", Address: address + "/24", Labels: map[string]string{"topology.kubernetes.io/zone": "nova"},
		},
		PauseImage:      "registry.k8s.io/pause:3.10.2",
		RegistryMirrors: []RegistryMirror{{Registry: "registry.k8s.io", URL: "http://192.0.2.1/registry.k8s.io"}},
		BootstrapToken:  token,
	}
}

// artifacts returns the named artifacts. The checksum of each is the SHA-256 of its name, not upstream's.
func artifacts(names ...string) []Artifact {
	const github, kubernetes = "http://192.0.2.1/github.com/",
		"http://192.0.2.1/dl.k8s.io/release/v1.36.3/bin/linux/amd64/"
	all := map[string]Artifact{
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
	var list []Artifact
	for _, name := range names {
		a, packed := all[name]
		if !packed {
			a.URL = kubernetes + name
		}
		if name == "node-approver" || name == "keystone-webhook" || name == "tenant-sync" {
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
			got, err := CloudConfig(m)
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

// TestMachinesOfAPoolShareFiles checks that the shared files of a pool are rendered once. Each machine gets
// the same user-data as it would get alone, for names and addresses of all lengths.
func TestMachinesOfAPoolShareFiles(t *testing.T) {
	for _, name := range []string{"dev-worker-0", strings.Repeat("w", 60) + "-99"} {
		for _, address := range []string{"10.0.0.64", "192.168.100.200"} {
			m := workerMachine()
			m.Hostname, m.Node.Address, m.Node.Calico.Address = name, address, address+"/24"
			alone, err := m.renderFiles()
			require.NoError(t, err)
			got, err := CloudConfig(m)
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(string(got), "\n"+alone.text), name)
			shared, _ := m.marked()
			other, _ := workerMachine().marked()
			require.Equal(t, other, shared)
		}
	}
}

// knownKeys are the top-level keys that we use. Each is in cloud-init's documentation. The list is necessary
// because cloud-init's own schema check accepts a misspelt key.
var knownKeys = []string{"bootcmd", "fqdn", "hostname", "manage_etc_hosts", "preserve_hostname", "write_files"}

func TestCloudConfigKeysAndFiles(t *testing.T) {
	for role, m := range machines() {
		t.Run(role, func(t *testing.T) {
			text, err := CloudConfig(m)
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
			for name, mode := range modes {
				if strings.HasPrefix(name, "/etc/kubernetes/") && path.Ext(name) != ".crt" && path.Ext(name) != ".pub" {
					require.Equal(t, "0600", mode, name)
				}
			}
			for _, secret := range m.Secrets {
				require.Equal(t, fmt.Sprintf("%04o", secret.Mode), modes[secret.Path])
			}
		})
	}
}

// TestExternalIPs checks that externalIPs of Services are refused (cis_test.go has 1.2.3), unless the
// configuration has addresses for them.
func TestExternalIPs(t *testing.T) {
	m := controlPlaneMachine()
	m.ControlPlane.Calico.BGPConfiguration.ServiceExternalIPs = []string{"198.51.100.0/26"}
	require.Contains(t, landed(t, m)["/etc/systemd/system/kube-apiserver.service"],
		"--enable-admission-plugins=NodeRestriction ")
}

func TestWrongMachineIsAnError(t *testing.T) {
	for name, test := range map[string]struct {
		breakIt func(*Machine)
		want    string
	}{
		"no hostname": {func(m *Machine) { m.Hostname = "" }, "without a hostname"},
		"value missing": {func(m *Machine) { m.Etcd.Token = "" },
			`etcd/etc/etcd/etcd.env.tmpl:6:29: executing "etcd/etc/etcd/etcd.env.tmpl" at <required ".Etcd.Token">: ` +
				`error calling required: .Etcd.Token is not set`},
		"file twice": {func(m *Machine) { m.Secrets = append(m.Secrets, m.Secrets[0]) },
			"/etc/etcd/pki/ca.crt is written twice"},
		"secret over unit": {func(m *Machine) { m.Secrets[0].Path = "/etc/systemd/system/etcd.service" },
			"/etc/systemd/system/etcd.service is written twice"},
		"relative path": {func(m *Machine) { m.Secrets[0].Path = "etc/ca.crt" },
			`"etc/ca.crt" is not an absolute, clean path`},
		"checksum": {func(m *Machine) { m.Artifacts[0].SHA256 = "ffe8" }, `artifact etcd: "ffe8" is not a sha256`},
		"blank in URL": {func(m *Machine) { m.Artifacts[0].URL = "http://mirror/a b" },
			`artifact etcd: "http://mirror/a b" is not one word`},
		"quote in URL": {func(m *Machine) { m.Artifacts[0].URL = "http://mirror/a'b" },
			`artifact etcd: "http://mirror/a'b" is not one word`},
		"no directory": {func(m *Machine) { m.Artifacts[0].Directory = "" }, `artifact etcd: "" is not one word`},
		"relative directory": {func(m *Machine) { m.Artifacts[0].Directory = "bin" },
			`artifact etcd: "bin" is not an absolute path`},
		"newline in member": {func(m *Machine) { m.Artifacts[0].Members[0] = "etcd\nevil" },
			`artifact etcd: "etcd\nevil" is not one word`},
	} {
		t.Run(name, func(t *testing.T) {
			m := machines()["etcd"]
			test.breakIt(&m)
			_, err := UserData(m)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestRegistryIsAPath(t *testing.T) {
	m := workerMachine()
	m.Node.RegistryMirrors = []RegistryMirror{
		{Registry: "registry.k8s.io", URL: "http://192.0.2.1/registry.k8s.io"},
		{Registry: "registry.example:5000", URL: "https://mirror.example"},
	}
	files := landed(t, m)
	require.Contains(t, files["/etc/containerd/certs.d/registry.k8s.io/hosts.toml"],
		`server = "http://192.0.2.1/registry.k8s.io"`)
	require.Contains(t, files["/etc/containerd/certs.d/registry.example:5000/hosts.toml"],
		`server = "https://mirror.example"`)

	m.Node.RegistryMirrors = nil
	for name := range landed(t, m) {
		require.NotContains(t, name, "hosts.toml")
	}
	m.Node.RegistryMirrors = []RegistryMirror{{Registry: "../../../etc", URL: "https://mirror.example"}}
	_, err := UserData(m)
	require.ErrorContains(t, err, `"/etc/containerd/certs.d/../../../etc/hosts.toml" is not an absolute, clean path`)
}

func TestRenderNamesTheBrokenTemplate(t *testing.T) {
	tree := fstest.MapFS{"system/etc/broken.tmpl": {Data: []byte("{{.Hostname")}}
	_, err := render(tree, "system", machines()["worker"])
	require.ErrorContains(t, err, "system/etc/broken.tmpl")
}

func TestUserDataBudget(t *testing.T) {
	noise := make([]byte, 60_000)
	source := rand.NewChaCha8([32]byte{})
	_, err := source.Read(noise)
	require.NoError(t, err)
	m := machines()["worker"]
	m.Secrets = append(m.Secrets,
		File{Path: "/etc/small", Content: "small\n", Mode: 0o644},
		File{Path: "/etc/big", Content: base64.StdEncoding.EncodeToString(noise), Mode: 0o644})
	_, err = UserData(m)
	require.ErrorContains(t, err, "user-data of dev-worker-0: ")
	require.ErrorContains(t, err, " bytes gzipped, 49151 are allowed; biggest files: /etc/big (80000 bytes), /")
}

func TestUserDataFitsNova(t *testing.T) {
	for role, m := range machines() {
		data, err := UserData(m)
		require.NoError(t, err)
		require.LessOrEqual(t, len(data), 65_535)
		t.Logf("%s: %d of 65535 characters", role, len(data))
		again, err := UserData(m)
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
