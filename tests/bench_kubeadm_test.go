//go:build e2e

package tests

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/template"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
)

// kubeadm is a cluster that kubeadm makes of the machines of a Plan, in the place of ours: the same network, addresses,
// names and flavors. Its etcd machines have our user-data, so the difference is in Kubernetes. Its nodes have what ours have
// of the trees below, and kubeadm's files in testdata/bench instead of the rest.
type kubeadm struct {
	cloud
	plan cluster.Plan
	// ours is the user-data that our machines had, by name, and userData what kubeadm's have.
	ours, userData map[string][]byte
	// ca is our cluster's authority, which kubeadm takes for its own: whoever has our kubeconfig may use its API.
	ca, caKey string

	checksum              string // of the program kubeadm
	token, certificateKey string
	floatingIP            string
	mutex                 sync.Mutex
}

var kubeadmTrees = []string{"base", "os-packages", "artifacts", "containerd"}

// newKubeadm makes it of the state of a stack with our cluster.
func newKubeadm(b *testing.B, c cloud, plan cluster.Plan, s state) *kubeadm {
	b.Helper()
	k := &kubeadm{cloud: c, plan: plan, ours: s.userData(b), userData: map[string][]byte{}}
	k.ca = s.texts(b, "tls:index/selfSignedCert:SelfSignedCert", "certPem")[plan.Name+"-"+cluster.KubernetesCA]
	k.caKey = s.texts(b, "tls:index/privateKey:PrivateKey", "privateKeyPem")[plan.Name+"-"+cluster.KubernetesCA]
	require.NotEmpty(b, k.ca)
	require.NotEmpty(b, k.caKey)
	program, err := os.ReadFile(dirs.Mirror("dl.k8s.io/release/v"+plan.Kubernetes.Version, "bin/linux/amd64/kubeadm"))
	require.NoError(b, err)
	k.checksum = fmt.Sprintf("%x", sha256.Sum256(program))
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	k.certificateKey = hex.EncodeToString(random)
	k.token = k.certificateKey[:6] + "." + k.certificateKey[6:22]
	return k
}

// create asks for everything, side by side where nothing depends on the other, and returns when all has been asked for and
// the volumes are attached.
func (k *kubeadm) create(ctx context.Context) error {
	name, yes := k.plan.Name, true
	var network, subnet, router string
	groups := map[cluster.Role]string{}
	volumes, ports, flavorIDs := map[string]string{}, map[string]string{}, map[string]string{}

	err := parallel(
		func() (err error) {
			if network, err = k.id(ctx, "networks", object{"name": name}); err != nil {
				return err
			}
			subnet, err = k.id(ctx, "subnets", object{"name": name, "network_id": network, "ip_version": 4, "cidr": k.plan.Network.CIDR,
				"gateway_ip": k.plan.Gateway, "allocation_pools": []object{{"start": k.plan.NeutronFirst, "end": k.plan.NeutronLast}}})
			return err
		},
		func() (err error) {
			router, err = k.id(ctx, "routers", object{"name": name, "external_gateway_info": object{"network_id": k.plan.Network.External.ID}})
			return err
		},
		each(cluster.Roles, func(role cluster.Role) error {
			id, err := k.id(ctx, "security-groups", object{"name": name + "-" + string(role)})
			k.set(func() { groups[role] = id })
			return err
		}),
		each(k.plan.WithRole(cluster.RoleEtcd), func(m cluster.Machine) error {
			id, err := k.id(ctx, "volumes", object{"name": m.ID, "size": k.plan.Etcd.Volume.Size})
			k.set(func() { volumes[m.ID] = id })
			return err
		}),
		func() error {
			pages, err := flavors.ListDetail(k.clients["compute"], nil).AllPages(ctx)
			if err != nil {
				return err
			}
			all, err := flavors.ExtractFlavors(pages)
			for _, flavor := range all {
				flavorIDs[flavor.Name] = flavor.ID
			}
			return err
		},
	)
	if err != nil {
		return err
	}
	err = parallel(
		each(k.plan.Rules, func(rule cluster.Rule) error {
			fields := object{"security_group_id": groups[rule.To], "direction": "ingress", "ethertype": "IPv4", "remote_ip_prefix": rule.From}
			if rule.Protocol != "" {
				fields["protocol"] = rule.Protocol
			}
			if rule.Port != 0 {
				fields["port_range_min"], fields["port_range_max"] = rule.Port, rule.Port
			}
			_, err := k.id(ctx, "security-group-rules", fields)
			return err
		}),
		each(k.plan.Machines, func(m cluster.Machine) error {
			fields := object{"name": m.ID, "network_id": network, "security_groups": []string{groups[m.Role]},
				"fixed_ips": []object{{"subnet_id": subnet, "ip_address": m.Address}}}
			if m.Role != cluster.RoleEtcd {
				fields["allowed_address_pairs"] = []object{{"ip_address": k.plan.Network.PodCIDR}, {"ip_address": k.plan.Network.ServiceCIDR}}
			}
			id, err := k.id(ctx, "ports", fields)
			k.set(func() { ports[m.ID] = id })
			return err
		}),
		func() error {
			client := k.clients["network"]
			_, err := client.Put(ctx, client.ServiceURL("routers", router, "add_router_interface"), object{"subnet_id": subnet}, nil,
				&gophercloud.RequestOpts{OkCodes: []int{200}})
			return err
		},
	)
	if err != nil {
		return err
	}
	ip, err := k.cloud.create(ctx, "floatingips", object{"floating_network_id": k.plan.Network.External.ID, "port_id": ports[k.first().ID]})
	if err != nil {
		return err
	}
	k.floatingIP = ip["floating_ip_address"].(string)

	return each(k.plan.Machines, func(m cluster.Machine) error {
		data, err := k.pack(m, volumes[m.ID])
		if err != nil {
			return err
		}
		server, err := servers.Create(ctx, k.clients["compute"], servers.CreateOpts{Name: m.ID, ImageRef: k.plan.Image.ID,
			FlavorRef: flavorIDs[m.Flavor], Networks: []servers.Network{{Port: ports[m.ID]}}, ConfigDrive: &yes, UserData: data}, nil).Extract()
		if err != nil || m.Role != cluster.RoleEtcd {
			return err
		}
		if err := servers.WaitForStatus(ctx, k.clients["compute"], server.ID, "ACTIVE"); err != nil {
			return err
		}
		return volumeattach.Create(ctx, k.clients["compute"], server.ID, volumeattach.CreateOpts{VolumeID: volumes[m.ID]}).Err
	})()
}

// first is the control plane that kubeadm init runs on; all others join it.
func (k *kubeadm) first() cluster.Machine { return k.plan.WithRole(cluster.RoleControlPlane)[0] }

// id creates, and gives the ID alone.
func (k *kubeadm) id(ctx context.Context, kind string, fields object) (string, error) {
	created, err := k.cloud.create(ctx, kind, fields)
	id, _ := created["id"].(string)
	return id, err
}

func (k *kubeadm) set(f func()) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	f()
}

func parallel(functions ...func() error) error {
	var group errgroup.Group
	for _, f := range functions {
		group.Go(f)
	}
	return group.Wait()
}

// each is f for every element, side by side.
func each[T any](list []T, f func(T) error) func() error {
	var functions []func() error
	for _, element := range list {
		functions = append(functions, func() error { return f(element) })
	}
	return func() error { return parallel(functions...) }
}

// pack is a machine's user-data.
func (k *kubeadm) pack(m cluster.Machine, volume string) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(k.ours[m.ID]))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	if m.Role == cluster.RoleEtcd {
		text = volumeID.ReplaceAll(text, []byte("VOLUME_ID="+volume))
	} else if text, err = k.cloudConfig(m, text); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	writer, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := writer.Write(text); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	k.set(func() { k.userData[m.ID] = out.Bytes() })
	return out.Bytes(), nil
}

var volumeID = regexp.MustCompile(`VOLUME_ID=[0-9a-f-]{36}`)

// cloudConfig is ours of the same machine, with kubeadm's files for those of our trees that it has no use for.
func (k *kubeadm) cloudConfig(m cluster.Machine, ours []byte) ([]byte, error) {
	var config map[string]any
	var parts struct {
		WriteFiles []writtenFile `json:"write_files"`
	}
	if err := errors.Join(yaml.Unmarshal(ours, &config), yaml.Unmarshal(ours, &parts)); err != nil {
		return nil, err
	}
	var files []writtenFile
	for _, file := range parts.WriteFiles {
		switch {
		case file.Path == "/etc/artifacts.list":
			file.Content = k.withKubeadm(file.Content)
			files = append(files, file)
		case ofTrees(file.Path), k.isFirst(m) && ofEtcdClient(file.Path):
			files = append(files, file)
		}
	}
	own, err := k.files(m)
	if err != nil {
		return nil, err
	}
	files = append(files, own...)
	command := []string{"/usr/local/sbin/first-boot"}
	for _, file := range files {
		if path.Dir(file.Path) == "/etc/systemd/system" {
			command = append(command, path.Base(file.Path))
		}
	}
	config["write_files"], config["runcmd"] = files, [][]string{command}
	text, err := yaml.Marshal(config)
	return append([]byte("#cloud-config\n"), text...), err
}

func (k *kubeadm) isFirst(m cluster.Machine) bool { return m.ID == k.first().ID }

// ofTrees tells whether one of kubeadmTrees has the file.
func ofTrees(name string) bool {
	if strings.Contains(name, "bootstrap-report") { // it waits for our services
		return false
	}
	if strings.HasPrefix(name, "/etc/containerd/certs.d/") {
		return true
	}
	return slices.ContainsFunc(kubeadmTrees, func(tree string) bool {
		_, err := os.Stat("../templates/" + tree + name)
		_, templateErr := os.Stat("../templates/" + tree + name + ".tmpl")
		return err == nil || templateErr == nil
	})
}

// ofEtcdClient tells whether the file is one that an apiserver shows to etcd, or checks etcd by.
func ofEtcdClient(name string) bool {
	return strings.HasPrefix(name, "/etc/kubernetes/pki/apiserver-etcd-client.") || name == "/etc/kubernetes/pki/etcd/ca.crt"
}

// withKubeadm is our list of downloads without what kubeadm's nodes run as containers or not at all, and with kubeadm.
func (k *kubeadm) withKubeadm(list string) string {
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

// files are kubeadm's own on a machine.
func (k *kubeadm) files(m cluster.Machine) ([]writtenFile, error) {
	var files []writtenFile
	if k.isFirst(m) {
		files = append(files, writtenFile{"/etc/kubernetes/pki/ca.crt", "0644", k.ca}, writtenFile{"/etc/kubernetes/pki/ca.key", "0600", k.caKey})
	}
	block, _ := pem.Decode([]byte(k.ca))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	var etcd []string
	for _, member := range k.plan.WithRole(cluster.RoleEtcd) {
		etcd = append(etcd, fmt.Sprintf("https://%s:%d", member.Address, cluster.EtcdClientPort))
	}
	values := object{
		"Init":           k.isFirst(m),
		"ControlPlane":   m.Role == cluster.RoleControlPlane,
		"Address":        m.Address,
		"Endpoint":       fmt.Sprintf("%s:%d", k.first().Address, cluster.APIPort),
		"FloatingIP":     k.floatingIP,
		"Version":        k.plan.Kubernetes.Version,
		"PodCIDR":        k.plan.Network.PodCIDR,
		"ServiceCIDR":    k.plan.Network.ServiceCIDR,
		"Etcd":           etcd,
		"Token":          k.token,
		"CertificateKey": k.certificateKey,
		"CAHash":         fmt.Sprintf("sha256:%x", sha256.Sum256(certificate.RawSubjectPublicKeyInfo)),
	}
	const tree = "testdata/bench"
	err = fs.WalkDir(os.DirFS(tree), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		t, err := template.New(path.Base(name)).Option("missingkey=error").ParseFiles(path.Join(tree, name))
		if err != nil {
			return err
		}
		var content strings.Builder
		mode := "0644"
		if path.Base(path.Dir(name)) == "sbin" {
			mode = "0755"
		}
		err = t.Execute(&content, values)
		files = append(files, writtenFile{"/" + strings.TrimSuffix(name, ".tmpl"), mode, content.String()})
		return err
	})
	return files, err
}

// wait waits for all of its nodes.
func (k *kubeadm) wait(b *testing.B, client *kubernetes.Clientset) {
	b.Helper()
	eventually(b, k.plan.BootstrapTimeout, func() error {
		waiting, err := (&api{client: client}).notReady(len(k.plan.Machines) - k.plan.Etcd.Count)
		if err == nil && waiting != "" {
			err = errors.New(waiting)
		}
		return err
	})
}

// log shows what its machines say.
func (k *kubeadm) log(b *testing.B, e *engine) {
	for _, m := range k.plan.Machines {
		out, err := e.shell(`exec go run ./devcloud exec "$1" -- journalctl --no-pager --lines 60 -u artifacts -u etcd -u containerd -u kubeadm -u kubelet`,
			m.ID).CombinedOutput()
		b.Logf("%s: %v\n%s", m.ID, err, out)
	}
}

// sizes is the table of the largest user-data of each role.
func (k *kubeadm) sizes() string {
	largest := func(all map[string][]byte, role cluster.Role) (size int) {
		for _, m := range k.plan.WithRole(role) {
			size = max(size, len(all[m.ID]))
		}
		return size
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%-36s %8s %8s\n", "Bytes of user-data, gzipped", "ours", "kubeadm")
	for _, role := range cluster.Roles {
		fmt.Fprintf(&out, "%-36s %8d %8d\n", role, largest(k.ours, role), largest(k.userData, role))
	}
	return out.String()
}
