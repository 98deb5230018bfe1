package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"embed"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"text/template"

	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
)

// machine holds the files of kubeadm's nodes. The nodes also have our files of the trees below.
//
//go:embed machine
var machine embed.FS

var trees = []string{"base", "os-packages", "artifacts", "containerd"}

// file is an entry of cloud-init's write_files.
type file struct {
	Path        string `json:"path"`
	Permissions string `json:"permissions,omitempty"` // empty: cloud-init's default
	Content     string `json:"content"`
}

// userData converts the user-data of one of our nodes to kubeadm's. It returns the result gzipped and in
// base64.
func (k *kubeadm) userData(m cluster.Machine, ours, ca, caKey string) (string, error) {
	text, err := unpack(ours)
	if err != nil {
		return "", err
	}
	var config map[string]any
	var parts struct {
		WriteFiles []file `json:"write_files"`
	}
	if err := errors.Join(yaml.Unmarshal(text, &config), yaml.Unmarshal(text, &parts)); err != nil {
		return "", err
	}
	files, err := k.files(m, ca, caKey)
	if err != nil {
		return "", err
	}
	for _, f := range parts.WriteFiles {
		if f.Path == "/etc/artifacts.list" {
			f.Content = k.artifacts(f.Content)
		}
		if ofTrees(f.Path) || k.isFirst(m) && ofEtcdClient(f.Path) {
			files = append(files, f)
		}
	}
	command := []string{"/usr/local/sbin/first-boot"}
	for _, f := range files {
		if path.Dir(f.Path) == "/etc/systemd/system" {
			command = append(command, path.Base(f.Path))
		}
	}
	config["write_files"], config["runcmd"] = files, [][]string{command}
	delete(config, "bootcmd") // kubeadm's users use runcmd
	if text, err = yaml.Marshal(config); err != nil {
		return "", err
	}
	return pack(append([]byte("#cloud-config\n"), text...))
}

func unpack(userData string) ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(userData)
	if err != nil {
		return nil, err
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

func pack(text []byte) (string, error) {
	var out bytes.Buffer
	writer, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	_, err = writer.Write(text)
	err = errors.Join(err, writer.Close())
	return base64.StdEncoding.EncodeToString(out.Bytes()), err
}

// isFirst returns true if m runs kubeadm init. All other nodes run kubeadm join.
func (k *kubeadm) isFirst(m cluster.Machine) bool {
	return m.ID == k.plan.WithRole(cluster.RoleControlPlane)[0].ID
}

// ofTrees returns true if one of the trees contains the file.
func ofTrees(name string) bool {
	if strings.Contains(name, "bootstrap-report") { // it waits for our services
		return false
	}
	if strings.HasPrefix(name, "/etc/containerd/certs.d/") {
		return true
	}
	return slices.ContainsFunc(trees, func(tree string) bool {
		_, err := os.Stat("../../templates/" + tree + name)
		_, templateErr := os.Stat("../../templates/" + tree + name + ".tmpl")
		return err == nil || templateErr == nil
	})
}

// ofEtcdClient returns true for the files with which an API server connects to etcd: its client certificate
// and key, and etcd's authority.
func ofEtcdClient(name string) bool {
	return strings.HasPrefix(name, "/etc/kubernetes/pki/apiserver-etcd-client.") ||
		name == "/etc/kubernetes/pki/etcd/ca.crt"
}

// artifacts returns our list of downloads without the programs that kubeadm's nodes run in containers or not
// at all. It adds kubeadm.
func (k *kubeadm) artifacts(list string) string {
	var out strings.Builder
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		switch fields[0] {
		case "containerd", "runc", "cni-plugins", "kubectl":
			out.WriteString(line)
		case "kubelet":
			out.WriteString(line + strings.NewReplacer(fields[1], k.checksum, "kubelet", "kubeadm").Replace(line))
		}
	}
	return out.String()
}

// sha256Of returns the checksum of a file of a Kubernetes release on devcloud's mirror.
func sha256Of(name, version string) (string, error) {
	content, err := os.ReadFile(dirs.Mirror("dl.k8s.io/release/v"+version, name))
	return fmt.Sprintf("%x", sha256.Sum256(content)), err
}

// files returns kubeadm's own files for a machine.
func (k *kubeadm) files(m cluster.Machine, ca, caKey string) ([]file, error) {
	var files []file
	if k.isFirst(m) {
		files = append(files, file{"/etc/kubernetes/pki/ca.crt", "0644", ca},
			file{"/etc/kubernetes/pki/ca.key", "0600", caKey})
	}
	block, _ := pem.Decode([]byte(ca))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	var etcd []string
	for _, member := range k.plan.WithRole(cluster.RoleEtcd) {
		etcd = append(etcd, fmt.Sprintf("https://%s:%d", member.Address, cluster.EtcdClientPort))
	}
	values := map[string]any{
		"Init":           k.isFirst(m),
		"ControlPlane":   m.Role == cluster.RoleControlPlane,
		"Address":        m.Address,
		"APIAddress":     k.plan.API.Address,
		"Endpoint":       fmt.Sprintf("%s:%d", k.plan.API.Address, cluster.APIPort),
		"Version":        k.plan.Kubernetes.Version,
		"PodCIDR":        k.plan.Network.PodCIDR,
		"ServiceCIDR":    k.plan.Network.ServiceCIDR,
		"Etcd":           etcd,
		"Token":          k.token,
		"CertificateKey": k.certificateKey,
		"CAHash":         fmt.Sprintf("sha256:%x", sha256.Sum256(certificate.RawSubjectPublicKeyInfo)),
	}
	const root = "machine"
	err = fs.WalkDir(machine, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		t, err := template.New(path.Base(name)).Option("missingkey=error").ParseFS(machine, name)
		if err != nil {
			return err
		}
		var content strings.Builder
		mode := "0644"
		if path.Base(path.Dir(name)) == "sbin" {
			mode = "0755"
		}
		err = t.Execute(&content, values)
		files = append(files, file{strings.TrimSuffix(strings.TrimPrefix(name, root), ".tmpl"), mode, content.String()})
		return err
	})
	return files, err
}
