package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// The API of snapshots that a cluster is given is what the controller that is built was made for: field by field, and
// whatever the API server checks of them.
func TestSnapshotAPIIsUpstreams(t *testing.T) {
	client := programs{module: "storage", versionOf: "github.com/kubernetes-csi/external-snapshotter/client/v8"}
	module, err := client.moduleDir(".")
	require.NoError(t, err)
	manifest, err := os.ReadFile("../../k8s/snapshots.yaml.tmpl")
	require.NoError(t, err)
	compared := 0
	for _, document := range strings.Split(string(manifest), "\n---\n") {
		if !strings.Contains(document, "kind: CustomResourceDefinition\n") {
			continue
		}
		var ours, upstreams map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(document), &ours))
		name, _, _ := strings.Cut(ours["metadata"].(map[string]any)["name"].(string), ".")
		text, err := os.ReadFile(filepath.Join(module, "config/crd/snapshot.storage.k8s.io_"+name+".yaml"))
		require.NoError(t, err)
		require.NoError(t, yaml.Unmarshal(text, &upstreams))
		spec := upstreams["spec"].(map[string]any)
		spec["versions"] = spec["versions"].([]any)[:1] // v1; later ones are not served
		require.Equal(t, essence(spec), essence(ours["spec"]), name)
		compared++
	}
	require.Equal(t, 3, compared)
}

// essence is a value without texts for readers, and with no more of a rule than what it tells who breaks it.
func essence(value any) any {
	switch value := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, v := range value {
			switch _, text := v.(string); {
			case key == "description" && text, key == "rule" && text:
			case key == "subresources" && len(v.(map[string]any)) == 0:
			default:
				kept[key] = essence(v)
			}
		}
		return kept
	case []any:
		for i := range value {
			value[i] = essence(value[i])
		}
	}
	return value
}
