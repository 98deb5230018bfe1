package tenancy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestResourcesAreSorted checks the order of resources, because rules and policies keep it.
func TestResourcesAreSorted(t *testing.T) {
	assert.True(t, slices.IsSortedFunc(resources,
		func(a, b resource) int { return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.name, b.name)) }))
}

// TestNoPrivilegeEscalation checks that no resource lets tenants give themselves more permissions.
func TestNoPrivilegeEscalation(t *testing.T) {
	for _, r := range resources {
		assert.NotContains(t, []string{"*", "rbac.authorization.k8s.io", "certificates.k8s.io",
			"admissionregistration.k8s.io", "apiextensions.k8s.io", "storage.k8s.io"}, r.group)
		assert.NotContains(t, []string{"*", "nodes", "persistentvolumes", "bindings"}, r.name)
		if slices.Contains([]string{"namespaces", "resourcequotas", "limitranges", "endpoints", "endpointslices"}, r.name) {
			assert.Empty(t, r.write, r.name)
		}
		assert.False(t, View.includes(r.write), "view is read-only: %s", r.name)
		assert.True(t, r.write == "" || r.write.includes(r.read), "write access to %s includes read access", r.name)
		assert.NotContains(t, r.writeSub, "status", "%s", r.name)
	}
	for _, a := range accessLevels {
		for _, rule := range a.rules() {
			assert.NotContains(t, slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs), "*")
			assert.False(t, a == View && slices.Contains(rule.Resources, "secrets"), "view must not read Secrets")
		}
	}
}

func TestIncludes(t *testing.T) {
	assert.True(t, Admin.includes(Edit) && Edit.includes(View) && View.includes(View))
	assert.False(t, View.includes(Edit) || Edit.includes(Admin))
	assert.False(t, Admin.includes(""), "no level is sufficient")
	assert.False(t, Access("").includes(View))
}

// TestPolicyLines checks that each line is one object with all fields, even if the name of a role contains a newline.
func TestPolicyLines(t *testing.T) {
	plan := Plan{
		Settings: Settings{Authorizer: ABAC},
		Tenants:  []Tenant{{Namespace: "n", ProjectID: "p", Members: []Member{{"u", "x\"}}\n{\"*", View}}}},
	}
	text, err := plan.Policy()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	require.Len(t, lines, len(resources)-3, "all but Secrets, Leases and LocalSubjectAccessReviews")
	for _, line := range lines {
		var fields struct {
			APIVersion, Kind string
			Spec             map[string]any
		}
		require.NoError(t, json.NewDecoder(bytes.NewReader([]byte(line))).Decode(&fields))
		assert.Equal(t, "abac.authorization.kubernetes.io/v1beta1 Policy", fields.APIVersion+" "+fields.Kind)
		assert.Equal(t, "keystone:p:u:x\"}}\n{\"*", fields.Spec["group"])
		assert.Equal(t, "n", fields.Spec["namespace"])
		assert.Equal(t, true, fields.Spec["readonly"])
		assert.Len(t, fields.Spec, 5)
	}
}
