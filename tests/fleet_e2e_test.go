//go:build e2e

package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/fleet"
)

// testFleet lists two stacks with the command fleet: the cluster of the engine, on which an operator has renamed a
// port, and a copy of its state whose API has an address that does not answer.
func testFleet(t *testing.T, e *engine, c cloud) {
	const lost = "e2e-lost"
	state := filepath.Join(t.TempDir(), "state.json")
	t.Cleanup(func() { _ = e.shell(`pulumi stack rm --yes --force --stack "$1"`, lost).Run() }) // without a destroy
	e.run(t, `pulumi stack init --no-select "$1"`, lost)
	text := strings.NewReplacer("urn:pulumi:e2e::", "urn:pulumi:"+lost+"::", "https://10.0.0.138:6443",
		"https://10.0.0.254:6443").Replace(e.must("stack", "export", "--show-secrets"))
	require.NoError(t, os.WriteFile(state, []byte(text), 0o600))
	e.run(t, `pulumi stack import --stack "$1" --file "$2"`, lost, state)

	list := func() map[string]fleet.Row {
		t.Helper()
		cmd := e.shell(`exec "$1" -json -timeout 40s`, built(t, "fleet")) // OpenStack may be busy
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		require.NoError(t, err)
		assert.NotContains(t, string(out), "PRIVATE KEY")
		var report fleet.Report
		require.NoError(t, json.Unmarshal(out, &report))
		rows := map[string]fleet.Row{}
		for _, row := range report.Rows {
			rows[row.Stack] = row
		}
		return rows
	}
	network := c.clients["network"]
	pages, err := ports.List(network, ports.ListOpts{Name: "e2e-worker-1", ProjectID: c.project}).AllPages(t.Context())
	require.NoError(t, err)
	found, err := ports.ExtractPorts(pages)
	require.NoError(t, err)
	require.Len(t, found, 1)
	rename := func(name string) {
		_, err := ports.Update(t.Context(), network, found[0].ID, ports.UpdateOpts{Name: &name}).Extract()
		require.NoError(t, err)
	}

	before := list()["e2e"]
	require.NotNil(t, before.Drift, before.Unknown)
	rename("renamed")
	rows := list()
	rename("e2e-worker-1")
	drifted, unreachable := rows["e2e"], rows[lost]
	assert.Equal(t, fleet.Ready, drifted.API)
	assert.Equal(t, "RegionOne", drifted.Region)
	assert.Equal(t, "1.36.3", drifted.Versions.Kubernetes)
	assert.Equal(t, &fleet.Count{Ready: 4, Planned: 4}, drifted.Nodes)
	assert.Equal(t, &fleet.Count{Ready: 3, Planned: 3}, drifted.Etcd)
	assert.Equal(t, &fleet.Count{Ready: 4, Planned: 4}, drifted.BGP)
	assert.NotNil(t, drifted.Certificate)
	assert.NotNil(t, drifted.Backup, "the first snapshot may be missing, and the container is read")
	assert.NotContains(t, drifted.Unknown, fleet.BackupPart)
	require.NotNil(t, drifted.Drift)
	assert.Equal(t, *before.Drift+1, *drifted.Drift)
	assert.Contains(t, unreachable.API, "unreachable: ")
	assert.Nil(t, unreachable.Nodes)
	assert.Equal(t, drifted.Etcd, unreachable.Etcd, "the consoles of its machines are read")
	if t.Failed() {
		t.Log(e.run(t, `exec "$1" -timeout 40s`, built(t, "fleet")))
	}
}
