// Package templates holds the files of the machines. It has one folder for each system, and each folder is a
// tree of literal files. The package renders a machine's user-data from them. It is pure: its inputs are
// plain values, and its output is text.
//
// The path in the tree is the path on the machine. A file that ends in .tmpl is a text/template with the
// values of Machine. Its name on the machine has no .tmpl suffix. Comments and blank lines are for readers of
// the repository, and are not written to the machine. A template in a folder {registry} gets the values of a
// RegistryMirror. It is rendered once for each mirror, into a folder with the registry's name. Files in bin
// and sbin are executable. Only root can read files in /etc/kubernetes, except for certificates and public
// keys. Each unit that has an [Install] section is enabled and started.
package templates

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"sync"
	"text/template"
)

//go:embed base os-packages artifacts etcd etcd-proxy api-proxy metadata-filter containerd kubelet kube-proxy
//go:embed calico-node calico-credential calico-tunnels node-drain
//go:embed calico-resources kube-apiserver kube-controller-manager kube-scheduler cluster-resources
//go:embed node-approver api-vip
//go:embed keystone-auth keystone-ca keystone-webhook kube-apiserver-spare tenant-sync
var systems embed.FS

// Machine holds the values for one machine's user-data. A template that prints a value that is not set fails.
type Machine struct {
	Hostname string // also the name of the Node in Kubernetes: dev-etcd-0
	Role     string // etcd, control-plane or worker
	Secrets  []File // certificates and keys
	// the machine downloads, verifies and installs them before its services start
	Artifacts    []Artifact
	Etcd         *Etcd         // set on etcd machines only
	Node         *Node         // set on control planes and workers
	ControlPlane *ControlPlane // set on control planes only
}

// File is a file on the machine. root owns it.
type File struct {
	Path    string // absolute
	Content string
	Mode    fs.FileMode // permission bits only
}

// Artifact is a download: one binary, or an archive with binaries in any format that tar unpacks.
type Artifact struct {
	Name      string // such as etcd
	URL       string // http or https
	SHA256    string // of the download, 64 hexadecimal digits
	Directory string // destination folder: /usr/local/bin
	// paths in the archive, installed under their base names; if empty, the download itself is the binary
	// Name
	Members []string
}

// Etcd is one member of the etcd cluster.
type Etcd struct {
	Name           string // the member's name in InitialCluster
	Address        string // the machine's own IPv4 address
	VolumeID       string // the Cinder volume that keeps the data
	InitialCluster string // name=https://ip:2380,…
	Token          string // unique to the cluster: members reject those of other clusters
	Endpoints      string // https://ip:2379,…
}

// Node holds the values of a Kubernetes node: kubelet, containerd, kube-proxy, Calico, and the two proxies to
// etcd and to the API on 127.0.0.1.
type Node struct {
	Address         string   // the machine's own IPv4 address
	Etcd            string   // ip:2379,…
	APIServers      []Server // all control planes
	PodCIDR         string
	DNSService      string  // cluster DNS's Service address
	Labels          string  // key=value,… that kubelet may set on its own Node
	Taints          []Taint // kubelet registers the Node with them
	ProxyMode       string  // of kube-proxy: nftables or iptables
	Calico          Calico
	PauseImage      string // registry.k8s.io/pause:3.10.2
	RegistryMirrors []RegistryMirror
	BootstrapToken  string // id.secret: kubelet requests its first certificate with it
	// devcloud's machines are containers on cgroup v1, which may not raise OOM scores
	Devcloud bool
}

// Server is the address of a control plane.
type Server struct {
	Name    string // dev-control-plane-0
	Address string // IPv4
}

// Taint is a taint of a Node.
type Taint struct {
	Key    string
	Value  string
	Effect string // NoSchedule, PreferNoSchedule or NoExecute
}

// Calico holds the values of the node's pod network and of its Calico Node.
type Calico struct {
	Version string            // of calico-node, the CNI plugins and calicoctl: 3.28.5
	Address string            // the machine's address with its subnet's prefix length: 10.0.0.64/24
	Labels  map[string]string // labels for Calico's selectors
	// an IPv4 address; empty if the node is not a route reflector
	RouteReflectorClusterID string
	// encapsulate packets between nodes of different subnets
	Tunnels bool
}

// RegistryMirror is a server from which nodes pull a registry's images, instead of from the registry itself.
type RegistryMirror struct {
	Registry string // registry.k8s.io
	URL      string // http or https, without /v2
}

// ControlPlane holds the values of kube-apiserver, kube-controller-manager, kube-scheduler, and the API's
// virtual address.
type ControlPlane struct {
	Etcd              string // https://ip:2379,…
	ServiceCIDR       string
	APIService        string // address of the Service `kubernetes`
	EncryptionKey     string // 32 bytes in base64; encrypts Secrets in etcd
	NodePrefix        string // prefix of the control planes' hostnames: dev-control-plane-
	NodeCIDR          string // the machines' network, which contains the kubelets' addresses
	Reserved          string // owner=IPv4 address,…: planned addresses except workers'
	WorkerToken       BootstrapToken
	ControlPlaneToken BootstrapToken
	VirtualIP         *VirtualIP // nil if a load balancer has the API's address
	Calico            CalicoResources
	Tenancy           *Tenancy // nil if Kubernetes does not use OpenStack's tenants
}

// Tenancy maps OpenStack's tenants to Kubernetes. Keystone authenticates their users.
type Tenancy struct {
	AuthURL       string // URL of Keystone
	CACertificate string // PEM: the authority of Keystone's certificate; empty for a public authority
	Interval      string // between two reads of OpenStack's tenants, in systemd's format: 1m0s
}

// BootstrapToken is the token with which kubelets of a role join the cluster:
// https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
type BootstrapToken struct {
	ID     string // 6 characters of a-z0-9
	Secret string // 16 characters of a-z0-9
}

// VirtualIP is the API's virtual address, which the control planes hold in turn by VRRP.
type VirtualIP struct {
	Address  string   // IPv4
	RouterID int      // VRRP's virtual router ID, 1–255
	Priority int      // 1–254, different on each
	Peers    []string // addresses of the other control planes
}

// files returns all files of the machine: the trees of its systems, in order, and its secrets. An error names
// the file.
func (m Machine) files() ([]File, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	var files []File
	for _, name := range m.systems() {
		tree, err := render(systems, name, m)
		if err != nil {
			return nil, err
		}
		files = append(files, tree...)
	}
	files = append(files, m.Secrets...)

	seen := map[string]bool{}
	for _, f := range files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path {
			return nil, fmt.Errorf("%q is not an absolute, clean path", f.Path)
		}
		if seen[f.Path] {
			return nil, fmt.Errorf("%s is written twice", f.Path)
		}
		seen[f.Path] = true
	}
	return files, nil
}

// systems returns the names of the trees of m, in order.
func (m Machine) systems() []string {
	names := []string{"base", "os-packages"}
	if len(m.Artifacts) > 0 {
		names = append(names, "artifacts")
	}
	if m.Etcd != nil {
		names = append(names, "etcd")
	}
	if m.Node != nil {
		names = append(names, "etcd-proxy", "api-proxy", "metadata-filter", "containerd", "kubelet", "kube-proxy",
			"calico-node", "node-drain")
		if m.Node.Calico.Tunnels {
			names = append(names, "calico-tunnels")
		}
		if m.ControlPlane == nil { // control planes get the credential from user-data
			names = append(names, "calico-credential")
		}
	}
	if m.ControlPlane != nil {
		names = append(names, "calico-resources", "kube-apiserver", "kube-controller-manager", "kube-scheduler",
			"cluster-resources", "node-approver")
		if m.ControlPlane.VirtualIP != nil {
			names = append(names, "api-vip")
		}
		if t := m.ControlPlane.Tenancy; t != nil {
			names = append(names, "keystone-auth", "keystone-webhook", "kube-apiserver-spare", "tenant-sync")
			if t.CACertificate != "" {
				names = append(names, "keystone-ca")
			}
		}
	}
	return names
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check returns an error for an artifact that artifacts.list cannot hold. Spaces separate its fields, and
// xargs interprets quotes.
func (m Machine) check() error {
	if m.Hostname == "" {
		return fmt.Errorf("machine without a hostname")
	}
	for _, a := range m.Artifacts {
		if !sha256Hex.MatchString(a.SHA256) {
			return fmt.Errorf("artifact %s: %q is not a sha256 in hexadecimal", a.Name, a.SHA256)
		}
		for _, field := range append([]string{a.Name, a.URL, a.Directory}, a.Members...) {
			if len(strings.Fields(field)) != 1 || strings.ContainsAny(field, " \t\n'\"\\") {
				return fmt.Errorf("artifact %s: %q is not one word", a.Name, field)
			}
		}
		if !path.IsAbs(a.Directory) {
			return fmt.Errorf("artifact %s: %q is not an absolute path", a.Name, a.Directory)
		}
	}
	return nil
}

// render renders the files of one system's tree in from. It returns an error if a template fails.
func render(from fs.FS, system string, m Machine) ([]File, error) {
	var files []File
	err := fs.WalkDir(from, system, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		target, isTemplate := strings.CutSuffix(strings.TrimPrefix(name, system), ".tmpl")
		land := func(target string, values any) error {
			text := content
			if isTemplate {
				if text, err = execute(name, content, values); err != nil {
					return err
				}
			}
			files = append(files, File{Path: target, Content: lean(string(text)), Mode: mode(target)})
			return nil
		}
		if !strings.Contains(target, "{registry}") {
			return land(target, m)
		}
		for _, mirror := range m.Node.RegistryMirrors {
			if err := land(strings.ReplaceAll(target, "{registry}", mirror.Registry), mirror); err != nil {
				return err
			}
		}
		return nil
	})
	return files, err
}

// parsed caches templates by name and text, because machines differ only in their values.
var parsed sync.Map

func execute(name string, content []byte, values any) ([]byte, error) {
	key := [2]string{name, string(content)}
	t, ok := parsed.Load(key)
	if !ok {
		made, err := parseStrict(name, string(content))
		if err != nil {
			return nil, err
		}
		t, _ = parsed.LoadOrStore(key, made)
	}
	var out bytes.Buffer
	err := t.(*template.Template).Execute(&out, values)
	return out.Bytes(), err
}

func mode(target string) fs.FileMode {
	switch path.Base(path.Dir(target)) {
	case "bin", "sbin":
		return 0o755
	}
	if strings.HasPrefix(target, "/etc/kubernetes/") && path.Ext(target) != ".crt" && path.Ext(target) != ".pub" {
		return 0o600
	}
	return 0o644
}
