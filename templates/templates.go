// Package templates holds what each machine runs, one folder per system, each a tree of literal files as they land on
// the machine; and renders a machine's user-data from them. It is pure: plain values in, text out.
//
// The path in the tree is the path on the machine. A file that ends in .tmpl is a text/template of the Machine and
// lands without that suffix. Comments and blank lines are for the tree's readers: they do not land. A template in a
// folder {registry} is one of a RegistryMirror, and lands once for each in a folder of the registry's name. Files under
// bin and sbin are executable, and those under /etc/kubernetes are root's alone, but for certificates and public keys.
// Every unit in a tree that is to be installed somewhere ([Install]) is enabled and started.
package templates

import (
	"bytes"
	"embed"
	"encoding/json"
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

// Machine is what one machine's user-data is rendered from. The tags let a template that uses an empty value fail.
type Machine struct {
	Hostname string `json:",omitempty"` // as Kubernetes will know it: dev-etcd-0
	Role     string `json:",omitempty"` // etcd, control-plane or worker
	Secrets  []File `json:"-"`          // certificates and keys
	// downloaded, verified and installed before the machine's services start
	Artifacts    []Artifact    `json:",omitempty"`
	Etcd         *Etcd         `json:",omitempty"` // set on etcd machines only
	Node         *Node         `json:",omitempty"` // set on control planes and workers
	ControlPlane *ControlPlane `json:",omitempty"` // set on control planes only
}

// File is a file as it lands on the machine, owned by root.
type File struct {
	Path    string // absolute
	Content string
	Mode    fs.FileMode // permission bits only
}

// Artifact is a binary, or an archive (anything that tar unpacks) of binaries.
type Artifact struct {
	Name      string `json:",omitempty"` // etcd
	URL       string `json:",omitempty"` // http or https
	SHA256    string `json:",omitempty"` // of what is downloaded, 64 hexadecimal digits
	Directory string `json:",omitempty"` // where it is installed: /usr/local/bin
	// of the archive, installed by their base name; none: the download itself is the binary Name
	Members []string `json:""`
}

// Etcd is one member of the etcd cluster.
type Etcd struct {
	Name           string `json:",omitempty"` // the member's name in InitialCluster
	Address        string `json:",omitempty"` // the machine's own IPv4 address
	VolumeID       string `json:",omitempty"` // the Cinder volume that keeps the data
	InitialCluster string `json:",omitempty"` // name=https://ip:2380,…
	Token          string `json:",omitempty"` // unique to the cluster: members of another refuse to talk
	Endpoints      string `json:",omitempty"` // https://ip:2379,…
}

// Node is a Kubernetes node: kubelet, containerd, kube-proxy, Calico and the two
// proxies on 127.0.0.1, to etcd and to the API.
type Node struct {
	Address         string           `json:",omitempty"` // the machine's own IPv4 address
	Etcd            string           `json:",omitempty"` // ip:2379,…
	APIServers      []Server         `json:",omitempty"` // all of them
	PodCIDR         string           `json:",omitempty"`
	DNSService      string           `json:",omitempty"` // cluster DNS's Service address
	Labels          string           `json:",omitempty"` // key=value,… that kubelet may give to its own Node
	Taints          []Taint          `json:""`           // that the Node is registered with
	ProxyMode       string           `json:",omitempty"` // of kube-proxy: nftables or iptables
	Calico          Calico           `json:""`
	PauseImage      string           `json:",omitempty"` // registry.k8s.io/pause:3.10.2
	RegistryMirrors []RegistryMirror `json:""`
	BootstrapToken  string           `json:",omitempty"` // id.secret: buys kubelet its first certificate
	// devcloud's machines: containers on cgroup v1, who may not raise oom scores
	Devcloud bool `json:""`
}

// Server is a control plane.
type Server struct {
	Name    string `json:",omitempty"` // dev-control-plane-0
	Address string `json:",omitempty"` // IPv4
}

// Taint of a Node.
type Taint struct {
	Key    string `json:",omitempty"`
	Value  string `json:""`
	Effect string `json:",omitempty"` // NoSchedule, PreferNoSchedule or NoExecute
}

// Calico is a node's part in the pods' network, and what its Calico Node says.
type Calico struct {
	Version string            `json:",omitempty"` // of calico-node, the CNI plugins and calicoctl: 3.28.5
	Address string            `json:",omitempty"` // the machine's own in its subnet: 10.0.0.64/24
	Labels  map[string]string `json:""`           // that Calico's selectors go by
	// an IPv4 address; empty where the node is no route reflector
	RouteReflectorClusterID string `json:""`
	// packets between nodes of different subnets are encapsulated
	Tunnels bool `json:""`
}

// RegistryMirror is where the images of a registry are pulled from instead.
type RegistryMirror struct {
	Registry string `json:",omitempty"` // registry.k8s.io
	URL      string `json:",omitempty"` // http or https, before /v2
}

// ControlPlane is kube-apiserver, kube-controller-manager, kube-scheduler and their part of the API's virtual address.
type ControlPlane struct {
	Etcd          string `json:",omitempty"` // https://ip:2379,…
	ServiceCIDR   string `json:",omitempty"`
	APIService    string `json:",omitempty"` // the Service kubernetes' address
	EncryptionKey string `json:",omitempty"` // 32 bytes in base64: Secrets in etcd are encrypted with it
	NodePrefix    string `json:",omitempty"` // control planes' hostnames begin with it: dev-control-plane-
	NodeCIDR      string `json:",omitempty"` // the machines' network: kubelets' addresses are in it
	// IPv4 addresses of it, blank-separated, that no worker can have: control planes', etcd's, the API's
	Reserved          string          `json:",omitempty"`
	WorkerToken       BootstrapToken  `json:",omitempty"`
	ControlPlaneToken BootstrapToken  `json:",omitempty"`
	VirtualIP         *VirtualIP      `json:",omitempty"` // nil where a load balancer has the API's address
	Calico            CalicoResources `json:",omitempty"`
	Tenancy           *Tenancy        `json:",omitempty"` // nil where OpenStack's tenants are none of Kubernetes'
}

// Tenancy is OpenStack's tenants as Kubernetes': who they are, from Keystone.
type Tenancy struct {
	AuthURL       string `json:",omitempty"` // Keystone's
	CACertificate string `json:",omitempty"` // PEM: whose certificate Keystone has; empty for one of a public authority
	Interval      string `json:",omitempty"` // between two looks at OpenStack, as systemd reads it: 1m0s
}

// BootstrapToken is one that kubelets of a role join with:
// https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
type BootstrapToken struct {
	ID     string `json:",omitempty"` // 6 of a-z0-9
	Secret string `json:",omitempty"` // 16 of a-z0-9
}

// VirtualIP is the API's address, which the control planes hold in turn by VRRP.
type VirtualIP struct {
	Address  string   `json:",omitempty"` // IPv4
	RouterID int      `json:",omitempty"` // VRRP's, 1–255
	Priority int      `json:",omitempty"` // 1–254, different on each
	Peers    []string `json:""`           // addresses of the other control planes
}

// files is everything that the machine gets: its systems' trees, in order, and its secrets. An error names the file.
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

// systems are the trees that m gets, in order.
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
		if m.ControlPlane == nil { // these have the credential from user-data
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

// check refuses what would be torn apart in artifacts.list: its fields are separated by blanks, and xargs reads quotes.
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

// render walks the tree called system in from.
func render(from fs.FS, system string, m Machine) ([]File, error) {
	values, err := m.values()
	if err != nil {
		return nil, err
	}
	var files []File
	err = fs.WalkDir(from, system, func(name string, entry fs.DirEntry, err error) error {
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
			return land(target, values)
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

// parsed caches templates by name and text: machines differ only in values.
var parsed sync.Map

func execute(name string, content []byte, values any) ([]byte, error) {
	key := [2]string{name, string(content)}
	t, ok := parsed.Load(key)
	if !ok {
		made, err := template.New(name).Option("missingkey=error").Parse(string(content))
		if err != nil {
			return nil, err
		}
		t, _ = parsed.LoadOrStore(key, made)
	}
	var out bytes.Buffer
	err := t.(*template.Template).Execute(&out, values)
	return out.Bytes(), err
}

// values is m as nested maps that lack what is empty, so that missingkey=error finds a value that nobody set.
func (m Machine) values() (map[string]any, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	var values map[string]any
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber() // as they are written: a float is 4.2e+09
	return values, numbers.Decode(&values)
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
