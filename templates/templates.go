// Package templates holds the files of the machines. It has one folder for each system, and each folder is a
// tree of literal files. The package renders a machine's user-data from them. It is pure: its inputs are a
// Plan and plain values, and its output is text.
//
// The path in the tree is the path on the machine. A file that ends in .tmpl is a text/template with values of
// the type values: the fields of cluster.Machine, {{.Plan}} and {{.Inputs}}. A template fails if it prints a value
// that is not set, or a text into YAML, TOML or JSON without an encoder (package strict). Its name on the machine
// has no .tmpl suffix. Comments and blank lines are for readers of the repository, and are not written to the
// machine. A template in a folder {registry} gets the values of a registryMirror. It is rendered once for each
// mirror, into a folder with the registry's name. A file in a folder {proxied}.service.d is written for each service
// that connects through the proxy. Files in bin and sbin, and below /usr/libexec, are executable.
// Only root can read the settings of sudo and of etcd-backup, the credentials of the mirror, and files in
// /etc/kubernetes, except for certificates and public keys. Each unit that has an [Install] section is enabled and
// started.
package templates

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"sync"
	"text/template"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/strict"
)

//go:embed base os-packages artifacts etcd haproxy etcd-proxy api-proxy metadata-filter containerd kubelet kube-proxy
//go:embed etcd-backup etcd-backup-ca etcd-volume-link ntp artifacts-ca proxy
//go:embed all:artifacts-credentials
//go:embed calico-node calico-credential calico-tunnels node-drain
//go:embed calico-resources kube-apiserver kube-controller-manager kube-scheduler cluster-resources
//go:embed node-approver api-vip machine-metrics
//go:embed keystone-auth keystone-ca keystone-webhook kube-apiserver-spare tenant-sync
var systems embed.FS

// File is a file on the machine. root owns it.
type File struct {
	Path    string // absolute
	Content string
	Mode    fs.FileMode // permission bits only
}

// files returns all files of the machine: the trees of its systems, in order, and its PKI. An error names the
// file.
func (v values) files() ([]File, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	var files []File
	for _, name := range v.systems() {
		tree, err := v.render(systems, name)
		if err != nil {
			return nil, err
		}
		files = append(files, tree...)
	}
	for i, f := range v.PKI {
		file := File{Path: f.Path, Content: v.Inputs.PKI[i], Mode: 0o644}
		if f.Part == cluster.PartPrivateKey {
			file.Content, file.Mode = withoutPublicKey(file.Content), 0o600
		}
		files = append(files, file)
	}

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

// systems returns the names of the trees of the machine, in order.
func (v values) systems() []string {
	names := []string{"base", "os-packages"}
	if len(v.Plan.NTPServers) > 0 {
		names = append(names, "ntp")
	}
	if v.Plan.Artifacts.CACertificate != "" {
		names = append(names, "artifacts-ca")
	}
	if len(v.Artifacts) > 0 {
		names = append(names, "artifacts")
		if v.Plan.Artifacts.Username != "" {
			names = append(names, "artifacts-credentials")
		}
	}
	if len(v.Plan.ProxyVariables()) > 0 {
		names = append(names, "proxy")
	}
	switch v.Role {
	case cluster.RoleEtcd:
		names = append(names, "etcd")
		if v.Plan.Etcd.Volume.Device != "" {
			names = append(names, "etcd-volume-link")
		}
		if v.Plan.Etcd.Backup.Container != "" {
			names = append(names, "etcd-backup")
			if v.Plan.OpenStack.CACertificate != "" {
				names = append(names, "etcd-backup-ca")
			}
		}
	case cluster.RoleControlPlane, cluster.RoleWorker:
		names = append(names, "haproxy", "etcd-proxy", "api-proxy", "metadata-filter", "containerd", "kubelet",
			"kube-proxy", "calico-node", "node-drain")
		if v.Plan.Calico.Encapsulation != cluster.NoEncapsulation {
			names = append(names, "calico-tunnels")
		}
	}
	if v.Plan.Monitoring.Enabled {
		names = append(names, "machine-metrics")
	}
	switch v.Role {
	case cluster.RoleWorker:
		names = append(names, "calico-credential") // control planes get the credential from user-data
	case cluster.RoleControlPlane:
		names = append(names, "calico-resources", "kube-apiserver", "kube-controller-manager", "kube-scheduler",
			"cluster-resources", "node-approver")
		if v.VirtualIP != nil {
			names = append(names, "api-vip")
		}
		if v.Plan.Tenancy.Enabled {
			names = append(names, "keystone-auth", "keystone-webhook", "kube-apiserver-spare", "tenant-sync")
			if v.Plan.OpenStack.CACertificate != "" {
				names = append(names, "keystone-ca")
			}
		}
	}
	return names
}

// proxied returns the services of the machine that connect to other hosts through the proxy.
func (v values) proxied() []string {
	names := []string{"artifacts", "os-packages"}
	switch {
	case v.Role == cluster.RoleEtcd && v.Plan.Etcd.Backup.Container != "":
		names = append(names, "etcd", "etcd-backup") // etcd-join runs etcd-backup
	case v.Role == cluster.RoleControlPlane && v.Plan.Tenancy.Enabled:
		names = append(names, "containerd", "tenant-sync")
	case v.Role != cluster.RoleEtcd:
		names = append(names, "containerd")
	}
	return names
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check returns an error for missing inputs, and for an artifact that artifacts.list cannot hold. Spaces
// separate its fields, and xargs interprets quotes.
func (v values) check() error {
	if v.ID == "" {
		return fmt.Errorf("machine without a hostname")
	}
	if len(v.Inputs.PKI) != len(v.PKI) {
		return fmt.Errorf("%d PKI files, but the contents of %d", len(v.PKI), len(v.Inputs.PKI))
	}
	for _, a := range v.Artifacts {
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
func (v values) render(from fs.FS, system string) ([]File, error) {
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
			files = append(files, File{Path: target, Content: stripComments(string(text)), Mode: mode(target)})
			return nil
		}
		switch {
		case strings.Contains(target, "{registry}"):
			for _, mirror := range v.registryMirrors() {
				if err := land(strings.ReplaceAll(target, "{registry}", mirror.Registry), mirror); err != nil {
					return err
				}
			}
		case strings.Contains(target, "{proxied}"):
			for _, service := range v.proxied() {
				if err := land(strings.ReplaceAll(target, "{proxied}", service), v); err != nil {
					return err
				}
			}
		default:
			return land(target, v)
		}
		return nil
	})
	return files, err
}

// functions are the functions that templates can call, in addition to those of package strict.
var functions = template.FuncMap{
	"base64": func(s cluster.Secret) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
}

// parsed caches templates by name and text, because machines differ only in their values.
var parsed sync.Map

func execute(name string, content []byte, values any) ([]byte, error) {
	key := [2]string{name, string(content)}
	t, ok := parsed.Load(key)
	if !ok {
		made, err := strict.Parse(name, string(content), functions)
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
	case "sudoers.d":
		return 0o440
	}
	if strings.HasPrefix(target, "/usr/libexec/") {
		return 0o755
	}
	if strings.HasPrefix(target, "/etc/kubernetes/") && path.Ext(target) != ".crt" && path.Ext(target) != ".pub" ||
		target == "/etc/etcd/backup.env" || target == "/etc/artifacts/.curlrc" {
		return 0o600
	}
	return 0o644
}
