package main

import (
	"os"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
)

// rollout returns the inputs of a Rollout. IDs of other are unknown, as in a preview.
func rollout(t *testing.T, config cluster.Config, unknownPorts, unknownInstances []string) resource.PropertyMap {
	t.Helper()
	plan := cluster.NewPlan(config)
	record, err := plan.Record()
	require.NoError(t, err)
	ids := func(kind string, unknown []string) resource.PropertyValue {
		out := resource.PropertyMap{}
		for _, m := range plan.Machines {
			out[resource.PropertyKey(m.ID)] = resource.NewStringProperty(kind + " of " + m.ID)
		}
		for _, id := range unknown {
			out[resource.PropertyKey(id)] = resource.MakeComputed(resource.NewStringProperty(""))
		}
		return resource.NewObjectProperty(out)
	}
	return resource.PropertyMap{
		clusterKey: resource.NewStringProperty(plan.Name), configKey: resource.NewStringProperty(record),
		portsKey: ids("port", unknownPorts), instancesKey: ids("instance", unknownInstances),
	}
}

func checkRollout(t *testing.T, olds, news resource.PropertyMap) (checked resource.PropertyMap, log string) {
	t.Helper()
	e := &engine{}
	response, err := newProvider(e).Check(t.Context(), plugin.CheckRequest{Type: rolloutType, Olds: olds, News: news})
	require.NoError(t, err)
	assert.Empty(t, response.Failures)
	return response.Properties, e.log()
}

// TestRollout checks that an `up` records the configuration and the durations, and that a preview shows the changes
// since then as a table, and as an object without secrets.
func TestRollout(t *testing.T) {
	text, err := os.ReadFile("../../cluster/testdata/small.yaml")
	require.NoError(t, err)
	object, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	config, err := cluster.Decode("prod", string(object))
	require.NoError(t, err)
	config.Artifacts.Username, config.Artifacts.Password = "machines", "hunter2"

	created := []string{"prod-etcd-0", "prod-a-1"}
	checked, log := checkRollout(t, nil, rollout(t, config, created, created))
	assert.NotContains(t, checked, portsKey)
	assert.Equal(t, `info: changes of machines: 2
machine      class  step  at a time  duration  keys
prod-etcd-0  new    1     1          -         -
prod-a-1     new    1     1          -         -
`, log)

	up := rollout(t, config, nil, nil)
	up[secondsKey] = resource.NewPropertyValue(map[string]any{"etcd new": 50.0, "worker new": 40.0})
	state, log := checkRollout(t, nil, up)
	assert.Empty(t, log)
	assert.NotContains(t, state, changesKey)
	up[secondsKey] = resource.NewPropertyValue(map[string]any{"etcd replace": 70.0})
	state, _ = checkRollout(t, state, up)
	assert.Equal(t, map[string]any{"etcd new": 50.0, "etcd replace": 70.0, "worker new": 40.0},
		state[secondsKey].Mappable())

	t.Log("nothing changes")
	checked, log = checkRollout(t, state, rollout(t, config, nil, nil))
	assert.Empty(t, log)
	assert.Equal(t, state, checked)

	t.Log("a change")
	config.Etcd.ElectionTimeout, config.Artifacts.Password, config.Pools[0].Count = 2*time.Second, "hunter3", 3
	checked, log = checkRollout(t, state, rollout(t, config, []string{"prod-a-2"}, []string{"prod-etcd-1", "prod-a-2"}))
	assert.Equal(t, `info: changes of machines: 2, about 1m10s
machine      class                step  at a time  duration  keys
prod-etcd-1  replace etcd member  1     1          1m10s     artifacts.password, etcd.electionTimeout
prod-a-2     new                  1     1          40s       pools[0].count
`, log)
	assert.Equal(t, map[string]any{"seconds": 70.0, "machines": []any{
		map[string]any{"machine": "prod-etcd-1", "class": "replace etcd member", "step": 1.0, "atATime": 1.0,
			"seconds": 70.0, "keys": []any{"artifacts.password", "etcd.electionTimeout"}},
		map[string]any{"machine": "prod-a-2", "class": "new", "step": 1.0, "atATime": 1.0, "seconds": 40.0,
			"keys": []any{"pools[0].count"}},
	}}, checked[changesKey].Mappable())

	t.Log("an earlier program has written another format")
	state[configKey] = resource.NewStringProperty("{")
	_, log = checkRollout(t, state, rollout(t, config, nil, []string{"prod-a-1"}))
	assert.Contains(t, log, "prod-a-1  drain and replace  1     1          40s       -\n")

	_, err = newProvider(&engine{}).Delete(t.Context(), plugin.DeleteRequest{Type: rolloutType, Inputs: state})
	assert.NoError(t, err, "without a cloud")
}
