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

// provider implements Pulumi's plugin API. The inputs of a resource are the declared object, and its outputs are the
// live object.
type provider struct {
	plugin.UnimplementedProvider
	host host
	// cancelled is done after the engine has requested the cancellation of all operations.
	cancelled context.Context
	cancel    context.CancelFunc

	cluster           *cluster
	deleteUnreachable bool
}

// host is the engine. It shows messages about resources: those of Log permanently, those of LogStatus until the next
// message.
type host interface {
	Log(ctx context.Context, severity diag.Severity, urn resource.URN, message string) error
	LogStatus(ctx context.Context, severity diag.Severity, urn resource.URN, message string) error
}

func newProvider(host host) *provider {
	p := &provider{host: host}
	p.cancelled, p.cancel = context.WithCancel(context.Background())
	return p
}

// Handshake does not accept secrets, so the engine tracks them itself: an output is secret if the same input is secret.
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

// clusterIdentifier is the setting that identifies the cluster of a kubeconfig.
const clusterIdentifier resource.PropertyKey = "clusterIdentifier"

// DiffConfig replaces the provider with all its objects only if clusterIdentifier changes.
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
		return plugin.ConfigureResponse{}, errors.New("kubeconfig: must be set to the text of a kubeconfig")
	}
	var err error
	p.cluster, err = newCluster(kubeconfig.StringValue())
	return plugin.ConfigureResponse{}, err
}

// kindOf returns the kind in a token such as kubernetes:apps/v1:Deployment.
func kindOf(token tokens.Type) (schema.GroupVersionKind, error) {
	module := string(token.Module().Name())
	version, err := schema.ParseGroupVersion(strings.TrimPrefix(module, "core/"))
	return version.WithKind(string(token.Name())), err
}

// Check adds the kind in the token to the object. The object must have a name, because the provider finds it by its
// name.
func (p *provider) Check(_ context.Context, r plugin.CheckRequest) (plugin.CheckResponse, error) {
	kind, err := kindOf(r.Type)
	if err != nil {
		return plugin.CheckResponse{}, err
	}
	news := r.News.Copy()
	var failures []plugin.CheckFailure
	for key, want := range map[resource.PropertyKey]string{"apiVersion": kind.GroupVersion().String(), "kind": kind.Kind} {
		if got := news[key]; got.IsString() && got.StringValue() != want {
			reason := fmt.Sprintf("must be %q for %s, got %q", want, r.Type, got.StringValue())
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

// Diff compares the old inputs with the new ones. An object with a new name is replaced. An object is also replaced if
// the server rejects the update and would accept a new object.
func (p *provider) Diff(ctx context.Context, r plugin.DiffRequest) (plugin.DiffResult, error) {
	diff := r.OldInputs.Diff(r.NewInputs)
	if diff == nil {
		return plugin.DiffResult{Changes: plugin.DiffNone}, nil
	}
	changes := plugin.NewDetailedDiffFromObjectDiff(diff, true)
	renamed := markReplace(changes, "apiVersion", "kind", "metadata.name", "metadata.namespace")
	if !renamed {
		var rejected *immutableError
		if err := p.dryRun(ctx, r.NewInputs); errors.As(err, &rejected) {
			markReplace(changes, rejected.fields...)
		}
	}
	return plugin.DiffResult{Changes: plugin.DiffSome, DetailedDiff: changes, DeleteBeforeReplace: !renamed}, nil
}

// markReplace marks the changes of these fields, of fields inside them and of objects around them. It returns whether
// it found a change.
func markReplace(changes map[string]plugin.PropertyDiff, fields ...string) bool {
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

// immutableError means that the server rejects an update of immutable fields, but would accept a new object.
type immutableError struct {
	error
	fields []string
}

func (p *provider) Create(ctx context.Context, r plugin.CreateRequest) (plugin.CreateResponse, error) {
	if r.Preview {
		err := p.dryRun(ctx, r.Properties)
		if errors.As(err, new(*immutableError)) {
			err = nil // the existing object is deleted before this one is created
		}
		return plugin.CreateResponse{Properties: r.Properties}, err
	}
	id, outputs, err := p.apply(ctx, r.URN, r.Properties, r.Timeout)
	return plugin.CreateResponse{ID: id, Properties: outputs}, err
}

func (p *provider) Update(ctx context.Context, r plugin.UpdateRequest) (plugin.UpdateResponse, error) {
	if r.Preview {
		return plugin.UpdateResponse{Properties: r.NewInputs}, p.dryRun(ctx, r.NewInputs)
	}
	_, outputs, err := p.apply(ctx, r.URN, r.NewInputs, r.Timeout)
	return plugin.UpdateResponse{Properties: outputs}, err
}

// dryRun returns the error with which the server would reject the object. It returns nil if the server does not answer
// or cannot check the object yet: some properties are unknown, or its namespace or its kind does not exist.
func (p *provider) dryRun(ctx context.Context, properties resource.PropertyMap) error {
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
	var rejected *apierrors.StatusError
	if !apierrors.IsInvalid(err) || !errors.As(err, &rejected) || rejected.ErrStatus.Details == nil {
		return err
	}
	o.SetName(o.GetName() + "-replacement")
	if _, createErr := p.cluster.apply(ctx, o, true); createErr != nil {
		return err
	}
	var fields []string
	for _, cause := range rejected.ErrStatus.Details.Causes {
		fields = append(fields, cause.Field)
	}
	return &immutableError{err, fields}
}

// apply creates or updates the object, and waits until it is ready. If the object does not become ready, the error
// contains it for the state, because it exists.
func (p *provider) apply(
	ctx context.Context, urn resource.URN, properties resource.PropertyMap, timeout float64,
) (resource.ID, resource.PropertyMap, error) {
	ctx, done := p.withTimeout(ctx, timeout)
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
		return "", nil, initFailed(name, state, properties, err)
	}
	_ = p.host.LogStatus(ctx, diag.Info, urn, "")
	return name, state, nil
}

// withTimeout returns a context that ends after the resource's timeout in seconds, or when the engine cancels all
// operations. The default timeout is ten minutes.
func (p *provider) withTimeout(ctx context.Context, timeout float64) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		timeout = (10 * time.Minute).Seconds()
	}
	ctx, done := context.WithTimeout(ctx, time.Duration(timeout*float64(time.Second)))
	stop := context.AfterFunc(p.cancelled, done)
	return ctx, func() { stop(); done() }
}

// outputs returns the live object. For a Secret it returns the inputs, because the engine knows only which inputs are
// secret.
func outputs(live *unstructured.Unstructured, inputs resource.PropertyMap) resource.PropertyMap {
	if live.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Secret"}) {
		return inputs
	}
	live = live.DeepCopy()
	live.SetManagedFields(nil)
	return resource.NewPropertyMapFromMap(live.Object)
}

// initFailed returns the error for an object that exists but is not ready. The engine keeps the object in the state.
func initFailed(id resource.ID, outputs, inputs resource.PropertyMap, reason error) error {
	state, err := plugin.MarshalProperties(outputs, plugin.MarshalOptions{KeepUnknowns: true})
	if err != nil {
		return err
	}
	declared, err := plugin.MarshalProperties(inputs, plugin.MarshalOptions{KeepUnknowns: true})
	if err != nil {
		return err
	}
	return rpcerror.WithDetails(rpcerror.New(codes.Unknown, reason.Error()), &pulumirpc.ErrorResourceInitFailed{
		Id: string(id), Properties: state, Inputs: declared, Reasons: []string{reason.Error()},
	})
}

// Read refreshes a resource. If an apply of the inputs would change the live object, the inputs become the live values.
func (p *provider) Read(ctx context.Context, r plugin.ReadRequest) (plugin.ReadResponse, error) {
	ctx, done := p.withTimeout(ctx, r.Timeout)
	defer done()
	if len(r.Inputs) == 0 {
		return plugin.ReadResponse{}, errors.New("import and lookup are not supported: declare the object instead")
	}
	if err := p.cluster.unreachable(); err != nil {
		return plugin.ReadResponse{}, p.removeFromState(ctx, r.URN, err)
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
	if applied, err := p.cluster.apply(ctx, o, true); err != nil || !equal(applied, live) {
		inputs = resource.NewPropertyMapFromMap(prune(live.Object, o.Object).(map[string]any))
	}
	return plugin.ReadResponse{ReadResult: plugin.ReadResult{ID: r.ID, Inputs: inputs, Outputs: outputs(live, inputs)}},
		nil
}

// Delete deletes an object.
func (p *provider) Delete(ctx context.Context, r plugin.DeleteRequest) (plugin.DeleteResponse, error) {
	ctx, done := p.withTimeout(ctx, r.Timeout)
	defer done()
	if err := p.cluster.unreachable(); err != nil {
		return plugin.DeleteResponse{}, p.removeFromState(ctx, r.URN, err)
	}
	o, err := object(r.Inputs.Mappable())
	if err != nil {
		return plugin.DeleteResponse{}, err
	}
	return plugin.DeleteResponse{}, p.cluster.delete(ctx, o)
}

// removeFromState handles err, the reason why the cluster is unreachable. If deleteUnreachable is set, it logs a
// warning and returns nil, and the engine removes the object from the state.
func (p *provider) removeFromState(ctx context.Context, urn resource.URN, err error) error {
	if !p.deleteUnreachable {
		return fmt.Errorf("%w\n  if the cluster no longer exists, set PULUMI_K8S_DELETE_UNREACHABLE=true in the "+
			"environment to remove its objects from the state", err)
	}
	return p.host.Log(ctx, diag.Warning, urn, err.Error()+"; the object is removed from the state")
}
