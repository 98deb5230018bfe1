package k8s

import (
	"os"
	"regexp"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernetes-openstack/cluster"
)

// namedParts is a PKI whose texts are the names of their parts.
type namedParts struct{}

func (namedParts) Part(of string, part cluster.Part) pulumi.StringOutput {
	return pulumi.String(string(part) + " of " + of).ToStringOutput()
}

// TestMetricsServerHasCertificates checks that each connection from and to metrics-server is verified: its Secret and
// its APIService name the certificates, its arguments name all files of the Secret, and nothing is insecure.
func TestMetricsServerHasCertificates(t *testing.T) {
	plan := cluster.NewPlan(small(t))
	objects, err := metricsServerObjects(plan, namedParts{})
	require.NoError(t, err)
	require.Equal(t, "Secret", objects[0]["kind"])
	text, err := metricsServer(plan).text()
	require.NoError(t, err)
	for file := range objects[0]["data"].(map[string]any) {
		assert.Contains(t, text, "=/etc/metrics-server/"+file+"\n")
	}
	assert.NotRegexp(t, `(?i)insecure`, text)

	last := objects[len(objects)-1]
	require.Equal(t, "APIService", last["kind"])
	service, _, err := unstructured.NestedStringMap(last, "spec", "service")
	require.NoError(t, err)
	var names []string
	for _, c := range plan.Certificates {
		if c.Name == cluster.MetricsServerCertificate {
			assert.Equal(t, cluster.KubernetesCA, c.Authority)
			names = c.DNSNames
		}
	}
	assert.Equal(t, []string{service["name"] + "." + service["namespace"] + ".svc"}, names)
	assert.Contains(t, last["spec"], "caBundle")
}

// TestMetricsServerVersion checks that the development cluster pulls the version that the toolchain builds.
func TestMetricsServerVersion(t *testing.T) {
	module, err := os.ReadFile("../hack/toolchain/metrics-server/go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`sigs.k8s.io/metrics-server (v\S+)`).FindSubmatch(module)
	require.NotNil(t, version)
	text, err := metricsServer(cluster.NewPlan(small(t))).text()
	require.NoError(t, err)
	assert.Contains(t, text, "image: registry.k8s.io/metrics-server/metrics-server:"+string(version[1])+"\n")
}

func TestMetricsServerGrowsWithTheCluster(t *testing.T) {
	config := small(t) // 2 control planes
	for workers, want := range map[int][]string{1: {"cpu: 100m", "memory: 200Mi"}, 398: {"cpu: 400m", "memory: 800Mi"}} {
		config.Pools[0].Count = workers
		text, err := metricsServer(cluster.NewPlan(config)).text()
		require.NoError(t, err)
		for _, request := range want {
			assert.Contains(t, text, request)
		}
	}
}
