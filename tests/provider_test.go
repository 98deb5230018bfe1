package tests

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/tests/apiserver"
)

// objects maps Pulumi's type tokens of objects, such as kubernetes:core/v1:ConfigMap, to their YAML.
type objects map[string]string

const (
	namespaceToken  = "kubernetes:core/v1:Namespace"
	configMapToken  = "kubernetes:core/v1:ConfigMap"
	deploymentToken = "kubernetes:apps/v1:Deployment"
)

// declare declares the objects: the namespace first, and then the others. Each must be ready within timeout.
func declare(ctx *pulumi.Context, kubeconfig, timeout string, list objects) error {
	provider, err := kubernetes.NewProvider(ctx, "test", &kubernetes.ProviderArgs{Kubeconfig: pulumi.String(kubeconfig)})
	if err != nil {
		return err
	}
	options := []pulumi.ResourceOption{pulumi.Provider(provider),
		pulumi.Timeouts(&pulumi.CustomTimeouts{Create: timeout, Update: timeout})}
	for _, token := range []string{namespaceToken, configMapToken, deploymentToken} {
		text, declared := list[token]
		if !declared {
			continue
		}
		var o kubernetes.UntypedArgs
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			return err
		}
		r := &pulumi.CustomResourceState{}
		if err := ctx.RegisterResource(token, "test", o, r, options...); err != nil {
			return err
		}
		options = append(options, pulumi.DependsOn([]pulumi.Resource{r}))
	}
	return nil
}

// TestKubernetesProvider checks the real engine and our Kubernetes provider on a real API server.
func TestKubernetesProvider(t *testing.T) {
	t.Parallel()
	api := apiserver.Start(t)
	list := objects{
		namespaceToken: `metadata: {name: test}`,
		configMapToken: `{metadata: {name: a, namespace: test}, data: {key: "1"}}`,
		deploymentToken: `
metadata: {name: web, namespace: test}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web, ports: [{containerPort: 80}]}]}`,
	}
	timeout := "20s" // with other tests on the same processors, the controllers create the pods within seconds
	s := newStack(t, func(ctx *pulumi.Context) error { return declare(ctx, api.Kubeconfig, timeout, list) })
	// up runs `pulumi up` and returns its numbers of changes by kind: "create", "update", …
	up := func() map[string]int {
		t.Helper()
		preview, err := s.Preview(t.Context())
		require.NoError(t, err, preview.StdOut)
		result, err := s.Up(t.Context())
		require.NoError(t, err, result.StdOut)
		changes := *result.Summary.ResourceChanges
		delete(changes, "same")
		planned := map[string]int{}
		for kind, number := range preview.ChangeSummary {
			if kind != "same" {
				planned[string(kind)] = number
			}
		}
		assert.Equal(t, planned, changes, "the preview")
		return changes
	}
	client := api.Client.CoreV1().ConfigMaps("test")

	t.Log("up fails with a reason if an object is not ready in time, and keeps it in the state")
	result, err := s.Up(t.Context())
	require.Error(t, err)
	assert.Contains(t, result.StdOut+err.Error(), "test/web is not ready after 20s: Available: 0/2")
	assert.Contains(t, result.StdOut+err.Error(), ": Pending\n")
	assert.Contains(t, result.StdOut+err.Error(), "more: kubectl --namespace=test describe deployment web")

	t.Log("the next up waits for the object")
	timeout = "3m" // parallel tests may use the processors
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begin := time.Now()
	time.AfterFunc(4*time.Second, func() { go api.Run(ctx, "test") })
	result, err = s.Up(t.Context())
	require.NoError(t, err, result.StdOut)
	assert.Greater(t, time.Since(begin), 4*time.Second)
	assert.Less(t, time.Since(begin), time.Minute)
	assert.Empty(t, up())

	t.Log("a changed object is updated in place")
	list[configMapToken] = `{metadata: {name: a, namespace: test}, data: {key: "2"}}`
	preview, err := s.Preview(t.Context(), optpreview.Diff())
	require.NoError(t, err)
	assert.Contains(t, preview.StdOut, `~ key: "1" => "2"`)
	assert.Equal(t, map[string]int{"update": 1}, up())
	live, err := client.Get(t.Context(), "a", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"key": "2"}, live.Data)

	t.Log("a change of an immutable field or of the name replaces the object")
	before, err := api.Client.AppsV1().Deployments("test").Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	list[deploymentToken] = `
metadata: {name: web, namespace: test}
spec:
  selector: {matchLabels: {app: other}}
  template: {metadata: {labels: {app: other}}, spec: {containers: [{name: web, image: web}]}}`
	assert.Equal(t, map[string]int{"replace": 1}, up())
	after, err := api.Client.AppsV1().Deployments("test").Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	assert.NotEqual(t, before.UID, after.UID)
	list[configMapToken] = `{metadata: {name: b, namespace: test}, data: {key: "2"}}`
	changes := up()
	assert.Equal(t, 1, changes["replace"], changes)
	_, err = client.Get(t.Context(), "a", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err), err)

	t.Log("a refresh reads changes by other clients, and up overwrites them only with patchForce")
	live, err = client.Get(t.Context(), "b", metav1.GetOptions{})
	require.NoError(t, err)
	live.Data["key"] = "another"
	_, err = client.Update(t.Context(), live, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.Empty(t, up())
	refresh, err := s.Refresh(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, (*refresh.Summary.ResourceChanges)["update"], refresh.StdOut)
	result, err = s.Up(t.Context())
	require.Error(t, err)
	assert.Contains(t, result.StdOut+err.Error(), "conflict")
	list[configMapToken] = `{metadata: {name: b, namespace: test, annotations: {pulumi.com/patchForce: "true"}}, data: ` +
		`{key: "2"}}`
	assert.Equal(t, map[string]int{"update": 1}, up())

	t.Log("an object that is no longer declared is deleted")
	delete(list, configMapToken)
	assert.Equal(t, map[string]int{"delete": 1}, up())
	_, err = client.Get(t.Context(), "b", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err), err)

	t.Log("a preview reports an unknown field")
	list[configMapToken] = `{metadata: {name: b, namespace: test}, xdata: {key: "2"}}`
	preview, err = s.Preview(t.Context())
	require.Error(t, err)
	assert.Contains(t, preview.StdOut+err.Error(), ".xdata: field not declared in schema")

	t.Log("an unreachable cluster can be previewed and removed from the state")
	list[configMapToken] = `{metadata: {name: c, namespace: test}}`
	api.Stop()
	begin = time.Now()
	preview, err = s.Preview(t.Context(), optpreview.Diff())
	require.NoError(t, err)
	assert.Contains(t, preview.StdOut, "+ kubernetes:core/v1:ConfigMap: (create)")
	_, err = s.Destroy(t.Context())
	assert.ErrorContains(t, err, "PULUMI_K8S_DELETE_UNREACHABLE=true")
	env := maps.Clone(s.Workspace().GetEnvVars())
	env["PULUMI_K8S_DELETE_UNREACHABLE"] = "true"
	require.NoError(t, s.Workspace().SetEnvVars(env))
	_, err = s.Destroy(t.Context())
	require.NoError(t, err)
	assert.Less(t, time.Since(begin), time.Minute)
}
