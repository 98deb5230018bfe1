package main

import (
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
