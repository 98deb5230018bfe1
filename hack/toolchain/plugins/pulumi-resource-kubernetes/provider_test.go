package main

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes" // keeps the SDK in go.mod
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestKubernetesProvider in the folder tests runs the provider with a real engine and a real API server.

// messages is an engine that records messages.
type messages []string

func (m *messages) Log(_ context.Context, severity diag.Severity, _ resource.URN, message string) error {
	*m = append(*m, string(severity)+": "+message)
	return nil
}

func (m *messages) LogStatus(ctx context.Context, severity diag.Severity, urn resource.URN, message string) error {
	return m.Log(ctx, severity, urn, message)
}

// withUnreachableCluster returns a configured provider whose cluster does not answer. more are additional settings.
func withUnreachableCluster(t *testing.T, more resource.PropertyMap) (*provider, *messages) {
	t.Helper()
	engine := &messages{}
	p := newProvider(engine)
	inputs := resource.PropertyMap{"kubeconfig": resource.NewStringProperty(
		`{"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "contexts": [{"name": "c", "context": ` +
			`{"cluster": "c"}}], "current-context": "c"}`)}
	for key, value := range more {
		inputs[key] = value
	}
	_, err := p.Configure(t.Context(), plugin.ConfigureRequest{Inputs: inputs})
	require.NoError(t, err)
	return p, engine
}

func properties(t *testing.T, text string) resource.PropertyMap {
	t.Helper()
	return resource.NewPropertyMapFromMap(parse(t, text).Object)
}

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	object, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	o := &unstructured.Unstructured{}
	require.NoError(t, o.UnmarshalJSON(object))
	return o
}

// Each token of the SDK names the version and the kind that the SDK sends with it.
func TestTokens(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/pulumi/pulumi-kubernetes/sdk/v4").Output()
	require.NoError(t, err)
	var (
		call        = regexp.MustCompile(`ctx\.RegisterResource\("(kubernetes:[^"]+)", `)
		sentVersion = regexp.MustCompile(`args\.ApiVersion = pulumi\.StringPtr\("(.*)"\)`)
		sentKind    = regexp.MustCompile(`args\.Kind = pulumi\.StringPtr\("(.*)"\)`)
		found       = 0
		// Check rejects a patch, because the kind in its token is not the kind that the SDK sends.
		notAnObject = regexp.MustCompile(`Patch$|:meta/`)
	)
	require.NoError(t, filepath.WalkDir(strings.TrimSpace(string(dir)), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		token, version, name := call.FindSubmatch(source), sentVersion.FindSubmatch(source), sentKind.FindSubmatch(source)
		if token == nil || version == nil || notAnObject.Match(token[1]) {
			return err
		}
		kind, err := kindOf(tokens.Type(token[1]))
		require.NoError(t, err)
		assert.Equal(t, string(version[1])+" "+string(name[1]), kind.GroupVersion().String()+" "+kind.Kind)
		found++
		return nil
	}))
	assert.Greater(t, found, 300)
}

func TestCheck(t *testing.T) {
	p := newProvider(&messages{})
	check := func(text string) (resource.PropertyMap, []plugin.CheckFailure) {
		r, err := p.Check(t.Context(), plugin.CheckRequest{Type: "kubernetes:core/v1:ConfigMap", News: properties(t, text)})
		require.NoError(t, err)
		return r.Properties, r.Failures
	}
	got, failures := check("{kind: ConfigMap, metadata: {name: a}}")
	assert.Empty(t, failures)
	assert.Equal(t, properties(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"), got)
	_, failures = check("{kind: Secret, metadata: {labels: {a: b}}}")
	assert.ElementsMatch(t, []plugin.CheckFailure{
		{Property: "kind", Reason: `must be "ConfigMap" for kubernetes:core/v1:ConfigMap, got "Secret"`},
		{Property: "metadata.name", Reason: "must be set"},
	}, failures)
}

// A changed kubeconfig does not replace the provider, because the cluster is the same.
func TestDiffConfig(t *testing.T) {
	p := newProvider(&messages{})
	diff := func(old, new string) plugin.DiffResult {
		r, err := p.DiffConfig(t.Context(), plugin.DiffConfigRequest{
			OldInputs: properties(t, "{kind: x, "+old+"}"), NewInputs: properties(t, "{kind: x, "+new+"}"),
		})
		require.NoError(t, err)
		return r
	}
	assert.Equal(t, plugin.DiffNone, diff("kubeconfig: a", "kubeconfig: a").Changes)
	update := diff("kubeconfig: a, clusterIdentifier: dev", "kubeconfig: b, clusterIdentifier: dev")
	assert.Equal(t, plugin.DiffSome, update.Changes)
	assert.Empty(t, update.ReplaceKeys)
	assert.Equal(t, []resource.PropertyKey{"clusterIdentifier"},
		diff("clusterIdentifier: dev", "clusterIdentifier: prod").ReplaceKeys)
}

// If the API does not answer, a preview compares inputs, and up fails. Objects are removed from the state if
// deleteUnreachable is set.
func TestUnreachable(t *testing.T) {
	p, _ := withUnreachableCluster(t, nil)
	old := properties(t, "{kind: A, metadata: {name: a}, spec: {b: 1}}")
	new := properties(t, "{kind: A, metadata: {name: a}, spec: {b: 2}}")
	diff, err := p.Diff(t.Context(), plugin.DiffRequest{OldInputs: old, NewInputs: new})
	require.NoError(t, err)
	assert.Equal(t, map[string]plugin.PropertyDiff{"spec.b": {Kind: plugin.DiffUpdate, InputDiff: true}},
		diff.DetailedDiff)
	moved := properties(t, "{kind: A, metadata: {name: b}, spec: {b: 1}}")
	diff, err = p.Diff(t.Context(), plugin.DiffRequest{OldInputs: old, NewInputs: moved})
	require.NoError(t, err)
	assert.Equal(t, map[string]plugin.PropertyDiff{"metadata.name": {Kind: plugin.DiffUpdateReplace, InputDiff: true}},
		diff.DetailedDiff)
	assert.False(t, diff.DeleteBeforeReplace)

	created, err := p.Create(t.Context(), plugin.CreateRequest{Properties: new, Preview: true})
	require.NoError(t, err)
	assert.Equal(t, new, created.Properties)
	_, err = p.Create(t.Context(), plugin.CreateRequest{Properties: new})
	assert.ErrorContains(t, err, "the cluster is unreachable: ")
	_, err = p.Read(t.Context(), plugin.ReadRequest{Inputs: new})
	assert.ErrorContains(t, err, "PULUMI_K8S_DELETE_UNREACHABLE=true")
	_, err = p.Delete(t.Context(), plugin.DeleteRequest{Inputs: new})
	assert.ErrorContains(t, err, "PULUMI_K8S_DELETE_UNREACHABLE=true")

	assertRemoved := func(p *provider, engine *messages) {
		_, err := p.Delete(t.Context(), plugin.DeleteRequest{Inputs: new})
		require.NoError(t, err)
		read, err := p.Read(t.Context(), plugin.ReadRequest{ID: "a", Inputs: new})
		require.NoError(t, err)
		assert.Empty(t, read.ID)
		require.Len(t, *engine, 2)
		assert.Contains(t, (*engine)[0], "the object is removed from the state")
	}
	assertRemoved(withUnreachableCluster(t, resource.PropertyMap{"deleteUnreachable": resource.NewBoolProperty(true)}))
	t.Setenv("PULUMI_K8S_DELETE_UNREACHABLE", "true")
	assertRemoved(withUnreachableCluster(t, nil))
}

// The outputs of a Secret are its inputs, because the engine tracks only which inputs are secret.
func TestOutputs(t *testing.T) {
	live := parse(t, "{apiVersion: v1, kind: Secret, metadata: {name: a, uid: u}, data: {key: c2VjcmV0}}")
	inputs := properties(t, "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {key: secret}}")
	assert.Equal(t, inputs, outputs(live, inputs))
	live.SetKind("ConfigMap")
	assert.Equal(t, "u", outputs(live, inputs)["metadata"].ObjectValue()["uid"].StringValue())
}

func TestPrune(t *testing.T) {
	live := parse(t, "{kind: A, spec: {a: 1, defaulted: 2, list: [{a: 1, defaulted: 2}], longer: [1, 2]}, status: {}}")
	wanted := parse(t, "{kind: A, spec: {a: 7, gone: 3, list: [{a: 7}], longer: [1]}}")
	assert.Equal(t, parse(t, "{kind: A, spec: {a: 1, list: [{a: 1}], longer: [1, 2]}}").Object,
		prune(live.Object, wanted.Object))
}

// A refresh ignores changes of the status and of the server's metadata.
func TestEqual(t *testing.T) {
	live := parse(t,
		`{kind: A, metadata: {resourceVersion: "1", managedFields: [{manager: a}]}, spec: {a: 1}, status: {b: 1}}`)
	assert.True(t, equal(live, parse(t, `{kind: A, metadata: {resourceVersion: "2"}, spec: {a: 1}, status: {b: 2}}`)))
	assert.False(t, equal(live, parse(t, `{kind: A, metadata: {}, spec: {a: 2}}`)))
}
