package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil/rpcerror"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// provider is Pulumi's side: inputs are objects as their owner writes them, outputs are what the server has.
type provider struct {
	plugin.UnimplementedProvider
	host host
	// cancelled ends when the engine wants all to end.
	cancelled context.Context
	cancel    context.CancelFunc

	cluster           *cluster
	deleteUnreachable bool
}

// host is the engine, which shows what a resource says: Log for good, LogStatus until the next one.
type host interface {
	Log(ctx context.Context, severity diag.Severity, urn resource.URN, message string) error
	LogStatus(ctx context.Context, severity diag.Severity, urn resource.URN, message string) error
}

func newProvider(host host) *provider {
	p := &provider{host: host}
	p.cancelled, p.cancel = context.WithCancel(context.Background())
	return p
}

// Handshake leaves secrets to the engine: it keeps what it knows as secret from the state.
func (p *provider) Handshake(context.Context,
	plugin.ProviderHandshakeRequest) (*plugin.ProviderHandshakeResponse, error) {
	return &plugin.ProviderHandshakeResponse{}, nil
}

func (p *provider) GetPluginInfo(context.Context) (plugin.PluginInfo, error) {
	v, err := semver.Parse(version)
	return plugin.PluginInfo{Version: &v}, err
}

func (p *provider) SignalCancellation(context.Context) error {
	p.cancel()
	return nil
}

func (p *provider) Close() error { return nil }

func (p *provider) CheckConfig(_ context.Context, r plugin.CheckConfigRequest) (plugin.CheckConfigResponse, error) {
	return plugin.CheckConfigResponse{Properties: r.News}, nil
}

// clusterIdentifier says which cluster a kubeconfig is of.
const clusterIdentifier resource.PropertyKey = "clusterIdentifier"

// DiffConfig replaces the provider, and with it all of its objects, for another clusterIdentifier alone.
func (p *provider) DiffConfig(_ context.Context, r plugin.DiffConfigRequest) (plugin.DiffConfigResponse, error) {
	diff := r.OldInputs.Diff(r.NewInputs)
	if diff == nil {
		return plugin.DiffResult{Changes: plugin.DiffNone}, nil
	}
	result := plugin.DiffResult{Changes: plugin.DiffSome, ChangedKeys: diff.ChangedKeys()}
	if diff.Updated(clusterIdentifier) {
		result.ReplaceKeys = []resource.PropertyKey{clusterIdentifier}
	}
	return result, nil
}

func (p *provider) Configure(_ context.Context, r plugin.ConfigureRequest) (plugin.ConfigureResponse, error) {
	p.deleteUnreachable = os.Getenv("PULUMI_K8S_DELETE_UNREACHABLE") == "true"
	if flag, set := r.Inputs["deleteUnreachable"]; set {
		p.deleteUnreachable = flag.IsBool() && flag.BoolValue() || flag.IsString() && flag.StringValue() == "true"
	}
	kubeconfig := r.Inputs["kubeconfig"]
	if !kubeconfig.IsString() {
		return plugin.ConfigureResponse{}, errors.New("the provider has no kubeconfig")
	}
	var err error
	p.cluster, err = newCluster(kubeconfig.StringValue())
	return plugin.ConfigureResponse{}, err
}

// kind is what a token names: kubernetes:apps/v1:Deployment.
func kind(token tokens.Type) (schema.GroupVersionKind, error) {
	module := string(token.Module().Name())
	version, err := schema.ParseGroupVersion(strings.TrimPrefix(module, "core/"))
	return version.WithKind(string(token.Name())), err
}

// Check completes the object by what its token says. It has to have a name: what Kubernetes keeps is found by it.
func (p *provider) Check(_ context.Context, r plugin.CheckRequest) (plugin.CheckResponse, error) {
	kind, err := kind(r.Type)
	if err != nil {
		return plugin.CheckResponse{}, err
	}
	news := r.News.Copy()
	var failures []plugin.CheckFailure
	for key, want := range map[resource.PropertyKey]string{"apiVersion": kind.GroupVersion().String(), "kind": kind.Kind} {
		if has := news[key]; has.IsString() && has.StringValue() != want {
			reason := fmt.Sprintf("is %q, and the resource is a %s", has.StringValue(), r.Type)
			failures = append(failures, plugin.CheckFailure{Property: key, Reason: reason})
		}
		news[key] = resource.NewStringProperty(want)
	}
	name, _ := resource.PropertyPath{"metadata", "name"}.Get(resource.NewObjectProperty(news))
	if !name.IsComputed() && (!name.IsString() || name.StringValue() == "") {
		failures = append(failures, plugin.CheckFailure{Property: "metadata.name", Reason: "must be set"})
	}
	return plugin.CheckResponse{Properties: news, Failures: failures}, nil
}

// Diff compares what was wanted with what is. What gets another name is replaced, and so is what
// the server refuses to change, but would take anew.
func (p *provider) Diff(ctx context.Context, r plugin.DiffRequest) (plugin.DiffResult, error) {
	diff := r.OldInputs.Diff(r.NewInputs)
	if diff == nil {
		return plugin.DiffResult{Changes: plugin.DiffNone}, nil
	}
	changes := plugin.NewDetailedDiffFromObjectDiff(diff, true)
	moved := replace(changes, "apiVersion", "kind", "metadata.name", "metadata.namespace")
	if !moved {
		var refused *immutableError
		if err := p.try(ctx, r.NewInputs); errors.As(err, &refused) {
			replace(changes, refused.fields...)
		}
	}
	return plugin.DiffResult{Changes: plugin.DiffSome, DetailedDiff: changes, DeleteBeforeReplace: !moved}, nil
}

// replace marks the changes at these fields, within them and around them, and tells whether there is one.
func replace(changes map[string]plugin.PropertyDiff, fields ...string) bool {
	found := false
	for path, change := range changes {
		for _, field := range fields {
			if strings.HasPrefix(path, field) || strings.HasPrefix(field, path) {
				change.Kind = change.Kind.AsReplace()
				changes[path], found = change, true
			}
		}
	}
	return found
}

// immutableError is of an object that the server would create, and to which it
// does not let the one be changed that is there.
type immutableError struct {
	error
	fields []string
}

func (p *provider) Create(ctx context.Context, r plugin.CreateRequest) (plugin.CreateResponse, error) {
	if r.Preview {
		err := p.try(ctx, r.Properties)
		if errors.As(err, new(*immutableError)) {
			err = nil // what is there goes first
		}
		return plugin.CreateResponse{Properties: r.Properties}, err
	}
	id, outputs, err := p.apply(ctx, r.URN, r.Properties, r.Timeout)
	return plugin.CreateResponse{ID: id, Properties: outputs}, err
}

func (p *provider) Update(ctx context.Context, r plugin.UpdateRequest) (plugin.UpdateResponse, error) {
	if r.Preview {
		return plugin.UpdateResponse{Properties: r.NewInputs}, p.try(ctx, r.NewInputs)
	}
	_, outputs, err := p.apply(ctx, r.URN, r.NewInputs, r.Timeout)
	return plugin.UpdateResponse{Properties: outputs}, err
}

// try is the error with which the server would refuse the object, as far as it can be asked: of what is not known yet,
// in a namespace or of a kind that is not there yet, and where it does not answer there is none.
func (p *provider) try(ctx context.Context, properties resource.PropertyMap) error {
	if properties.ContainsUnknowns() || p.cluster.unreachable() != nil {
		return nil
	}
	o, err := object(properties.Mappable())
	if err != nil {
		return err
	}
	_, err = p.cluster.apply(ctx, o, true)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	var refused *apierrors.StatusError
	if !apierrors.IsInvalid(err) || !errors.As(err, &refused) || refused.ErrStatus.Details == nil {
		return err
	}
	o.SetName(o.GetName() + "-replacement")
	if _, createErr := p.cluster.apply(ctx, o, true); createErr != nil {
		return err
	}
	var fields []string
	for _, cause := range refused.ErrStatus.Details.Causes {
		fields = append(fields, cause.Field)
	}
	return &immutableError{err, fields}
}

// apply makes the object what it says, and waits until it is ready. One that does not become it is
// there all the same, and the engine remembers it.
func (p *provider) apply(
	ctx context.Context, urn resource.URN, properties resource.PropertyMap, timeout float64,
) (resource.ID, resource.PropertyMap, error) {
	ctx, done := p.limit(ctx, timeout)
	defer done()
	if err := p.cluster.unreachable(); err != nil {
		return "", nil, err
	}
	o, err := object(properties.Mappable())
	if err != nil {
		return "", nil, err
	}
	live, err := p.cluster.apply(ctx, o, false)
	if err != nil {
		return "", nil, err
	}
	live, err = p.cluster.wait(ctx, live, func(state string) { _ = p.host.LogStatus(ctx, diag.Info, urn, state) })
	name, state := resource.ID(id(live)), outputs(live, properties)
	if err != nil {
		return "", nil, unready(name, state, properties, err)
	}
	_ = p.host.LogStatus(ctx, diag.Info, urn, "")
	return name, state, nil
}

// limit bounds an operation by the resource's timeout in seconds, ten minutes by default, and by the engine's patience.
func (p *provider) limit(ctx context.Context, timeout float64) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		timeout = (10 * time.Minute).Seconds()
	}
	ctx, done := context.WithTimeout(ctx, time.Duration(timeout*float64(time.Second)))
	stop := context.AfterFunc(p.cancelled, done)
	return ctx, func() { stop(); done() }
}

// outputs is the live object. Of a Secret it is the inputs: the engine knows only of these what is secret.
func outputs(live *unstructured.Unstructured, inputs resource.PropertyMap) resource.PropertyMap {
	if live.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Secret"}) {
		return inputs
	}
	live = live.DeepCopy()
	live.SetManagedFields(nil)
	return resource.NewPropertyMapFromMap(live.Object)
}

// unready is how the engine hears of an object that is there and not ready.
func unready(id resource.ID, outputs, inputs resource.PropertyMap, reason error) error {
	state, err := plugin.MarshalProperties(outputs, plugin.MarshalOptions{KeepUnknowns: true})
	if err != nil {
		return err
	}
	wanted, err := plugin.MarshalProperties(inputs, plugin.MarshalOptions{KeepUnknowns: true})
	if err != nil {
		return err
	}
	return rpcerror.WithDetails(rpcerror.New(codes.Unknown, reason.Error()), &pulumirpc.ErrorResourceInitFailed{
		Id: string(id), Properties: state, Inputs: wanted, Reasons: []string{reason.Error()},
	})
}

// Read is a refresh. The inputs stay as they are unless applying them would change something: then they become what is.
func (p *provider) Read(ctx context.Context, r plugin.ReadRequest) (plugin.ReadResponse, error) {
	ctx, done := p.limit(ctx, r.Timeout)
	defer done()
	if len(r.Inputs) == 0 {
		return plugin.ReadResponse{}, errors.New("this provider neither imports nor looks up what is there")
	}
	if err := p.cluster.unreachable(); err != nil {
		return plugin.ReadResponse{}, p.forget(ctx, r.URN, err)
	}
	o, err := object(r.Inputs.Mappable())
	if err != nil {
		return plugin.ReadResponse{}, err
	}
	live, err := p.cluster.get(ctx, o)
	if live == nil || err != nil {
		return plugin.ReadResponse{}, err
	}
	inputs := r.Inputs
	if applied, err := p.cluster.apply(ctx, o, true); err != nil || !same(applied, live) {
		inputs = resource.NewPropertyMapFromMap(prune(live.Object, o.Object).(map[string]any))
	}
	return plugin.ReadResponse{ReadResult: plugin.ReadResult{ID: r.ID, Inputs: inputs, Outputs: outputs(live, inputs)}},
		nil
}

// Delete deletes.
func (p *provider) Delete(ctx context.Context, r plugin.DeleteRequest) (plugin.DeleteResponse, error) {
	ctx, done := p.limit(ctx, r.Timeout)
	defer done()
	if err := p.cluster.unreachable(); err != nil {
		return plugin.DeleteResponse{}, p.forget(ctx, r.URN, err)
	}
	o, err := object(r.Inputs.Mappable())
	if err != nil {
		return plugin.DeleteResponse{}, err
	}
	return plugin.DeleteResponse{}, p.cluster.delete(ctx, o)
}

// forget is nil where objects of a cluster that does not answer are to go from the state; else it says how.
func (p *provider) forget(ctx context.Context, urn resource.URN, err error) error {
	if !p.deleteUnreachable {
		return fmt.Errorf("%w\n  where the cluster is gone for good, PULUMI_K8S_DELETE_UNREACHABLE=true in the environment "+
			"forgets its objects", err)
	}
	return p.host.Log(ctx, diag.Warning, urn, err.Error()+"; it is forgotten")
}
