package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/changes"
)

// instancesType is the type of the resource Instances. The other types are rolloutType and teardown:index:Leftovers.
const instancesType tokens.Type = "teardown:index:Instances"

// Keys of the provider's settings.
const (
	// projectKey is the ID of the project with the stack's resources. It is not set in a preview, which needs no cloud.
	projectKey resource.PropertyKey = "project"
	// machinesKey maps addresses to the IDs of their machines.
	machinesKey resource.PropertyKey = "machines"
	// membersKey is the number of etcd members.
	membersKey resource.PropertyKey = "members"
	// renamedKey maps IDs of machines to former IDs. The provider sets it.
	renamedKey resource.PropertyKey = "renamed"
)

// fixed maps settings that must never change, which are keys of the configuration's network, to the reasons.
var fixed = map[resource.PropertyKey]string{
	"podCIDR":     dropsPackets,
	"serviceCIDR": dropsPackets,
	"mode":        "`pulumi up` would replace the ports of all machines at once",
	"networkID":   "`pulumi up` would replace the ports of all machines at once",
	"subnetID":    "the addresses of all machines would change at once",
	"cidr":        "Neutron cannot replace a subnet that has ports, and the router would lose its port first",
}

const dropsPackets = "Neutron would drop packets of all running machines at once"

// Keys of a resource's inputs, which are its whole state.
const (
	// clusterKey is the cluster's name.
	clusterKey resource.PropertyKey = "cluster"
	// onDestroyKey is the setting for volumes and snapshots: cluster.Keep or cluster.Delete.
	onDestroyKey resource.PropertyKey = "onDestroy"
	// instancesKey lists the IDs of the cluster's instances.
	instancesKey resource.PropertyKey = "instances"
)

// provider implements Pulumi's provider interface. After its start, only a delete sends requests to OpenStack.
type provider struct {
	plugin.UnimplementedProvider
	host host
	// project is the ID of the stack's project from the environment, or "" in a preview. verified is the error if
	// the credentials are not for this project.
	project  string
	verified error
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

// GetPluginInfo returns an error if the credentials are not for the stack's project. It is the last call in which an
// error means that the provider does not start. It returns an empty version, because the interface requires one.
// The provider always has the version of the program.
func (p *provider) GetPluginInfo(context.Context) (plugin.PluginInfo, error) {
	return plugin.PluginInfo{Version: &semver.Version{}}, p.verified
}

func (p *provider) Handshake(context.Context,
	plugin.ProviderHandshakeRequest) (*plugin.ProviderHandshakeResponse, error) {
	return &plugin.ProviderHandshakeResponse{}, nil
}

// CheckConfig compares the stack's project and its machines with those of the last `up`. The projects differ if
// an operator deleted the security groups, and this `up` created new ones with the credentials of another project.
func (p *provider) CheckConfig(ctx context.Context, r plugin.CheckConfigRequest) (plugin.CheckConfigResponse, error) {
	checked := plugin.CheckConfigResponse{Properties: r.News.Copy()}
	fail := func(key resource.PropertyKey, reason string) {
		checked.Failures = append(checked.Failures, plugin.CheckFailure{Property: key, Reason: reason})
	}
	old, now := text(r.Olds, projectKey), text(r.News, projectKey)
	switch {
	case now == "":
	case old != "" && old != now:
		fail(projectKey, fmt.Sprintf("the resources of this stack are in OpenStack project %s, but its security groups are "+
			"in project %s: delete these groups in project %[2]s, run `pulumi refresh` with credentials for project %[1]s, "+
			"then `pulumi up`", old, now))
	case now != p.project:
		fail(projectKey, "the pulumi command must support environment variables of providers: install version 3.253.0 or "+
			"later")
	}
	failures, table := refused(r.Name, r.Olds, r.News)
	checked.Failures = append(checked.Failures, failures...)
	if len(table.Machines) > 0 {
		_ = p.host.Log(ctx, diag.Info, r.URN, table.String())
	}
	if renamed := renamed(r.Olds, r.News); len(renamed) > 0 {
		checked.Properties[renamedKey] = resource.NewObjectProperty(renamed)
	}
	return checked, nil
}

// refused returns the changes since the last `up` that would stop the whole cluster at once, and their machines. It
// compares settings, so a preview shows them without a cloud. name is that of the cluster.
func refused(name string, olds, news resource.PropertyMap) (failures []plugin.CheckFailure, table changes.Table) {
	keys := map[string][]string{}
	refuse := func(property resource.PropertyKey, key string, machines []string, format string, values ...any) {
		const hint = ". If the cluster has no data yet, run `pulumi destroy` first"
		failures = append(failures, plugin.CheckFailure{
			Property: property, Reason: key + ": " + fmt.Sprintf(format, values...) + hint})
		for _, m := range machines {
			keys[m] = append(keys[m], key)
		}
	}
	const otherStack = "create another stack, and restore a snapshot of etcd there"
	if before, now := number(olds, membersKey), number(news, membersKey); now < before {
		refuse(membersKey, "etcd.count", removedMembers(name, olds, news), "must stay at least %d, not %d: `pulumi up` "+
			"would delete members that etcd still counts for its majority. For fewer members, %s", before, now, otherStack)
	}
	for _, key := range slices.Sorted(maps.Keys(fixed)) {
		if before, now := text(olds, key), text(news, key); before != "" && before != now {
			refuse(key, "network."+string(key), slices.Collect(maps.Values(machines(olds))), "must stay %s, not %s: %s. For "+
				"another network or range, create another stack", before, cmp.Or(now, "empty"), fixed[key])
		}
	}
	if ids, moves := moved(olds, news); len(ids) > 0 {
		refuse(machinesKey, "addresses", ids, "%s: the ports of all these machines would change at once. To move workers, "+
			"add a pool with the new block, then remove this one. To move etcd or control planes, %s",
			strings.Join(moves, ", "), otherStack)
	}
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		table.Machines = append(table.Machines, changes.Change{Machine: id, Class: changes.Refused, Keys: keys[id]})
	}
	return failures, table
}

// machines returns the IDs of the machines in a provider's settings by their addresses.
func machines(settings resource.PropertyMap) map[string]string {
	out := map[string]string{}
	if settings[machinesKey].IsObject() {
		for address, id := range settings[machinesKey].ObjectValue() {
			out[string(address)] = id.StringValue()
		}
	}
	return out
}

// removedMembers returns the machines of etcd that only olds has. name is that of the cluster.
func removedMembers(name string, olds, news resource.PropertyMap) (out []string) {
	now := machines(news)
	for address, id := range machines(olds) {
		if strings.HasPrefix(id, name+"-"+string(cluster.RoleEtcd)+"-") && now[address] != id {
			out = append(out, id)
		}
	}
	return out
}

// moved returns the machines that have another address than in the last `up`, and a text about the first three.
func moved(olds, news resource.PropertyMap) (ids, texts []string) {
	before := map[string]string{}
	for address, id := range machines(olds) {
		before[id] = address
	}
	now := machines(news)
	for _, address := range slices.Sorted(maps.Keys(now)) {
		id := now[address]
		if old, exists := before[id]; exists && old != address {
			ids = append(ids, id)
			texts = append(texts, fmt.Sprintf("%s must keep %s, not get %s", id, old, address))
		}
	}
	if more := len(texts) - 3; more > 0 {
		texts = append(texts[:3], fmt.Sprintf("and %d more", more))
	}
	return ids, texts
}

// renamed returns the former ID of each machine that now has the address of another one, because its pool has
// another name. Neutron gives an address to one port at a time, so the machine gets the port of the former one. It
// keeps the former IDs of earlier changes, because an `up` may not have finished.
func renamed(olds, news resource.PropertyMap) resource.PropertyMap {
	if !olds[machinesKey].IsObject() || !news[machinesKey].IsObject() {
		return nil
	}
	before, now, earlier := olds[machinesKey].ObjectValue(), news[machinesKey].ObjectValue(), resource.PropertyMap{}
	if olds[renamedKey].IsObject() {
		earlier = olds[renamedKey].ObjectValue()
	}
	exists := map[string]bool{}
	for _, id := range now {
		exists[id.StringValue()] = true
	}
	out := resource.PropertyMap{}
	for _, address := range now.StableKeys() {
		id, former := now[address].StringValue(), text(before, address)
		if former == id {
			former = text(earlier, resource.PropertyKey(id))
			if exists[former] {
				continue // this machine is new, so the rename has finished
			}
		}
		if former == "" || exists[former] {
			continue // a machine that exists keeps its address: see refused
		}
		out[resource.PropertyKey(id)] = resource.NewStringProperty(former)
	}
	return out
}

// DiffConfig returns a difference if the program needs other former IDs. A preview does not set the project, and
// the machines have effects elsewhere.
func (p *provider) DiffConfig(_ context.Context, r plugin.DiffConfigRequest) (plugin.DiffConfigResponse, error) {
	if r.OldInputs[renamedKey].DeepEquals(r.NewInputs[renamedKey]) {
		return plugin.DiffResult{Changes: plugin.DiffNone}, nil
	}
	return plugin.DiffResult{Changes: plugin.DiffSome, ChangedKeys: []resource.PropertyKey{renamedKey}}, nil
}

func (p *provider) Configure(context.Context, plugin.ConfigureRequest) (plugin.ConfigureResponse, error) {
	return plugin.ConfigureResponse{}, nil
}

func (p *provider) Check(ctx context.Context, r plugin.CheckRequest) (plugin.CheckResponse, error) {
	p.declared.Store(true)
	if r.Type == rolloutType {
		return p.checkRollout(ctx, r)
	}
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

// number returns a number, or 0 if the input is not one.
func number(inputs resource.PropertyMap, key resource.PropertyKey) int {
	if v := inputs[key]; v.IsNumber() {
		return int(v.NumberValue())
	}
	return 0
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
	switch {
	case diff == nil:
		return plugin.DiffResult{Changes: plugin.DiffNone}, nil
	case diff.Changed(clusterKey):
		return plugin.DiffResult{
			Changes: plugin.DiffSome, ChangedKeys: diff.ChangedKeys(), ReplaceKeys: []resource.PropertyKey{clusterKey},
		}, nil
	}
	return plugin.DiffResult{Changes: plugin.DiffSome, ChangedKeys: diff.ChangedKeys()}, nil
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
	if r.Type == rolloutType {
		return plugin.DeleteResponse{}, nil
	}
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
