package cluster

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/field"
)

// changes are values by their paths.
type changes map[string]any

// errorsWith returns the errors of the small configuration with other values.
func errorsWith(t *testing.T, changes changes) []string {
	t.Helper()
	object := valid(t)
	for path, value := range changes {
		set(object, path, value)
	}
	text, err := json.Marshal(object)
	require.NoError(t, err)
	var out []string
	if _, err = Decode("test", string(text)); err != nil {
		var errs field.Errors
		require.ErrorAs(t, err, &errs)
		for _, e := range errs {
			out = append(out, e.Error())
		}
	}
	return out
}

// TestErrorsOfClouds checks values of several keys that do not fit together.
func TestErrorsOfClouds(t *testing.T) {
	const credential = "0123456789abcdef0123456789abcdef"
	for _, row := range []struct {
		name    string
		changes changes
		want    []string
	}{
		{"root volume", changes{"etcd.rootVolume.size": 40}, nil},
		{"root volume of an image by name", changes{"image": map[string]any{"name": "a"}, "etcd.rootVolume.size": 40,
			"controlPlane.rootVolume.size": 40},
			[]string{"image.name: must be replaced by image.id, because etcd.rootVolume is set: Cinder needs the ID of the " +
				"image"}},
		{"type without a root volume", changes{"pools.0.rootVolume.type": "ssd"},
			[]string{"pools[0].rootVolume.size: must be set to the size in GiB, because pools[0].rootVolume.type is set"}},
		{"zones of volumes", changes{"etcd.zones": []any{"az1", "az2"},
			"etcd.volume.zones": map[string]any{"az1": "a", "az2": "b"}}, nil},
		{"zones of volumes in other zones", changes{"etcd.zones": []any{"az1", "az2"},
			"etcd.volume.zones": map[string]any{"az1": "a", "az3": "b"}},
			[]string{"etcd.volume.zones[az3]: must be a zone of etcd.zones: it has az1 or az2",
				"etcd.zones[1]: az2 must also be in etcd.volume.zones, with its Cinder zone"}},
		{"no port security in a new network", changes{"network.portSecurity": false}, []string{"network.portSecurity: " +
			"cannot be false when network.mode is tenant, because the new network has port security"}},
		{"existing credentials", changes{
			"openstack.applicationCredential":   map[string]any{"id": credential, "secret": "secret"},
			"etcd.backup.container":             "etcd",
			"etcd.backup.applicationCredential": map[string]any{"id": credential, "secret": "secret"}}, nil},
		{"half of a credential", changes{"openstack.applicationCredential": map[string]any{"id": credential},
			"etcd.backup.container":             "etcd",
			"etcd.backup.applicationCredential": map[string]any{"secret": "secret"}},
			[]string{"openstack.applicationCredential.secret: must be set to the secret of the application credential, " +
				"because its ID is set", "etcd.backup.applicationCredential.id: must be set to the ID of the application " +
				"credential, because its secret is set"}},
		{"roles of an existing credential", changes{"openstack.roles": []any{"member"},
			"openstack.applicationCredential": map[string]any{"id": credential, "secret": "secret"}},
			[]string{"openstack.roles: cannot be set, because openstack.applicationCredential has its own roles"}},
		{"slow disks", changes{"etcd.heartbeatInterval": "500ms", "etcd.electionTimeout": "5s"}, nil},
		{"short election timeout", changes{"etcd.heartbeatInterval": "500ms"},
			[]string{"etcd.electionTimeout: must be at least 2.5s, five times etcd.heartbeatInterval, not 1s"}},
		{"hosts without a proxy", changes{"proxy.noProxy": []any{"example.com"}},
			[]string{"proxy: must have http or https, because proxy.noProxy is set"}},
		{"zones of volumes without zones", changes{"etcd.volume.zones": map[string]any{"az1": "a"}},
			[]string{"etcd.volume.zones[az1]: must be a zone of etcd.zones: it has no zones"}},
	} {
		t.Run(row.name, func(t *testing.T) { assert.Equal(t, row.want, errorsWith(t, row.changes)) })
	}
}

// TestServerGroups checks that no server group has more machines than the quota, and that names are unique.
func TestServerGroups(t *testing.T) {
	object := valid(t)
	set(object, "pools.0.count", 5)
	groups := func() (out []string) {
		plan := NewPlan(decoded(t, object))
		for _, m := range plan.WithRole(RoleWorker) {
			out = append(out, m.ServerGroup)
		}
		return append(out, plan.ServerGroups()...)
	}
	assert.Equal(t, []string{"a", "a", "a", "a", "a", "etcd", "control-plane", "a"}, groups())
	set(object, "serverGroupMembers", 2)
	assert.Equal(t, []string{"a", "a", "a.1", "a.1", "a.2", "etcd", "etcd.1", "control-plane", "a", "a.1", "a.2"},
		groups())
	set(object, "serverGroupPolicy", "none")
	assert.Equal(t, []string{"", "", "", "", ""}, groups())
}

// TestRolesOfOctavia checks the warning about a role without which Octavia refuses every request.
func TestRolesOfOctavia(t *testing.T) {
	object := valid(t)
	set(object, "openstack.loadBalancer", "octavia")
	assert.Empty(t, decoded(t, object).Warnings())
	set(object, "openstack.roles", []any{"member"})
	warnings := decoded(t, object).Warnings()
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0].Error(), "openstack.roles: load-balancer_member is missing")
	set(object, "openstack.roles", []any{"member", "load-balancer_member"})
	assert.Empty(t, decoded(t, object).Warnings())
}
