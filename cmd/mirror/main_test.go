package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/files"
	"kubernetes-openstack/internal/mirror"
)

// TestFolderHasWhatTheStackDownloads fills a folder for a small stack from builds of the toolchain, which the command
// serves on 127.0.0.1. The builds are stand-ins: the content of a file is its name, and images are random.
func TestFolderHasWhatTheStackDownloads(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	base, err := os.ReadFile("../../cluster/testdata/small.yaml")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	config, _, _ := strings.Cut(string(base), "artifacts:")
	config += "artifacts:\n  mirror: http://192.0.2.1\n  checksums:\n"
	for _, artifact := range cluster.ArtifactNames() {
		config += fmt.Sprintf("    %s: %x\n", artifact, sha256.Sum256([]byte(artifact)))
	}
	stack := "config:\n  kubernetes-openstack:cluster:\n    " + strings.ReplaceAll(config, "\n", "\n    ") + "\n"
	require.NoError(t, os.WriteFile("Pulumi.small.yaml", []byte(stack), 0o600))
	require.NoError(t, os.WriteFile("Pulumi.yaml", []byte("name: kubernetes-openstack\nruntime: go\n"), 0o600))

	plan, err := readPlan("small", "Pulumi.yaml", "Pulumi.small.yaml")
	require.NoError(t, err)
	var etcd mirror.Download
	for _, m := range plan.Machines {
		for _, a := range m.Artifacts {
			path := strings.TrimPrefix(a.URL, "https://")
			write(t, dirs.Mirror(path), a.Name)
			if a.Name == "etcd" {
				etcd = mirror.Download{Address: path, SHA256: a.SHA256}
			}
		}
	}
	images, err := images(plan)
	require.NoError(t, err)
	images = append(images, "registry.example/shop:1.0")
	for _, image := range images {
		content, err := random.Image(64, 1)
		require.NoError(t, err)
		path, err := layout.Write(dirs.Mirror("oci", strings.Replace(image, ":", "@", 1)), empty.Index)
		require.NoError(t, err)
		require.NoError(t, path.AppendImage(content))
		require.NoError(t, mirror.Publish(dirs.Mirror(), image))
	}

	write(t, dirs.Mirror(etcd.Address), "another file")
	folder := t.TempDir()
	fill := func() error {
		return run(t.Context(), "small", "toolchain", []string{folder, "registry.example/shop:1.0"})
	}
	require.ErrorContains(t, fill(), fmt.Sprintf("download %s: sha256 is %x, want %s", etcd.Address,
		sha256.Sum256([]byte("another file")), etcd.SHA256))
	require.NoFileExists(t, filepath.Join(folder, etcd.Address))

	write(t, dirs.Mirror(etcd.Address), "etcd")
	require.NoError(t, fill())
	for _, d := range downloads(plan) {
		sum, err := files.SHA256(filepath.Join(folder, d.Address))
		require.NoError(t, err)
		assert.Equal(t, d.SHA256, sum, d.Address)
	}
	for _, image := range images {
		registry, rest, _ := strings.Cut(image, "/")
		repository, tag, _ := strings.Cut(rest, ":")
		assert.FileExists(t, filepath.Join(folder, registry, "v2", repository, "manifests", tag))
	}
	require.NoError(t, filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		assert.NotContains(t, path, ".part")
		return err
	}))
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// TestStacksOfTheRepository checks that the command reads stacks with encrypted passwords.
func TestStacksOfTheRepository(t *testing.T) {
	for stack, files := range map[string][2]string{
		"dev":       {"../../Pulumi.yaml", "../../Pulumi.dev.yaml"},
		"prod":      {"../../Pulumi.yaml", "../../examples/Pulumi.prod.yaml"},
		"east-prod": {"../../examples/fleet/Pulumi.yaml", "../../examples/fleet/Pulumi.east-prod.yaml"},
	} {
		plan, err := readPlan(stack, files[0], files[1])
		require.NoError(t, err)
		for _, d := range downloads(plan) {
			assert.NotContains(t, d.Address, "mirror")
			assert.NotContains(t, d.Address, "://")
			assert.Len(t, d.SHA256, 64, d.Address)
		}
		images, err := images(plan)
		require.NoError(t, err)
		assert.Contains(t, images, "quay.io/calico/node:v"+plan.Calico.Version)
		assert.Contains(t, images, "registry.k8s.io/pause:3.10.2")
	}
}

func TestConfigurationNamesEachRegistry(t *testing.T) {
	assert.Equal(t, `/srv/mirror has everything that the machines of prod download. Serve it as http://MIRROR, and set:

    artifacts:
      mirror: http://MIRROR
      registryMirrors:
        quay.io: http://MIRROR/quay.io
        registry.k8s.io: http://MIRROR/registry.k8s.io
`, configuration("prod", "/srv/mirror",
		[]string{"registry.k8s.io/pause:3.10.2", "quay.io/calico/node:v3.28.5", "quay.io/calico/cni:v3.28.5"}))
}

// TestAirGapDocumentationListsThePackages checks the packages of images in docs/airgap.md.
func TestAirGapDocumentationListsThePackages(t *testing.T) {
	plan, err := readPlan("prod", "../../Pulumi.yaml", "../../examples/Pulumi.prod.yaml")
	require.NoError(t, err)
	text, err := packages(plan)
	require.NoError(t, err)
	page, err := os.ReadFile("../../docs/airgap.md")
	require.NoError(t, err)
	require.Contains(t, string(page), text)
}

func TestWrongArguments(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), "dev", "upstream", nil), "the folder is missing: set it")
	_, _, err := open("cache")
	require.ErrorContains(t, err, `--from: must be upstream or toolchain, got "cache"`)
}
