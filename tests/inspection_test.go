//go:build e2e

package tests

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
)

// TestInspection creates a cluster with monitoring. It checks everything that shows the state of a cluster: alerts,
// dashboards, `make drift`, `make fleet`, and the tables of listeners and of secrets. `make e2e-inspection` runs it.
func TestInspection(t *testing.T) {
	edit := func(text string) string {
		return merged(t, "monitoring: {enabled: true}")(patched(t, "e2e.yaml")(text))
	}
	e := newEngine(t, "e2e", cloudEnv, edit)
	openstack := connect(t, e.getenv("OS_CLIENT_CONFIG_FILE"))
	openstack.sweep(t, e.stack) // deletes resources of a killed run
	t.Cleanup(func() { openstack.sweep(t, e.stack) })
	out, err := e.try("up", "--yes", "--skip-preview")
	require.NoError(t, err, out)
	api := e.api(t)
	api.apply(t, "hello.yaml")
	testDrift(t, e, api, openstack)
	step(t, "the list of all clusters has a drifted and an unreachable one", func(t *testing.T) {
		testFleet(t, e, openstack)
	})
	config, err := cluster.Decode(e.stack, edited(t, "../Pulumi.dev.yaml", edit)["kubernetes-openstack:cluster"])
	require.NoError(t, err)
	plan := cluster.NewPlan(config)
	testListeners(t, e, api, plan)
	testLeaks(t, e, api, plan)
	testMonitoring(t, e, api)
	e.must("destroy", "--yes", "--skip-preview")
}
