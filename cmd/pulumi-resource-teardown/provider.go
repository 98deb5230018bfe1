package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"

	"kubernetes-openstack/cluster"
)

// instancesType is the type of the resource Instances. The other type is teardown:index:Leftovers.
const instancesType tokens.Type = "teardown:index:Instances"

// Keys of a resource's inputs, which are its whole state.
const (
	// clusterKey is the cluster's name.
	clusterKey resource.PropertyKey = "cluster"
	// onDestroyKey is the setting for volumes and snapshots: cluster.Keep or cluster.Delete.
	onDestroyKey resource.PropertyKey = "onDestroy"
	// instancesKey lists the IDs of the cluster's instances.
	instancesKey resource.PropertyKey = "instances"
)

// provider implements Pulumi's provider interface. Only a delete sends requests to OpenStack, so a preview
// and a refresh need no cloud.
type provider struct {
	plugin.UnimplementedProvider
	host host
	// interval is the time between two reads of resources that are being deleted.
	interval time.Duration
	// declared is true once the engine has called Check. The engine calls it in an up and never in a destroy.
	declared atomic.Bool
	// cancelled is done when the engine cancels the operation.
	cancelled context.Context
	cancel    context.CancelFunc
}

// host is the engine, which shows messages of a resource. Log messages are permanent, and the next message
// replaces a LogStatus message.
type host interface {
	Log(ctx context.Context, severity diag.Severity, urn resource.URN, message string) error
	LogStatus(ctx context.Context, severity diag.Severity, urn resource.URN, message string) error
}

func newProvider(host host) *provider {
	p := &provider{host: host, interval: 2 * time.Second}
	p.cancelled, p.cancel = context.WithCancel(context.Background())
	return p
}

// GetPluginInfo returns an empty version, because the interface requires one. The provider always has the
// version of the program.
func (p *provider) GetPluginInfo(context.Context) (plugin.PluginInfo, error) {
	return plugin.PluginInfo{Version: &semver.Version{}}, nil
}

func (p *provider) Handshake(context.Context,
	plugin.ProviderHandshakeRequest) (*plugin.ProviderHandshakeResponse, error) {
	return &plugin.ProviderHandshakeResponse{}, nil
}

func (p *provider) CheckConfig(_ context.Context, r plugin.CheckConfigRequest) (plugin.CheckConfigResponse, error) {
	return plugin.CheckConfigResponse{Properties: r.News}, nil
}

func (p *provider) DiffConfig(context.Context, plugin.DiffConfigRequest) (plugin.DiffConfigResponse, error) {
	return plugin.DiffResult{Changes: plugin.DiffNone}, nil
}

func (p *provider) Configure(context.Context, plugin.ConfigureRequest) (plugin.ConfigureResponse, error) {
	return plugin.ConfigureResponse{}, nil
}

func (p *provider) Check(_ context.Context, r plugin.CheckRequest) (plugin.CheckResponse, error) {
	p.declared.Store(true)
	var failures []plugin.CheckFailure
	if text(r.News, clusterKey) == "" {
		failures = append(failures, plugin.CheckFailure{Property: clusterKey, Reason: "must be the name of a cluster"})
	}
	if value := text(r.News, onDestroyKey); value != cluster.Keep && value != cluster.Delete {
		reason := fmt.Sprintf("must be %s or %s, got %q", cluster.Keep, cluster.Delete, value)
		failures = append(failures, plugin.CheckFailure{Property: onDestroyKey, Reason: reason})
	}
	return plugin.CheckResponse{Properties: r.News, Failures: failures}, nil
}

// text returns a text input, or "" if it is not a text.
func text(inputs resource.PropertyMap, key resource.PropertyKey) string {
	if v := inputs[key]; v.IsString() {
		return v.StringValue()
	}
	return ""
}

// ids returns the IDs of the instances.
func ids(inputs resource.PropertyMap) []string {
	var out []string
	for _, id := range inputs[instancesKey].ArrayValue() {
		out = append(out, id.StringValue())
	}
	return out
}

func (p *provider) Diff(_ context.Context, r plugin.DiffRequest) (plugin.DiffResult, error) {
	diff := r.OldInputs.Diff(r.NewInputs)
	if diff == nil {
		return plugin.DiffResult{Changes: plugin.DiffNone}, nil
	}
	result := plugin.DiffResult{Changes: plugin.DiffSome, ChangedKeys: diff.ChangedKeys()}
	if diff.Changed(clusterKey) {
		result.ReplaceKeys = []resource.PropertyKey{clusterKey}
	}
	return result, nil
}

func (p *provider) Create(_ context.Context, r plugin.CreateRequest) (plugin.CreateResponse, error) {
	return plugin.CreateResponse{ID: resource.ID(text(r.Properties, clusterKey)), Properties: r.Properties}, nil
}

func (p *provider) Update(ctx context.Context, r plugin.UpdateRequest) (plugin.UpdateResponse, error) {
	if !r.Preview && r.Type != instancesType && text(r.NewInputs, onDestroyKey) == cluster.Delete {
		_ = p.host.Log(ctx, diag.Warning, r.URN, fmt.Sprintf("from now on a destroy deletes the volumes and snapshots of "+
			"the claims in cluster %s with their data", text(r.NewInputs, clusterKey)))
	}
	return plugin.UpdateResponse{Properties: r.NewInputs}, nil
}

func (p *provider) Read(_ context.Context, r plugin.ReadRequest) (plugin.ReadResponse, error) {
	if len(r.Inputs) == 0 {
		return plugin.ReadResponse{}, errors.New("cannot import this resource, because it exists only in the state")
	}
	return plugin.ReadResponse{ReadResult: plugin.ReadResult{ID: r.ID, Inputs: r.Inputs, Outputs: r.State}}, nil
}

func (p *provider) Delete(ctx context.Context, r plugin.DeleteRequest) (plugin.DeleteResponse, error) {
	ctx, done := p.limit(ctx, r.Timeout)
	defer done()
	keep := text(r.Inputs, onDestroyKey) != cluster.Delete
	if r.Type == instancesType && (keep || p.declared.Load()) {
		return plugin.DeleteResponse{}, nil
	}
	cloud, err := connect(ctx)
	if err != nil {
		return plugin.DeleteResponse{}, fmt.Errorf("log in to OpenStack: %w", err)
	}
	if r.Type == instancesType {
		all := ids(r.Inputs)
		_ = p.host.Log(ctx, diag.Info, r.URN, fmt.Sprintf("onDestroy is delete, so the %d instances of cluster %s are "+
			"deleted without a shutdown", len(all), text(r.Inputs, clusterKey)))
		cloud.deleteInstances(ctx, all, p.interval)
		return plugin.DeleteResponse{}, nil
	}
	logContext := context.WithoutCancel(ctx)
	t := teardown{
		cloud: cloud, cluster: text(r.Inputs, clusterKey), keep: keep, interval: p.interval,
		log:    func(message string) { _ = p.host.Log(logContext, diag.Info, r.URN, message) },
		status: func(message string) { _ = p.host.LogStatus(logContext, diag.Info, r.URN, message) },
	}
	return plugin.DeleteResponse{}, t.run(ctx)
}

// limit returns a context that ends after the resource's timeout in seconds, by default ten minutes, or when
// the engine cancels.
func (p *provider) limit(ctx context.Context, timeout float64) (context.Context, context.CancelFunc) {
	limit := time.Duration(timeout * float64(time.Second))
	if limit == 0 {
		limit = 10 * time.Minute
	}
	ctx, done := context.WithTimeoutCause(ctx, limit, fmt.Errorf("timeout after %s", limit))
	stop := context.AfterFunc(p.cancelled, done)
	return ctx, func() { stop(); done() }
}

func (p *provider) Close() error { return nil }

func (p *provider) SignalCancellation(context.Context) error {
	p.cancel()
	return nil
}
