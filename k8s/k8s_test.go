package k8s

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
)

// TestDeploy in the folder tests checks the manifests against a real API server.

func small(t *testing.T) cluster.Config {
	t.Helper()
	text, err := os.ReadFile("../cluster/testdata/small.yaml")
	require.NoError(t, err)
	object, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	config, err := cluster.Decode("test", string(object))
	require.NoError(t, err)
	return config
}

// TestObjects checks that objects have the names and tokens that Pulumi's own SDK uses.
func TestObjects(t *testing.T) {
	var got []string
	config := small(t)
	config.DNS.Provider = cluster.CoreDNS
	objects, err := dns(cluster.NewPlan(config)).objects()
	require.NoError(t, err)
	for _, o := range objects {
		got = append(got, o.token()+" "+o.name())
	}
	assert.Equal(t, []string{
		"kubernetes:core/v1:ServiceAccount kube-system/coredns",
		"kubernetes:rbac.authorization.k8s.io/v1:ClusterRole system:coredns",
		"kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding system:coredns",
		"kubernetes:core/v1:ConfigMap kube-system/coredns",
		"kubernetes:apps/v1:Deployment kube-system/coredns",
		"kubernetes:core/v1:Service kube-system/kube-dns",
		"kubernetes:policy/v1:PodDisruptionBudget kube-system/kube-dns",
	}, got)
}

// TestDrainsEvictUnreadyPods checks all PodDisruptionBudgets. Otherwise a node with an unready pod could not be drained
// while another pod of the same workload is unready, too.
func TestDrainsEvictUnreadyPods(t *testing.T) {
	files, err := fs.Glob(templates, "*.tmpl")
	require.NoError(t, err)
	found := 0
	for _, f := range files {
		text, err := templates.ReadFile(f)
		require.NoError(t, err)
		for _, object := range strings.Split(string(text), "\n---\n") {
			if strings.Contains(object, "kind: PodDisruptionBudget\n") {
				found++
				assert.Contains(t, object, "\n  unhealthyPodEvictionPolicy: AlwaysAllow\n", f)
			}
		}
	}
	assert.Equal(t, 3, found)
}
