package tests

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// layers returns the engine's layers for a destroy (stepGenerator.ScheduleDeletes). The layer of a resource
// is one more than the highest layer of its dependencies. A destroy deletes the highest layer first, and
// waits for each layer before it deletes the next one.
func layers(resources []pulumi.MockResourceArgs) map[string]int {
	byURN := map[string]pulumi.MockResourceArgs{}
	layer := map[string]int{}
	key := func(r pulumi.MockResourceArgs) string { return r.TypeToken + "::" + r.Name }
	for _, r := range resources {
		byURN[key(r)] = r
	}
	var layerOf func(key string) int
	layerOf = func(k string) int {
		r, known := byURN[k]
		if _, done := layer[k]; done || !known {
			return layer[k]
		}
		highest := 0
		rpc := r.RegisterRPC
		for _, dependency := range append([]string{rpc.GetParent(), rpc.GetDeletedWith()}, rpc.GetDependencies()...) {
			if u, err := urn.Parse(dependency); err == nil {
				highest = max(highest, layerOf(string(u.Type())+"::"+u.Name()))
			}
		}
		layer[k] = highest + 1
		return layer[k]
	}
	for k := range byURN {
		layerOf(k)
	}
	return layer
}

// TestDestroyOrder checks that all machines are deleted in parallel, independent of the certificates that
// they hold. They are deleted after teardown's resource Instances and before its resource Leftovers.
func TestDestroyOrder(t *testing.T) {
	t.Parallel()
	for stack, config := range stacks(t) {
		t.Run(stack, func(t *testing.T) {
			t.Parallel()
			r, err := run(t, stack, config)
			require.NoError(t, err)
			layer := layers(r.resources)
			machines := layer["openstack:compute/instance:Instance::"+stack+"-etcd-0"]
			require.NotZero(t, machines)
			found := false
			for _, res := range r.resources {
				switch l := layer[res.TypeToken+"::"+res.Name]; res.TypeToken {
				case "openstack:compute/instance:Instance":
					assert.Equal(t, machines, l, res.Name)
				case "teardown:index:Leftovers":
					assert.Less(t, l, machines, res.Name)
				case "teardown:index:Instances":
					assert.Greater(t, l, machines, res.Name)
					found = true
				}
			}
			assert.True(t, found)
		})
	}
}
