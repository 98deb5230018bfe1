package tests

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/k8s"
	"kubernetes-openstack/policy"
)

// TestExamplesFollowTheRules checks the development stack and all examples. A user who copies an example sees only the
// warnings in this test.
func TestExamplesFollowTheRules(t *testing.T) {
	t.Parallel()
	noMirror := []string{"artifacts.registryMirrors[quay.io]"}
	want := map[string][]string{
		"../Pulumi.dev.yaml":                       nil,
		"../examples/Pulumi.prod.yaml":             nil,
		"../examples/Pulumi.keystone.yaml":         noMirror,
		"../examples/Pulumi.route-reflectors.yaml": noMirror,
		"../examples/Pulumi.tenant-network.yaml":   noMirror,
	}
	files, err := filepath.Glob("../examples/Pulumi.*.yaml")
	require.NoError(t, err)
	for _, file := range append(files, "../Pulumi.dev.yaml") {
		stackFile := edited(t, file, func(text string) string { return strings.ReplaceAll(text, "{secure: v1:…}", "secret") })
		require.Contains(t, want, file)
		assert.Equal(t, want[file], brokenRules(t, file, stackFile), file)
	}
}

// brokenRules returns the paths of the warnings about a configuration, which must have no errors.
func brokenRules(t *testing.T, name string, values map[string]string) (paths []string) {
	t.Helper()
	config, err := cluster.Decode("example", values["kubernetes-openstack:cluster"])
	require.NoError(t, err, name)
	plan := cluster.NewPlan(config)
	images, err := k8s.Images(plan)
	require.NoError(t, err, name)
	stack, err := policy.NewStack(plan, images)
	require.NoError(t, err, name)
	warnings, errs := policy.Check(stack)
	assert.Empty(t, errs, name)
	for _, warning := range warnings {
		paths = append(paths, warning.Path)
	}
	return paths
}

// TestBrokenRuleEndsTheProgram checks that the program declares nothing if a stack breaks a rule, and everything if the
// stack has a reason.
func TestBrokenRuleEndsTheProgram(t *testing.T) {
	t.Parallel()
	const open = "ssh: {allowedCIDRs: [0.0.0.0/0]}\n"
	r := &recorder{}
	err := runWith(r, "dev", edited(t, "../Pulumi.dev.yaml", merged(t, open)), &watcher{}, true)
	require.Error(t, err)
	assert.Contains(t, err.Error(),
		"kubernetes-openstack:cluster has 1 error:\n  ssh.allowedCIDRs[0]: 0.0.0.0/0 is open to the world. ")
	assert.Empty(t, r.resources)

	waived := merged(t, open+"policy: {waivers: {ssh-open: a jump host is in front of it}}")
	require.NoError(t, runWith(r, "dev", edited(t, "../Pulumi.dev.yaml", waived), &watcher{}, true))
	assert.NotEmpty(t, r.resources)
}
