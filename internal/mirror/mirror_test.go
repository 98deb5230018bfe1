package mirror

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"
)

func TestMirrorIsARegistry(t *testing.T) {
	folder := t.TempDir()
	served := Handler(os.DirFS(folder))
	server := httptest.NewServer(served)
	defer server.Close()
	// go-containerregistry supports only registries at the root of a host. containerd also supports
	// registries below a path.
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/registry.example" + r.URL.Path
		served.ServeHTTP(w, r)
	}))
	defer registry.Close()
	reference := func(image string) name.Reference {
		parsed, err := name.ParseReference(strings.TrimPrefix(registry.URL, "http://") + "/" + image)
		require.NoError(t, err)
		return parsed
	}

	_, err := remote.Image(reference("group/app:1.0"))
	require.ErrorContains(t, err, "the mirror has no registry.example/group/app:1.0")

	// This image is added while the mirror serves requests.
	image, err := random.Image(1<<16, 2)
	require.NoError(t, err)
	path, err := layout.Write(filepath.Join(folder, "oci/registry.example/group/app@1.0"), empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendImage(image))
	require.NoError(t, Publish(folder, "registry.example/group/app:1.0"))
	digest, err := image.Digest()
	require.NoError(t, err)
	for _, version := range []string{":1.0", "@" + digest.String()} {
		described, err := remote.Head(reference("group/app" + version))
		require.NoError(t, err)
		require.Equal(t, digest, described.Digest)
		pulled, err := remote.Image(reference("group/app" + version))
		require.NoError(t, err)
		require.NoError(t, validate.Image(pulled))
		pulledDigest, err := pulled.Digest()
		require.NoError(t, err)
		require.Equal(t, digest, pulledDigest)
	}

	index, err := random.Index(1<<10, 1, 2)
	require.NoError(t, err)
	path, err = layout.Write(filepath.Join(folder, "oci/registry.example/group/app@platforms"), empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendIndex(index))
	require.NoError(t, Publish(folder, "registry.example/group/app:platforms"))
	pulled, err := remote.Index(reference("group/app:platforms"))
	require.NoError(t, err)
	require.NoError(t, validate.Index(pulled))

	// Upstream manifests may omit their media type, but containerd requires it in the response.
	for content, mediaType := range map[string]types.MediaType{
		`{"schemaVersion": 2, "config": {}, "layers": []}`: types.OCIManifestSchema1,
		`{"schemaVersion": 2, "manifests": []}`:            types.OCIImageIndex,
	} {
		path, err = layout.Write(filepath.Join(folder, "oci/registry.example/group/app@bare"), empty.Index)
		require.NoError(t, err)
		digest, size, err := v1.SHA256(strings.NewReader(content))
		require.NoError(t, err)
		require.NoError(t, path.WriteBlob(digest, io.NopCloser(strings.NewReader(content))))
		require.NoError(t, path.AppendDescriptor(v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}))
		require.NoError(t, Publish(folder, "registry.example/group/app:bare"))
		for _, version := range []string{":bare", "@" + digest.String()} {
			described, err := remote.Head(reference("group/app" + version))
			require.NoError(t, err)
			require.Equal(t, mediaType, described.MediaType)
		}
	}

	_, err = layout.Write(filepath.Join(folder, "oci/registry.example/none@1"), empty.Index)
	require.NoError(t, err)
	require.ErrorContains(t, Publish(folder, "registry.example/none:1"), "must contain exactly one image, not 0")
	_, err = remote.Image(reference("none:1"))
	require.ErrorContains(t, err, "the mirror has no registry.example/none:1")

	require.ErrorContains(t, remote.Write(reference("group/app:2.0"), image), "only be pulled")

	// The mirror serves paths that are not images as files.
	require.NoError(t, os.WriteFile(filepath.Join(folder, "file"), []byte("content"), 0o644))
	for path, expected := range map[string]int{
		"/file": http.StatusOK, "/registry.example/v2/": http.StatusOK, "/missing": http.StatusNotFound,
		"/registry.example/v2/group/app/blobs/sha256:../../index.json": http.StatusNotFound,
		"/registry.example/v2/group/../app/manifests/1.0":              http.StatusNotFound,
	} {
		request, err := http.NewRequest(http.MethodGet, server.URL, nil)
		require.NoError(t, err)
		request.URL.Path = path
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, expected, response.StatusCode, "%s: %s", path, body)
	}
}
