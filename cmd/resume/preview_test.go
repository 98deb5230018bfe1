package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	parentURN   = "urn:pulumi:dev::p::ours:infra:Network::dev"
	providerURN = "urn:pulumi:dev::p::pulumi:providers:openstack::default"
	subnetURN   = "urn:pulumi:dev::p::openstack:networking/subnet:Subnet::dev"
)

// TestFailed checks which resources OpenStack may have although they are neither in the state nor pending.
func TestFailed(t *testing.T) {
	const created = `"inputs": {"name": "dev"}, "parent": "` + parentURN + `", "provider": "` + providerURN + `::4f1c"`
	live := func(urn, fields string) string { return fmt.Sprintf(`{"urn": %q, "type": "t"%s},`, urn, fields) }
	const dependent = created + `, "dependencies": ["` + subnetURN + `"]`
	all := live(parentURN, "") + live(providerURN, `, "id": "4f1c"`)
	replaced := live(networkURN, `, "pendingReplacement": true`)
	for name, test := range map[string]struct {
		op, fields, resources string
		want                  bool
	}{
		"new":                     {"create", created, all, true},
		"not yet replaced":        {"replace", created, all + replaced, true},
		"exists and is replaced":  {"replace", created, all + live(networkURN, ""), false},
		"is updated":              {"update", created, all + live(networkURN, ""), false},
		"is deleted":              {"delete", created, all, false},
		"no parent":               {"create", created, live(providerURN, ""), false},
		"no provider":             {"create", created, live(parentURN, ""), false},
		"a dependency":            {"create", dependent, all + live(subnetURN, ""), true},
		"no dependency":           {"create", dependent, all, false},
		"a dependency is deleted": {"create", dependent, all + live(subnetURN, `, "delete": true`), false},
		"unknown input":           {"create", `"inputs": {"ids": ["04da6b54-80e4-46f7-96ec-b56ff0331ba9"]}`, all, false},
		"type without a search":   {"create", `"type": "tls:index/privateKey:PrivateKey"`, all, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := export(t, test.resources[:len(test.resources)-1], "")
			step := fmt.Sprintf(`{"op": %q, "newState": {"type": %q, "urn": %q, "custom": true, %s}}`, test.op, networkTyp,
				networkURN, test.fields)
			creates, err := s.failed([]byte(`{"steps": [` + step + `]}`))
			require.NoError(t, err)
			require.Len(t, creates, map[bool]int{true: 1, false: 0}[test.want])
			for _, c := range creates {
				assert.Equal(t, networkURN, c.URN)
				assert.Equal(t, "dev", c.Inputs.text("name"))
				assert.Equal(t, 1, c.Times)
			}
		})
	}
	_, err := export(t, "", "").failed([]byte("warning: no JSON"))
	assert.ErrorContains(t, err, "read the preview: ")
}

// TestFailedWithSecrets checks that an adopted resource has no masked secret in its inputs.
func TestFailedWithSecrets(t *testing.T) {
	s := export(t, "", "")
	creates, err := s.failed([]byte(`{"steps": [{"op": "create", "newState": {"urn": "urn:pulumi:dev::p::` + instance +
		`::a", "type": "` + instance + `", "custom": true, "id": "0", "outputs": {"name": "a"},
		"inputs": {"name": "a", "userData": "[secret]", "list": [{"text": "[secret]"}], "number": 12345678901234567890}}}]}`))
	require.NoError(t, err)
	require.Len(t, creates, 1)
	assert.True(t, s.adopt(creates[0], candidate{ID: "1", Redo: "Nova does not return its user-data"}))
	adopted := s.list("resources")[1]
	assert.Equal(t, "1", adopted["id"])
	assert.Equal(t, true, adopted["taint"])
	assert.NotContains(t, adopted, "outputs", "a refresh reads them")
	assert.True(t, s.interrupted(), "until the refresh")
	assert.Equal(t, "map[name:a number:12345678901234567890]", fmt.Sprint(adopted["inputs"]))
}

func TestDiagnostics(t *testing.T) {
	assert.Equal(t, "\nwrong.flavor: must exist\nlast", diagnostics([]byte(`{"diagnostics": [
		{"severity": "warning", "message": "old"}, {"severity": "error", "message": "wrong.flavor: must exist\n\n"},
		{"severity": "info", "message": "note"}, {"severity": "info#err", "message": "last"}]}`)))
	assert.Equal(t, "\nno JSON", diagnostics([]byte("no JSON")))
}
