package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/changes"
)

// rolloutType is the type of the resource Rollout, which records the last complete `up`.
const rolloutType tokens.Type = "teardown:index:Rollout"

// Keys of a Rollout's inputs. It also has instancesKey, which maps machines to the IDs of their instances.
const (
	// configKey is the record of the plan's configuration. It is a secret, because it has digests of passwords.
	configKey resource.PropertyKey = "config"
	// portsKey maps machines to the IDs of their ports. The state does not have it.
	portsKey resource.PropertyKey = "ports"
	// secondsKey are the durations of the `up`. The program does not set it in a preview.
	secondsKey resource.PropertyKey = "seconds"
	// changesKey is the table of the changes. The provider sets it in a preview.
	changesKey resource.PropertyKey = "changes"
)

// checkRollout prints the table of the changes in a preview. In a preview, the engine does not know the IDs of
// instances and ports that it would create. So the table shows what the engine does, also after an `up` that failed.
func (p *provider) checkRollout(ctx context.Context, r plugin.CheckRequest) (plugin.CheckResponse, error) {
	checked := r.News.Copy()
	delete(checked, portsKey)
	seconds := resource.PropertyMap{}
	for _, from := range []resource.PropertyMap{r.Olds, r.News} {
		if from[secondsKey].IsObject() {
			for key, value := range from[secondsKey].ObjectValue() {
				seconds[key] = value
			}
		}
	}
	if len(seconds) > 0 {
		checked[secondsKey] = resource.NewObjectProperty(seconds)
	}
	if _, up := r.News[secondsKey]; up {
		return plugin.CheckResponse{Properties: checked}, nil
	}
	table, err := compare(r.Olds, r.News, seconds)
	if err != nil || len(table.Machines) == 0 {
		return plugin.CheckResponse{Properties: checked}, err
	}
	checked[changesKey], err = property(table)
	if err != nil {
		return plugin.CheckResponse{}, err
	}
	return plugin.CheckResponse{Properties: checked}, p.host.Log(ctx, diag.Info, r.URN, table.String())
}

// compare returns the table of the changes.
func compare(olds, news, seconds resource.PropertyMap) (changes.Table, error) {
	config, err := cluster.ReadRecord(text(news, configKey))
	if err != nil {
		return changes.Table{}, fmt.Errorf("%s: %w", configKey, err)
	}
	var before *cluster.Config
	if text(olds, configKey) != "" {
		// an error means that an earlier version of the program wrote another format: the keys are unknown
		if c, err := cluster.ReadRecord(text(olds, configKey)); err == nil {
			before = &c
		}
	}
	took := cluster.Durations{}
	for key := range seconds {
		took[string(key)] = number(seconds, key)
	}
	plan, decisions := cluster.NewPlan(config), map[string]changes.Decision{}
	for _, m := range plan.Machines {
		switch id := resource.PropertyKey(m.ID); {
		case !unknown(news[instancesKey], id):
		case unknown(news[portsKey], id), text(olds, configKey) == "": // a first `up` can fail after it has created ports
			decisions[m.ID] = changes.Creates
		default:
			decisions[m.ID] = changes.Replaces
		}
	}
	return changes.Explain(before, plan, decisions, took), nil
}

// unknown returns true if the engine does not know the value of a key yet.
func unknown(object resource.PropertyValue, key resource.PropertyKey) bool {
	return object.IsObject() && object.ObjectValue()[key].IsComputed()
}

// property returns the object that a reader of `pulumi preview --json` gets.
func property(table changes.Table) (resource.PropertyValue, error) {
	text, err := json.Marshal(table)
	if err != nil {
		return resource.PropertyValue{}, err
	}
	var object map[string]any
	err = json.Unmarshal(text, &object)
	return resource.NewPropertyValue(object), err
}
