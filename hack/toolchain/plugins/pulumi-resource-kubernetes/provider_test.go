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

// What a real API server does with it is tested where the real engine is: TestKubernetesProvider in the folder tests.

// record is an engine that keeps what it is told.
type record []string

func (r *record) Log(_ context.Context, severity diag.Severity, _ resource.URN, message string) error {
	*r = append(*r, string(severity)+": "+message)
	return nil
}

func (r *record) LogStatus(ctx context.Context, severity diag.Severity, urn resource.URN, message string) error {
	return r.Log(ctx, severity, urn, message)
}

// configured is a provider of a cluster that does not answer.
func configured(t *testing.T, more resource.PropertyMap) (*provider, *record) {
	t.Helper()
	said := &record{}
	p := newProvider(said)
	inputs := resource.PropertyMap{"kubeconfig": resource.NewStringProperty(
		`{"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "contexts": [{"name": "c", "context": ` +
			`{"cluster": "c"}}], "current-context": "c"}`)}
	for key, value := range more {
		inputs[key] = value
	}
	_, err := p.Configure(t.Context(), plugin.ConfigureRequest{Inputs: inputs})
	require.NoError(t, err)
	return p, said
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
		call    = regexp.MustCompile(`ctx\.RegisterResource\("(kubernetes:[^"]+)", `)
		sent    = regexp.MustCompile(`args\.ApiVersion = pulumi\.StringPtr\("(.*)"\)`)
		sending = regexp.MustCompile(`args\.Kind = pulumi\.StringPtr\("(.*)"\)`)
		found   = 0
		// patches are refused by the kind that comes with them
		notAnObject = regexp.MustCompile(`Patch$|:meta/`)
	)
	require.NoError(t, filepath.WalkDir(strings.TrimSpace(string(dir)), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		token, version, name := call.FindSubmatch(source), sent.FindSubmatch(source), sending.FindSubmatch(source)
		if token == nil || version == nil || notAnObject.Match(token[1]) {
			return err
		}
		kind, err := kind(tokens.Type(token[1]))
		require.NoError(t, err)
		assert.Equal(t, string(version[1])+" "+string(name[1]), kind.GroupVersion().String()+" "+kind.Kind)
		found++
		return nil
	}))
	assert.Greater(t, found, 300)
}

func TestCheck(t *testing.T) {
	p := newProvider(&record{})
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
		{Property: "kind", Reason: `is "Secret", and the resource is a kubernetes:core/v1:ConfigMap`},
		{Property: "metadata.name", Reason: "must be set"},
	}, failures)
}

// A changed kubeconfig is the same cluster's.
func TestDiffConfig(t *testing.T) {
	p := newProvider(&record{})
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

// Where the API does not answer, a preview goes by what was wanted, and nothing
// else is done but forgetting, where told.
func TestUnreachable(t *testing.T) {
	p, _ := configured(t, nil)
	old, new := properties(t, "{kind: A, metadata: {name: a}, spec: {b: 1}}"), properties(t,
		"{kind: A, metadata: {name: a}, spec: {b: 2}}")
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

	forgets := func(p *provider, said *record) {
		_, err := p.Delete(t.Context(), plugin.DeleteRequest{Inputs: new})
		require.NoError(t, err)
		read, err := p.Read(t.Context(), plugin.ReadRequest{ID: "a", Inputs: new})
		require.NoError(t, err)
		assert.Empty(t, read.ID)
		require.Len(t, *said, 2)
		assert.Contains(t, (*said)[0], "it is forgotten")
	}
	forgets(configured(t, resource.PropertyMap{"deleteUnreachable": resource.NewBoolProperty(true)}))
	t.Setenv("PULUMI_K8S_DELETE_UNREACHABLE", "true")
	forgets(configured(t, nil))
}

// The state has nothing of a Secret that the engine could not know as secret.
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

// A refresh takes for a change what an owner may have meant, not what the server notes.
func TestSame(t *testing.T) {
	live := parse(t,
		`{kind: A, metadata: {resourceVersion: "1", managedFields: [{manager: a}]}, spec: {a: 1}, status: {b: 1}}`)
	assert.True(t, same(live, parse(t, `{kind: A, metadata: {resourceVersion: "2"}, spec: {a: 1}, status: {b: 2}}`)))
	assert.False(t, same(live, parse(t, `{kind: A, metadata: {}, spec: {a: 2}}`)))
}
