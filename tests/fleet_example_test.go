package tests

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/stackfile"
)

// exampleStack returns the configuration of a stack in examples/fleet, as Pulumi passes it to the program.
func exampleStack(t *testing.T, stack string) map[string]string {
	t.Helper()
	values, err := stackfile.Read("../examples/fleet/Pulumi.yaml", "../examples/fleet/Pulumi."+stack+".yaml")
	require.NoError(t, err)
	require.Len(t, values, 1, "the paths of the project are values in one object")
	text, err := json.Marshal(values["kubernetes-openstack:cluster"])
	require.NoError(t, err)
	return map[string]string{"kubernetes-openstack:cluster": string(text)}
}

// TestFleetExample runs the program for each stack of examples/fleet, and checks which values are shared.
func TestFleetExample(t *testing.T) {
	t.Parallel()
	networks := map[string]bool{}
	for stack, members := range map[string]int{"east-prod": 5, "staging": 3, "west-prod": 3} {
		values := exampleStack(t, stack)
		c, err := cluster.Decode(stack, values["kubernetes-openstack:cluster"])
		require.NoError(t, err)
		assert.Equal(t, cluster.Versions{Kubernetes: "1.36.3", Etcd: "3.6.14", Calico: "3.28.5"},
			cluster.NewPlan(c).Summary().Versions)
		assert.Equal(t, members, c.Etcd.Count)
		assert.Equal(t, stack+"-etcd", c.Etcd.Backup.Container)
		assert.Equal(t, 30*time.Minute, c.Etcd.Backup.Interval, "the backup has values of both files")
		assert.Equal(t, "c4.large", c.Etcd.Flavor)
		assert.Len(t, c.Artifacts.RegistryMirrors, 2)
		if stack == "staging" {
			assert.Equal(t, "c4.large", c.ControlPlane.Flavor, "the stack has another value")
		} else {
			assert.Equal(t, "c8.xlarge", c.ControlPlane.Flavor)
		}
		assert.Empty(t, brokenRules(t, stack, values))
		networks[c.Network.CIDR.String()] = true
		r := &recorder{}
		require.NoError(t, runWith(r, stack, values, &watcher{}, true), stack)
		assert.NotEmpty(t, r.resources)
	}
	assert.Len(t, networks, 3, "each cluster has its own network")
}

// TestFleetExampleAtPreview previews a stack of examples/fleet with the real Pulumi, from its own folder.
func TestFleetExampleAtPreview(t *testing.T) {
	t.Parallel()
	staging, err := os.ReadFile("../examples/fleet/Pulumi.staging.yaml")
	require.NoError(t, err)
	e := newProjectEngine(t, "examples/fleet", "test", noCloud, func(string) string { return string(staging) })
	assert.Contains(t, e.must("preview"), "test-general-1")
}
