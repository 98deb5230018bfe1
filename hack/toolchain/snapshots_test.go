package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// A cluster's definitions of the snapshot API equal those of the built controller: all fields and their validation.
func TestSnapshotAPIEqualsUpstreams(t *testing.T) {
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
		spec["versions"] = spec["versions"].([]any)[:1] // v1; the others are not served
		require.Equal(t, normalize(spec), normalize(ours["spec"]), name)
		compared++
	}
	require.Equal(t, 3, compared)
}

// normalize removes descriptions, the expressions of CEL rules and empty subresources. It keeps the messages of rules.
func normalize(value any) any {
	switch value := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, v := range value {
			switch _, text := v.(string); {
			case key == "description" && text, key == "rule" && text:
			case key == "subresources" && len(v.(map[string]any)) == 0:
			default:
				kept[key] = normalize(v)
			}
		}
		return kept
	case []any:
		for i := range value {
			value[i] = normalize(value[i])
		}
	}
	return value
}
