package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/openstack"
)

func instancesOf(onDestroy string, ids ...any) resource.PropertyMap {
	all := properties(onDestroy)
	all[instancesKey] = resource.NewPropertyValue(ids)
	return all
}

// TestInstances checks that a destroy with onDestroy: delete deletes only the stack's instances. An `up`
// deletes none, even if it deletes or replaces this resource.
func TestInstances(t *testing.T) {
	for name, row := range map[string]struct {
		onDestroy string
		up        bool
		remaining []string
		log       string
	}{
		"destroy": {"delete", false, []string{"i3"},
			"info: onDestroy is delete, so the 3 instances of cluster prod are deleted without a shutdown"},
		"destroy, data are kept": {"keep", false, []string{"i1", "i2", "i3"}, ""},
		"up":                     {"delete", true, []string{"i1", "i2", "i3"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			for _, id := range []string{"i1", "i2", "i3"} {
				c.Add("servers", server(id, "prod"))
			}
			e := &engine{}
			p := newProvider(e)
			p.interval = time.Millisecond
			inputs := instancesOf(row.onDestroy, "i1", "i2", "deleted")
			if row.up {
				_, err := p.Check(t.Context(), plugin.CheckRequest{News: inputs})
				require.NoError(t, err)
			}
			_, err := p.Delete(t.Context(), plugin.DeleteRequest{Type: instancesType, Inputs: inputs})
			require.NoError(t, err)
			assert.Equal(t, row.remaining, c.IDs())
			assert.Equal(t, row.log, e.log())
		})
	}
}

// TestParallelDeletes checks that at most 16 instances of a large cluster are deleted at the same time, and that
// instances whose deletion fails do not stop the others.
func TestParallelDeletes(t *testing.T) {
	const failed = 20
	c := start(t)
	var all []any
	for i := range 70 {
		id := fmt.Sprintf("i%02d", i)
		instance := server(id, "prod")
		switch {
		case i < failed/2:
			instance.Refuse = "it is locked"
		case i < failed:
			instance.Delete = []string{"deleting", "ERROR"}
		}
		c.Add("servers", instance)
		all = append(all, id)
	}
	p := newProvider(&engine{})
	p.interval = time.Millisecond
	_, err := p.Delete(t.Context(), plugin.DeleteRequest{Type: instancesType, Inputs: instancesOf("delete", all...)})
	require.NoError(t, err)
	assert.Len(t, c.IDs(), failed)

	var deleting []int // for each instance, the number of lists until it no longer exists
	most := 0
	for _, request := range c.Requests("") {
		switch {
		case strings.HasPrefix(request, "DELETE ") && !slices.Contains(c.IDs()[:failed/2], path.Base(request)):
			deleting = append(deleting, 2)
			most = max(most, len(deleting))
		case strings.HasPrefix(request, "GET ") && strings.Contains(request, "/servers"):
			for i := range deleting {
				deleting[i]--
			}
			deleting = slices.DeleteFunc(deleting, func(lists int) bool { return lists == 0 })
		}
	}
	assert.Equal(t, parallel, most)
}

// TestUndeletedInstances checks that instances that cannot be deleted in time are left to the OpenStack
// provider.
func TestUndeletedInstances(t *testing.T) {
	c := start(t)
	refused, slow := server("i1", "prod"), server("i2", "prod")
	refused.Refuse, slow.Delete = "it is locked", []string{"deleting"}
	for _, thing := range []openstack.Thing{refused, slow, server("i3", "prod")} {
		c.Add("servers", thing)
	}
	p := newProvider(&engine{})
	p.interval = time.Millisecond
	_, err := p.Delete(t.Context(),
		plugin.DeleteRequest{Type: instancesType, Inputs: instancesOf("delete", "i1", "i2", "i3"), Timeout: 0.5})
	require.NoError(t, err)
	assert.Equal(t, []string{"i1", "i2"}, c.IDs())
}

// TestInstancesChange checks that a replaced machine, which is another instance, is an update without a
// message.
func TestInstancesChange(t *testing.T) {
	e := &engine{}
	p := newProvider(e)
	before, after := instancesOf("delete", "i1"), instancesOf("delete", "i2")
	diff, err := p.Diff(t.Context(), plugin.DiffRequest{OldInputs: before, NewInputs: after})
	require.NoError(t, err)
	assert.Equal(t, plugin.DiffResult{Changes: plugin.DiffSome, ChangedKeys: []resource.PropertyKey{instancesKey}}, diff)
	updated, err := p.Update(t.Context(), plugin.UpdateRequest{Type: instancesType, OldInputs: before, NewInputs: after})
	require.NoError(t, err)
	assert.Equal(t, after, updated.Properties)
	assert.Empty(t, e.logs)
}
