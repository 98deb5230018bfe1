package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// golden returns the files of a role's machine.
func golden(t *testing.T, role string) map[string]file {
	t.Helper()
	text, err := os.ReadFile("../../templates/testdata/" + role + ".yaml")
	require.NoError(t, err)
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err = w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	all, err := files(zipped.Bytes())
	require.NoError(t, err)
	return all
}

func changed(all map[string]file, p string) map[string]file {
	old := all[p]
	old.Content += "# an older line\n"
	before := map[string]file{p: old}
	for _, f := range all {
		if f.Path != p {
			before[f.Path] = f
		}
	}
	return before
}

// TestCompare checks that a changed file restarts the units that use it, and no others.
func TestCompare(t *testing.T) {
	for _, row := range []struct {
		role, path string
		want       changes
	}{
		{"worker", "/etc/haproxy/haproxy.cfg", changes{restart: []string{"api-proxy.service", "etcd-proxy.service"}}},
		{"worker", "/etc/haproxy/api.cfg", changes{restart: []string{"api-proxy.service"}}},
		{"worker", "/etc/systemd/system/kubelet.service",
			changes{enable: []string{"kubelet.service"}, restart: []string{"kubelet.service"}}},
		{"worker", "/usr/local/sbin/install-cni-config", changes{restart: []string{"calico-felix.service"}}},
		{"worker", "/usr/local/sbin/node-drain", changes{atStop: []string{"node-drain.service"}}},
		{"worker", "/etc/containerd/config.toml", changes{tryRestart: []string{"containerd.service"}}},
		{"worker", "/etc/systemd/system/systemd-sysctl.service.d/kubernetes.conf",
			changes{tryRestart: []string{"systemd-sysctl.service"}}},
		{"worker", "/usr/local/sbin/check-node", changes{}},
		// scheduler.yaml names it
		{"control-plane", "/etc/kubernetes/scheduler.conf", changes{restart: []string{"kube-scheduler.service"}}},
		// the unit names its folder
		{"control-plane", "/etc/kubernetes/cluster/rbac.yaml", changes{restart: []string{"cluster-resources.service"}}},
		// a timer starts the unit
		{"control-plane", "/etc/kubernetes/tenant-sync.conf", changes{tryRestart: []string{"tenant-sync.service"}}},
		{"etcd-backup", "/etc/systemd/system/etcd-backup.timer",
			changes{enable: []string{"etcd-backup.timer"}, restart: []string{"etcd-backup.timer"}}},
	} {
		all := golden(t, row.role)
		require.Contains(t, all, row.path)
		row.want.write = []file{all[row.path]}
		assert.Equal(t, row.want, compare(changed(all, row.path), all), row.path)
	}
	assert.True(t, compare(golden(t, "worker"), golden(t, "worker")).empty())
}

// TestFilesWithoutUnit lists the files that need no restart: programs read them at each use, or the files
// themselves are started each time. Any other file that no unit uses must be in readers.
func TestFilesWithoutUnit(t *testing.T) {
	var unused []string
	for _, role := range []string{"etcd", "etcd-backup", "control-plane", "worker"} {
		all := golden(t, role)
		for p := range all {
			if c := compare(changed(all, p), all); len(c.restart)+len(c.tryRestart)+len(c.atStop) == 0 {
				unused = append(unused, p)
			}
		}
	}
	slices.Sort(unused)
	assert.Equal(t, []string{
		"/etc/NetworkManager/conf.d/calico.conf", // devcloud's machines have no NetworkManager
		"/etc/calico/calicoctl.cfg", "/etc/containerd/certs.d/registry.k8s.io/hosts.toml", "/etc/etcd/backup.env",
		"/etc/etcd/openstack-ca.crt", "/etc/etcd/pki/client.crt", "/etc/etcd/pki/client.key",
		"/etc/multipath/conf.d/kubernetes.conf", // nor multipathd
		"/etc/profile.d/etcdctl.sh", "/etc/profile.d/kubectl.sh",
		"/etc/sudoers.d/etcdctl", "/etc/sudoers.d/kubectl", "/etc/sudoers.d/kubernetes",
		"/etc/systemd/networkd.conf.d/kubernetes.conf", // nor systemd-networkd
		"/opt/calico/bin/sv",
		"/usr/local/sbin/check-calico-bird", "/usr/local/sbin/check-calico-peers", "/usr/local/sbin/check-etcd",
		"/usr/local/sbin/check-keystone-webhook", "/usr/local/sbin/check-kube-controller-manager",
		"/usr/local/sbin/check-kube-scheduler",
		"/usr/local/sbin/check-node", // bootstrap-report builds these names from its steps' names
		"/usr/local/sbin/first-boot",
	}, slices.Compact(unused))
}

func TestAddedAndRemovedUnits(t *testing.T) {
	unit := func(name, text string) file { return file{Path: "/etc/systemd/system/" + name, Content: text} }
	old := unit("old.service", "[Service]\nExecStart=/usr/local/sbin/old\n[Install]\n")
	new := unit("new.service", "[Service]\nExecStart=/usr/local/sbin/new\n[Install]\n")
	program := file{Path: "/usr/local/sbin/new", Permissions: "0755", Content: "secret"}
	c := compare(map[string]file{old.Path: old}, map[string]file{new.Path: new, program.Path: program})
	assert.Equal(t, `write /etc/systemd/system/new.service
write /usr/local/sbin/new
remove /etc/systemd/system/old.service
restart new.service
`, c.String())
	assert.Equal(t, "systemctl disable --quiet --now old.service && rm -f /etc/systemd/system/old.service && "+
		"tar --extract --no-same-owner --directory / && systemctl daemon-reload && "+
		"systemctl enable --quiet new.service && systemctl restart new.service", c.script())

	packed, err := pack(c.write)
	require.NoError(t, err)
	archive := tar.NewReader(bytes.NewReader(packed))
	for _, want := range c.write {
		header, err := archive.Next()
		require.NoError(t, err)
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		assert.Equal(t, want.Path, "/"+header.Name)
		assert.Equal(t, want.Content, string(content))
		assert.Equal(t, want.Permissions == "0755", header.Mode == 0o755)
	}
	_, err = archive.Next()
	assert.ErrorIs(t, err, io.EOF)
}
