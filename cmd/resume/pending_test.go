package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/progress"
)

const (
	networkURN = "urn:pulumi:dev::p::openstack:networking/network:Network::dev"
	networkTyp = "openstack:networking/network:Network"
)

// export returns a state with these resources and pending operations, in addition to the stack's own
// resource.
func export(t *testing.T, resources, operations string) *state {
	t.Helper()
	if resources != "" {
		resources = "," + resources
	}
	s, err := parse([]byte(`{"version": 3, "features": ["new"], "deployment": {
		"resources": [{"urn": "urn:pulumi:dev::p::pulumi:pulumi:Stack::p-dev", "type": "pulumi:pulumi:Stack",
			"created": "2026-11-22T12:00:00.5Z"}` + resources + `],
		"pending_operations": [` + operations + `], "metadata": {"later": 12345678901234567890}}}`))
	require.NoError(t, err)
	return s
}

func network(fields string) string {
	return `{"urn": "` + networkURN + `", "custom": true, "type": "` + networkTyp + `"` + fields + `}`
}

func creating(resource string) string { return `{"type": "creating", "resource": ` + resource + `}` }

func TestCreates(t *testing.T) {
	s := export(t, "", creating(network(`, "inputs": {"name": "dev"}`))+","+creating(network(""))+`,
		{"type": "updating", "resource": {"urn": "urn:pulumi:dev::p::openstack:x:Y::y", "type": "openstack:x:Y"}},`+
		creating(`{"urn": "urn:pulumi:dev::p::tls:index/privateKey:PrivateKey::ssh", "custom": true, "type": `+
			`"tls:index/privateKey:PrivateKey"}`)+","+
		creating(`{"urn": "urn:pulumi:dev::p::ours:infra:Network::dev", "custom": false, "type": "ours:infra:Network"}`)+","+
		creating(
			`{"urn": "urn:pulumi:dev::p::kubernetes:core/v1:Service::s", "custom": true, "type": "kubernetes:core/v1:Service"}`))
	creates, err := s.creates()
	require.NoError(t, err)
	require.Len(t, creates, 4)
	assert.Equal(t, networkTyp+" dev", creates[0].String())
	assert.Equal(t, "dev", creates[0].Inputs.text("name"))
	assert.Equal(t, 2, creates[0].Times)
	assert.True(t, creates[0].InOpenStack())
	assert.False(t, creates[1].InOpenStack(), "tls")
	assert.False(t, creates[2].InOpenStack(), "component")
	assert.False(t, creates[3].InOpenStack(), "kubernetes")
	assert.Equal(t, time.Date(2026, 11, 22, 12, 0, 0, 5e8, time.UTC), s.createdAt())

	_, err = export(t, "", creating(`{"custom": true}`)).creates()
	assert.ErrorContains(t, err, "a pending create has no URN")
}

func TestInterrupted(t *testing.T) {
	empty, err := parse([]byte(`{"version": 3, "deployment": null}`))
	require.NoError(t, err)
	assert.False(t, empty.interrupted())
	assert.True(t, export(t, "", creating(network(""))).interrupted())
	assert.False(t, export(t, network(`, "id": "1", "outputs": {"name": "dev"}`), "").interrupted())
	assert.True(t, export(t, network(`, "id": "1"`), "").interrupted(), "adopted and not read")
}

// TestProject checks that the state of any version contains the ID of the project, unless no resource was created.
func TestProject(t *testing.T) {
	group := `{"type": "openstack:networking/secGroup:SecGroup", "outputs": {"tenantId": "ours"}}`
	assert.Equal(t, "ours", export(t, network(`, "outputs": {}`)+","+group, "").project())
	assert.Empty(t, export(t, network(""), creating(group)).project(), "the create of the group is pending")
}

func TestAdopt(t *testing.T) {
	secret := `, "inputs": {"name": "dev", "secret": {"4dabf18193072939515e22adb298388d": ` +
		`"1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x"}}`
	other := `{"urn": "urn:pulumi:dev::p::openstack:networking/subnet:Subnet::dev", "type": ` +
		`"openstack:networking/subnet:Subnet"}`
	for name, test := range map[string]struct {
		resources string
		found     candidate
		live      bool
		at        int
		want      object
	}{
		"new":      {"", candidate{ID: "1"}, true, 1, object{"id": "1"}},
		"replaced": {"", candidate{ID: "1", Redo: "no user-data"}, true, 1, object{"id": "1", "taint": true}},
		"instead of a deleted one, before its dependents": {
			network(`, "id": "0", "pendingReplacement": true`) + "," + other, candidate{ID: "1"}, true, 1, object{"id": "1"}},
		"beside one to delete": {network(`, "id": "0", "delete": true`), candidate{ID: "1"}, true, 2, object{"id": "1"}},
		"beside a live one":    {network(`, "id": "0"`), candidate{ID: "1"}, false, 2, object{"id": "1", "delete": true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := export(t, test.resources, creating(network(secret)))
			before := len(s.list("resources"))
			creates, err := s.creates()
			require.NoError(t, err)
			assert.Equal(t, test.live, s.adopt(creates[0], test.found))
			s.clearPending()

			text, err := json.Marshal(s.document)
			require.NoError(t, err)
			assert.Contains(t, string(text), "12345678901234567890", "numbers stay exact")
			parsed, err := parse(text)
			require.NoError(t, err)
			assert.Empty(t, parsed.list("pending_operations"))
			assert.Equal(t, []any{"new"}, parsed.document["features"], "unknown fields stay")
			resources := parsed.list("resources")
			assert.GreaterOrEqual(t, len(resources), before)
			for key, value := range creates[0].resource {
				assert.Equal(t, value, resources[test.at][key], key)
			}
			for _, key := range []string{"id", "taint", "delete", "pendingReplacement"} {
				assert.Equal(t, test.want[key], resources[test.at][key], key)
			}
		})
	}
}

// TestFailedInstances checks that an instance is replaced after a failed operation unless it is ACTIVE, and that a
// volume keeps its data.
func TestFailedInstances(t *testing.T) {
	const volume, failed = "openstack:blockstorage/volume:Volume", `, "initErrors": ["x"]`
	var resources []string
	for _, r := range [][3]string{{instance, "active", failed}, {instance, "broken", failed}, {instance, "gone", failed},
		{instance, "other", ""}, {volume, "broken", failed}} {
		resources = append(resources, fmt.Sprintf(`{"urn": "urn:pulumi:dev::p::%[1]s::%s", "type": %[1]q, "id": %[2]q,
			"outputs": {"a": 1}%s}`, r[0], r[1], r[2]))
	}
	s := export(t, strings.Join(resources, ","), "")
	c := fake(t, map[string][]object{"/v2.1/servers": {
		{"id": "active", "status": "ACTIVE"}, {"id": "broken", "status": "ERROR"}, {"id": "other", "status": "ERROR"},
	}})
	marked, err := taintFailed(t.Context(), c, s.failedInstances(), progress.New(io.Discard, ""))
	require.NoError(t, err)
	assert.True(t, marked)
	var tainted []any
	for _, r := range s.list("resources") {
		if r["taint"] == true {
			tainted = append(tainted, r["id"])
		}
	}
	assert.Equal(t, []any{"broken", "gone"}, tainted)
	marked, err = taintFailed(t.Context(), c, s.failedInstances(), progress.New(io.Discard, ""))
	require.NoError(t, err)
	assert.False(t, marked, "nothing changes a second time")
	assert.False(t, s.interrupted())
}
