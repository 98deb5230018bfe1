package tenancy

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestQuota(t *testing.T) {
	hard := func(q Quota) map[string]string {
		out := map[string]string{}
		for _, quota := range (Tenant{Quota: q}).resourceQuotas() {
			if quota.Name == "tenant" {
				for resource, n := range quota.Spec.Hard {
					out[string(resource)] = n.String()
				}
			}
		}
		return out
	}
	unlimited := Quota{Unlimited, Unlimited, Unlimited, Unlimited, Unlimited}
	assert.Empty(t, hard(unlimited))
	assert.Nil(t, Tenant{Quota: unlimited}.limitRange())

	assert.Equal(t, map[string]string{
		"requests.cpu": "0", "limits.memory": "0", "requests.storage": "0", "persistentvolumeclaims": "0",
		"count/volumesnapshots.snapshot.storage.k8s.io": "0",
	}, hard(Quota{}), "a quota that was not read allows nothing")

	memory := unlimited
	memory.RAM = 2147483647 // the maximum in Nova
	assert.Equal(t, map[string]string{"limits.memory": "2147483647Mi"}, hard(memory))
	limits := Tenant{Quota: memory}.limitRange()
	require.NotNil(t, limits)
	assert.Contains(t, limits.Spec.Limits[0].Default, corev1.ResourceMemory, "a container without a limit is accepted")
	assert.Equal(t, limits.Spec.Limits[0].Default, limits.Spec.Limits[0].DefaultRequest,
		"no CPU, because its quota is unlimited")
}

// TestNoSystemPriority checks that tenants cannot create pods that preempt other tenants' pods.
func TestNoSystemPriority(t *testing.T) {
	for _, quota := range (Tenant{Quota: Quota{Unlimited, Unlimited, Unlimited, Unlimited, Unlimited}}).resourceQuotas() {
		assert.Equal(t, "no-system-priority", quota.Name)
		assert.True(t, quota.Spec.Hard.Pods().IsZero())
		assert.Equal(t, []string{"system-cluster-critical", "system-node-critical"},
			quota.Spec.ScopeSelector.MatchExpressions[0].Values)
	}
}
