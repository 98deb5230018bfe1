package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/files"
	"kubernetes-openstack/internal/progress"
)

// The mirror contains all artifacts of the development cluster, with the checksums of Pulumi.dev.yaml. After a change,
// `go run ./hack/toolchain checksums` prints the new checksums.
func TestMirrorContainsTheArtifactsOfMachines(t *testing.T) {
	log := progress.New(os.Stderr, "toolchain")
	for _, b := range builds {
		if len(b.artifacts) > 0 {
			require.NoError(t, b.ensure(".", log))
		}
	}
	config := devConfig(t, "../../Pulumi.dev.yaml")
	config.Monitoring.Enabled = true

	seen := map[string]bool{}
	for _, m := range cluster.NewPlan(config).Machines {
		for _, a := range m.Artifacts {
			if seen[a.Name] {
				continue
			}
			seen[a.Name] = true
			path := dirs.Mirror(strings.TrimPrefix(a.URL, config.Artifacts.Mirror))
			sum, err := files.SHA256(path)
			require.NoError(t, err)
			require.Equal(t, sum, a.SHA256, a.Name)
			if len(a.Members) > 0 {
				require.Subset(t, members(t, path), a.Members)
			}
		}
	}
	require.Len(t, seen, len(cluster.ArtifactNames()))
}

// devConfig returns the configuration in a stack file, without its encrypted values.
func devConfig(t *testing.T, file string) cluster.Config {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var stack struct{ Config map[string]map[string]any }
	require.NoError(t, yaml.Unmarshal(text, &stack))
	delete(stack.Config["kubernetes-openstack:cluster"], "bgp") // contains an encrypted password
	reader := stack.Config["kubernetes-openstack:cluster"]["tenancy"].(map[string]any)["reader"].(map[string]any)
	reader["password"] = "placeholder of an encrypted value"
	object, err := json.Marshal(stack.Config["kubernetes-openstack:cluster"])
	require.NoError(t, err)
	config, err := cluster.Decode("dev", string(object))
	require.NoError(t, err)
	return config
}

// members returns the names of the files in a .tar.gz.
func members(t *testing.T, path string) (names []string) {
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	zip, err := gzip.NewReader(file)
	require.NoError(t, err)
	for tarball := tar.NewReader(zip); ; {
		header, err := tarball.Next()
		if err == io.EOF {
			return names
		}
		require.NoError(t, err)
		names = append(names, header.Name)
	}
}
