package k8s

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/tests/selinux"
)

// TestSELinuxAllowsAllPods checks that SELinux in CentOS Stream 9 denies no pod anything that it needs, and that only
// the containers that need it are not confined.
func TestSELinuxAllowsAllPods(t *testing.T) {
	manifests := map[string]string{}
	for _, provider := range []string{cluster.SkyDNS, cluster.CoreDNS} {
		config := small(t)
		config.DNS.Provider = provider
		plan := cluster.NewPlan(config)
		for _, m := range []manifest{kubeControllers(plan), cloudControllerManager(plan), dns(plan), metricsServer(plan),
			snapshots(plan), cinderCSI(plan), storageClasses(plan), monitoring(plan)} {
			text, err := m.text()
			require.NoError(t, err)
			manifests[m.name] = text
		}
	}
	files, err := templates.ReadDir(".")
	require.NoError(t, err)
	for _, f := range files {
		if name, isManifest := strings.CutSuffix(f.Name(), ".yaml.tmpl"); isManifest {
			require.Contains(t, manifests, name)
		}
	}
	// all others with pods: of examples and tests
	require.NoError(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "\nkind: ") && !strings.Contains(path, "templates") {
			manifests[path] = string(text)
		}
		return err
	}))
	require.Contains(t, manifests, "../tests/testdata/sanity.yaml")
	for name, text := range manifests {
		denials, err := selinux.Pods(text)
		require.NoError(t, err, name)
		for _, d := range denials {
			assert.Fail(t, d.String(), name)
		}
	}
}

// TestSELinuxDeniesPods checks that the policy finds each fault, so that TestSELinuxAllowsAllPods can fail.
func TestSELinuxDeniesPods(t *testing.T) {
	text, err := cinderCSI(cluster.NewPlan(small(t))).text()
	require.NoError(t, err)
	const node = "DaemonSet csi-cinder-node/"
	for name, fault := range map[string]struct {
		old, replacement string
		denials          []string
	}{
		"confined sidecars": {"type: spc_t", "level: s0", []string{
			node + "node-driver-registrar: /var/lib/kubelet/plugins_registry: " +
				"container_t may not create a sock_file of container_var_lib_t",
			node + "node-driver-registrar: /var/lib/kubelet/plugins/cinder.csi.openstack.org: " +
				"container_t may not write a sock_file of container_var_lib_t",
			node + "liveness-probe: /var/lib/kubelet/plugins/cinder.csi.openstack.org: " +
				"container_t may not write a sock_file of container_var_lib_t",
		}},
		"a driver without privileges": {"privileged: true", "privileged: false", []string{
			node + "cinder-csi-plugin: /var/lib/kubelet: container_t may not write a sock_file of container_var_lib_t",
		}},
		"another path of the node": {"path: /dev\n", "path: /srv\n", []string{
			node + "cinder-csi-plugin: /srv: the label of this dir is unknown: add its rule from file_contexts to labels.csv",
		}},
		"another port": {"127.0.0.1:9808", "127.0.0.1:9809", []string{
			node + "liveness-probe: port 9809: the type of this port is unknown: add it to ports.csv",
		}},
		"a container that needs no privileges": {"allowPrivilegeEscalation: false",
			"allowPrivilegeEscalation: false\n            seLinuxOptions: {type: spc_t}", []string{
				"Deployment csi-cinder-controller/csi-attacher: seLinuxOptions: container_t is enough, got spc_t",
			}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, text, fault.old)
			denials, err := selinux.Pods(strings.ReplaceAll(text, fault.old, fault.replacement))
			require.NoError(t, err)
			var found []string
			for _, d := range denials {
				found = append(found, d.String())
			}
			for _, d := range fault.denials {
				assert.Contains(t, found, d)
			}
		})
	}
}
