package tests

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/tests/golden"
)

// TestPolicy checks the ABAC policy file that control planes of the development cluster would have for the
// example's cloud.
func TestPolicy(t *testing.T) {
	t.Parallel()
	config, err := cluster.Decode("dev",
		edited(t, "../Pulumi.dev.yaml", patched(t, "abac.yaml"))["kubernetes-openstack:cluster"])
	require.NoError(t, err)
	text, err := os.ReadFile("../internal/tenancy/testdata/example.yaml")
	require.NoError(t, err)
	var cloud tenancy.KeystoneSnapshot
	require.NoError(t, yaml.UnmarshalStrict(text, &cloud))

	plan, err := tenancy.NewPlan(cloud, cluster.NewPlan(config).Tenancy.Settings, []corev1.Namespace{})
	require.NoError(t, err)
	policy, err := plan.Policy()
	require.NoError(t, err)
	golden.Check(t, "policy.jsonl", string(policy))
}
