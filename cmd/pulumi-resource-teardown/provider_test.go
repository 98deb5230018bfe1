package main

import (
	"errors"
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
// again, and that a machine cannot get the address of one that still exists.
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
		failure                      string
	}{
		"a new stack":    {nil, nil, a, nil, plugin.DiffNone, ""},
		"no change":      {a, nil, a, nil, plugin.DiffNone, ""},
		"a renamed pool": {a, nil, b, both, plugin.DiffSome, ""},
		"the next up":    {b, both, b, both, plugin.DiffNone, ""},
		"a later change": {b, both, more, both, plugin.DiffNone, ""},
		"a former name is used again": {b, both, names{"10.0.0.1": "b-0", "10.0.0.2": "b-1", "10.0.0.9": "a-0"},
			names{"b-1": "a-1"}, plugin.DiffSome, ""},
		"fewer machines":   {a, nil, names{"10.0.0.1": "a-0"}, nil, plugin.DiffNone, ""},
		"renamed and more": {names{"10.0.0.1": "a-0"}, nil, b, names{"b-0": "a-0"}, plugin.DiffSome, ""},
		"other addresses":  {a, nil, names{"10.0.1.1": "a-0"}, nil, plugin.DiffNone, ""},
		"an address in use": {a, nil, names{"10.0.0.1": "b-0", "10.0.0.9": "a-0"}, nil, plugin.DiffNone,
			"b-0 must not get the address 10.0.0.1 of a-0, which still exists"},
	} {
		p := newProvider(&engine{})
		olds, news := settings(row.machines, row.renamed), settings(row.now, nil)
		checked, err := p.CheckConfig(t.Context(), plugin.CheckConfigRequest{Olds: olds, News: news})
		require.NoError(t, err)
		if row.failure != "" {
			require.Len(t, checked.Failures, 1, name)
			assert.Contains(t, checked.Failures[0].Reason, row.failure, name)
			continue
		}
		assert.Empty(t, checked.Failures, name)
		assert.Equal(t, settings(row.now, row.want), checked.Properties, name)
		diff, err := p.DiffConfig(t.Context(), plugin.DiffConfigRequest{OldInputs: olds, NewInputs: checked.Properties})
		require.NoError(t, err)
		assert.Equal(t, row.changes, diff.Changes, name)
	}
}
