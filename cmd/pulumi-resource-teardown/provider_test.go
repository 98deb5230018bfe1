package main

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	p := newProvider(&engine{})
	for onDestroy, want := range map[string][]plugin.CheckFailure{
		"keep": nil, "delete": nil, "retain": {{Property: "onDestroy", Reason: `must be keep or delete, got "retain"`}},
	} {
		checked, err := p.Check(t.Context(), plugin.CheckRequest{News: properties(onDestroy)})
		require.NoError(t, err)
		assert.Equal(t, want, checked.Failures, onDestroy)
		assert.Equal(t, properties(onDestroy), checked.Properties)
	}
	checked, err := p.Check(t.Context(), plugin.CheckRequest{})
	require.NoError(t, err)
	assert.Len(t, checked.Failures, 2)
}

// TestDiff checks that another setting is an update in place. Another cluster has other leftovers, so it is a
// replacement.
func TestDiff(t *testing.T) {
	p := newProvider(&engine{})
	other := properties("keep")
	other["cluster"] = resource.NewStringProperty("prod-2")
	for name, row := range map[string]struct {
		news resource.PropertyMap
		want plugin.DiffResult
	}{
		"same": {properties("keep"), plugin.DiffResult{Changes: plugin.DiffNone}},
		"setting": {properties("delete"),
			plugin.DiffResult{Changes: plugin.DiffSome, ChangedKeys: []resource.PropertyKey{"onDestroy"}}},
		"cluster": {other, plugin.DiffResult{
			Changes: plugin.DiffSome, ChangedKeys: []resource.PropertyKey{"cluster"},
			ReplaceKeys: []resource.PropertyKey{"cluster"},
		}},
	} {
		diff, err := p.Diff(t.Context(), plugin.DiffRequest{OldInputs: properties("keep"), NewInputs: row.news})
		require.NoError(t, err)
		assert.Equal(t, row.want, diff, name)
	}
}

// TestNoCloudIsNeeded checks that only a delete needs a cloud, and that an update outside of a preview warns
// about the effects of a destroy.
func TestNoCloudIsNeeded(t *testing.T) {
	c := start(t)
	e := &engine{}
	p := newProvider(e)
	created, err := p.Create(t.Context(), plugin.CreateRequest{Properties: properties("keep")})
	require.NoError(t, err)
	assert.Equal(t, plugin.CreateResponse{ID: "prod", Properties: properties("keep")}, created)
	read, err := p.Read(t.Context(), plugin.ReadRequest{ID: "prod", Inputs: properties("keep"), State: properties("keep")})
	require.NoError(t, err)
	assert.Equal(t, plugin.ReadResult{ID: "prod", Inputs: properties("keep"), Outputs: properties("keep")},
		read.ReadResult)
	_, err = p.Read(t.Context(), plugin.ReadRequest{ID: "prod"})
	assert.ErrorContains(t, err, "cannot import this resource")

	for _, r := range []plugin.UpdateRequest{{NewInputs: properties("delete"), Preview: true},
		{NewInputs: properties("keep")}} {
		_, err = p.Update(t.Context(), r)
		require.NoError(t, err)
		assert.Empty(t, e.logs)
	}
	updated, err := p.Update(t.Context(), plugin.UpdateRequest{NewInputs: properties("delete")})
	require.NoError(t, err)
	assert.Equal(t, properties("delete"), updated.Properties)
	assert.Equal(t,
		"warning: from now on a destroy deletes the volumes and snapshots of the claims in cluster prod with their data",
		e.log())
	assert.Empty(t, c.Requests(""))
}

// TestProject checks that the provider does not start with the credentials of another project, and that an up
// cannot continue with security groups in another project, or with an engine that does not pass the project.
func TestProject(t *testing.T) {
	p := newProvider(&engine{})
	p.verified = errors.New("another project")
	_, err := p.GetPluginInfo(t.Context())
	assert.EqualError(t, err, "another project")

	project := func(id string) resource.PropertyMap {
		if id == "" {
			return resource.PropertyMap{}
		}
		return resource.PropertyMap{projectKey: resource.NewStringProperty(id)}
	}
	for name, row := range map[string]struct{ old, now, environment, want string }{
		"first preview": {"", "", "", ""},
		"first up":      {"", "1", "1", ""},
		"preview":       {"1", "", "", ""},
		"up":            {"1", "1", "1", ""},
		"other project": {"1", "2", "2",
			"the resources of this stack are in OpenStack project 1, but its security groups are in project 2"},
		"an old command": {"", "1", "", "install version 3.253.0 or later"},
	} {
		p := newProvider(&engine{})
		p.project = row.environment
		checked, err := p.CheckConfig(t.Context(), plugin.CheckConfigRequest{Olds: project(row.old), News: project(row.now)})
		require.NoError(t, err)
		assert.Equal(t, project(row.now), checked.Properties, name)
		if row.want == "" {
			assert.Empty(t, checked.Failures, name)
		} else {
			require.Len(t, checked.Failures, 1, name)
			assert.Contains(t, checked.Failures[0].Reason, row.want, name)
		}
	}
}

// TestRenamed checks that a machine at the address of another one has its former ID until the machines change
// again.
func TestRenamed(t *testing.T) {
	settings := func(machines, renamed map[string]any) resource.PropertyMap {
		m := resource.PropertyMap{}
		if machines != nil {
			m[machinesKey] = resource.NewObjectProperty(resource.NewPropertyMapFromMap(machines))
		}
		if renamed != nil {
			m[renamedKey] = resource.NewObjectProperty(resource.NewPropertyMapFromMap(renamed))
		}
		return m
	}
	type names = map[string]any
	a, b := names{"10.0.0.1": "a-0", "10.0.0.2": "a-1"}, names{"10.0.0.1": "b-0", "10.0.0.2": "b-1"}
	more := names{"10.0.0.1": "b-0", "10.0.0.2": "b-1", "10.0.0.9": "c-0"}
	both := names{"b-0": "a-0", "b-1": "a-1"}
	for name, row := range map[string]struct {
		machines, renamed, now, want names
		changes                      plugin.DiffChanges
	}{
		"a new stack":    {nil, nil, a, nil, plugin.DiffNone},
		"no change":      {a, nil, a, nil, plugin.DiffNone},
		"a renamed pool": {a, nil, b, both, plugin.DiffSome},
		"the next up":    {b, both, b, both, plugin.DiffNone},
		"a later change": {b, both, more, both, plugin.DiffNone},
		"a former name is used again": {b, both, names{"10.0.0.1": "b-0", "10.0.0.2": "b-1", "10.0.0.9": "a-0"},
			names{"b-1": "a-1"}, plugin.DiffSome},
		"fewer machines":   {a, nil, names{"10.0.0.1": "a-0"}, nil, plugin.DiffNone},
		"renamed and more": {names{"10.0.0.1": "a-0"}, nil, b, names{"b-0": "a-0"}, plugin.DiffSome},
	} {
		p := newProvider(&engine{})
		olds, news := settings(row.machines, row.renamed), settings(row.now, nil)
		checked, err := p.CheckConfig(t.Context(), plugin.CheckConfigRequest{Olds: olds, News: news})
		require.NoError(t, err)
		assert.Empty(t, checked.Failures, name)
		assert.Equal(t, settings(row.now, row.want), checked.Properties, name)
		diff, err := p.DiffConfig(t.Context(), plugin.DiffConfigRequest{OldInputs: olds, NewInputs: checked.Properties})
		require.NoError(t, err)
		assert.Equal(t, row.changes, diff.Changes, name)
	}
}

// TestRefused checks that an up, and its preview, refuse changes that would stop the whole cluster at once.
func TestRefused(t *testing.T) {
	type m = map[string]any
	settings := func(changes m) resource.PropertyMap {
		out := m{"members": 3, "podCIDR": "10.244.0.0/16", "serviceCIDR": "10.96.0.0/16", "machines": m{
			"10.0.0.1": "prod-etcd-0", "10.0.0.2": "a-0", "10.0.0.3": "a-1", "10.0.0.4": "a-2", "10.0.0.5": "a-3",
			"10.0.0.6": "prod-etcd-1"}}
		maps.Copy(out, changes)
		return resource.NewPropertyMapFromMap(out)
	}
	all := func(keys string) (table []string) {
		for _, id := range []string{"a-0", "a-1", "a-2", "a-3", "prod-etcd-0", "prod-etcd-1"} {
			table = append(table, id+" "+keys)
		}
		return table
	}
	for name, row := range map[string]struct {
		old, now resource.PropertyMap
		want     []string
		// table has the refused machines, and the keys of each
		table []string
	}{
		"a new stack": {resource.PropertyMap{}, settings(nil), nil, nil},
		"an earlier version": {settings(m{"members": nil, "podCIDR": nil, "serviceCIDR": nil}), settings(m{"members": 1}),
			nil, nil},
		"no change":    {settings(nil), settings(nil), nil, nil},
		"more members": {settings(nil), settings(m{"members": 5}), nil, nil},
		"fewer members": {settings(nil), settings(m{"members": 1, "machines": m{"10.0.0.1": "prod-etcd-0"}}),
			[]string{"etcd.count: must stay at least 3, not 1: "}, []string{"prod-etcd-1 etcd.count"}},
		"other ranges": {settings(nil), settings(m{"podCIDR": "10.0.0.0/8", "serviceCIDR": "10.97.0.0/16"}),
			[]string{"network.podCIDR: must stay 10.244.0.0/16, not 10.0.0.0/8: ",
				"network.serviceCIDR: must stay 10.96.0.0/16, not 10.97.0.0/16: "},
			all("network.podCIDR, network.serviceCIDR")},
		"another network": {settings(m{"mode": "provider", "networkID": "a", "subnetID": "b"}),
			settings(m{"mode": "provider", "networkID": "c", "subnetID": "d"}),
			[]string{"network.networkID: must stay a, not c: ", "network.subnetID: must stay b, not d: "},
			all("network.networkID, network.subnetID")},
		"another mode": {settings(m{"mode": "provider", "networkID": "a", "subnetID": "b"}),
			settings(m{"mode": "tenant", "networkID": "", "subnetID": "", "cidr": "10.0.0.0/24"}),
			[]string{"network.mode: must stay provider, not tenant: ", "network.networkID: must stay a, not empty: ",
				"network.subnetID: must stay b, not empty: "}, all("network.mode, network.networkID, network.subnetID")},
		"a larger subnet": {settings(m{"mode": "tenant", "cidr": "10.0.0.0/24"}),
			settings(m{"mode": "tenant", "cidr": "10.0.0.0/23"}),
			[]string{"network.cidr: must stay 10.0.0.0/24, not 10.0.0.0/23: "}, all("network.cidr")},
		"one machine": {settings(nil), settings(m{"machines": m{"10.0.1.1": "prod-etcd-0", "10.0.0.2": "a-0"}}),
			[]string{"addresses: prod-etcd-0 must keep 10.0.0.1, not get 10.0.1.1: "}, []string{"prod-etcd-0 addresses"}},
		"a used address": {settings(nil), settings(m{"machines": m{"10.0.0.1": "b-0", "10.0.1.1": "prod-etcd-0"}}),
			[]string{"addresses: prod-etcd-0 must keep 10.0.0.1, not get 10.0.1.1: "}, []string{"prod-etcd-0 addresses"}},
		"a renamed pool": {settings(nil), settings(m{"machines": m{"10.0.0.1": "prod-etcd-0", "10.0.0.2": "b-0"}}), nil, nil},
		"many machines": {settings(nil), settings(m{"machines": m{
			"10.0.1.2": "a-0", "10.0.1.3": "a-1", "10.0.1.4": "a-2", "10.0.1.5": "a-3"}}),
			[]string{"addresses: a-0 must keep 10.0.0.2, not get 10.0.1.2, a-1 must keep 10.0.0.3, not get 10.0.1.3, " +
				"a-2 must keep 10.0.0.4, not get 10.0.1.4, and 1 more: "},
			[]string{"a-0 addresses", "a-1 addresses", "a-2 addresses", "a-3 addresses"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &engine{}
			checked, err := newProvider(e).CheckConfig(t.Context(),
				plugin.CheckConfigRequest{Name: "prod", Olds: row.old, News: row.now})
			require.NoError(t, err)
			var table []string
			for i, line := range strings.Split(strings.TrimSpace(e.log()), "\n") {
				if words := strings.Fields(line); i > 1 { // after the number of machines, and the names of the columns
					assert.Equal(t, []string{"refused", "-", "-", "-"}, words[1:5])
					table = append(table, words[0]+" "+strings.Join(words[5:], " "))
				}
			}
			assert.Equal(t, row.table, table)
			require.Len(t, checked.Failures, len(row.want))
			for i, want := range row.want {
				assert.Contains(t, checked.Failures[i].Reason, want)
			}
		})
	}
}
