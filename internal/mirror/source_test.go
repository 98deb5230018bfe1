package mirror

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/progress"
)

// publisher is a folder with the files and images of publishers, and a file server of it.
type publisher struct {
	*httptest.Server
	folder string
	limit  int // the server cuts off each response after this number of bytes; 0 for no limit

	mu       sync.Mutex
	requests []string // PATH, or PATH bytes=FIRST-
}

func newPublisher(t *testing.T) *publisher {
	p := &publisher{folder: t.TempDir()}
	files := plainServer(p.folder)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests = append(p.requests, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
		p.mu.Unlock()
		if p.limit > 0 {
			w = &limitedWriter{w, p.limit}
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// plainServer is a file server that sends one Content-Type for all files.
func plainServer(folder string) http.Handler {
	files := http.FileServerFS(os.DirFS(folder))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		files.ServeHTTP(w, r)
	})
}

type limitedWriter struct {
	http.ResponseWriter
	left int
}

func (w *limitedWriter) Write(content []byte) (int, error) {
	if len(content) > w.left {
		w.ResponseWriter.Write(content[:w.left])
		w.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	w.left -= len(content)
	return w.ResponseWriter.Write(content)
}

// file publishes a file.
func (p *publisher) file(t *testing.T, address, content string) Download {
	path := filepath.Join(p.folder, address)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return Download{address, fmt.Sprintf("%x", sha256.Sum256([]byte(content)))}
}

// image publishes a random image.
func (p *publisher) image(t *testing.T, image string) Image {
	n, err := parseName(image)
	require.NoError(t, err)
	content, err := random.Image(1<<12, 2)
	require.NoError(t, err)
	path, err := layout.Write(filepath.Join(p.folder, n.layout()), empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendImage(content))
	require.NoError(t, Publish(p.folder, image))
	digest, err := content.Digest()
	require.NoError(t, err)
	return Image{image, digest.Hex}
}

// fill fills the folder from the publisher, and returns the output.
func (p *publisher) fill(t *testing.T, folder string, downloads []Download, images []Image) (string, error) {
	source, err := NewSource(p.URL)
	require.NoError(t, err)
	p.requests = nil
	var out bytes.Buffer
	err = source.Fill(t.Context(), folder, downloads, images, progress.New(&out, "test"))
	return out.String(), err
}

// tree returns the paths of all files and links in the folder.
func tree(t *testing.T, folder string) (paths []string) {
	require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			path, err = filepath.Rel(folder, path)
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

func TestPlainServerOfMirrorServesFilesAndImages(t *testing.T) {
	p := newPublisher(t)
	downloads := []Download{p.file(t, "files.example/v1/tool", "tool"), p.file(t, "other.example/archive.tgz", "archive")}
	images := []Image{p.image(t, "registry.example/group/app:v1.0"), p.image(t, "registry.example/group/app:v1.1")}
	images[1].Digest = "" // the tag decides
	folder := t.TempDir()
	_, err := p.fill(t, folder, downloads, images)
	require.NoError(t, err)
	for _, d := range downloads {
		want, err := os.ReadFile(filepath.Join(p.folder, d.Address))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(folder, d.Address))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.Equal(t, tree(t, p.folder), tree(t, folder))

	// go-containerregistry supports only registries at the root of a host.
	server := httptest.NewServer(plainServer(filepath.Join(folder, "registry.example")))
	defer server.Close()
	for _, tag := range []string{"v1.0", "v1.1"} {
		reference, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/group/app:" + tag)
		require.NoError(t, err)
		image, err := remote.Image(reference)
		require.NoError(t, err)
		require.NoError(t, validate.Image(image))
	}

	out, err := p.fill(t, folder, downloads, images)
	require.NoError(t, err)
	require.Empty(t, out, "nothing is downloaded twice")
	for _, request := range p.requests {
		require.NotContains(t, request, "blobs")
		require.NotContains(t, request, "files.example")
	}
}

func TestWrongChecksumLeavesNoFile(t *testing.T) {
	p := newPublisher(t)
	pinned := p.file(t, "files.example/v1/tool", "expected")
	other := p.file(t, "files.example/v1/tool", "other")
	folder := t.TempDir()
	want := "download files.example/v1/tool: sha256 is " + other.SHA256 + ", want " + pinned.SHA256
	_, err := p.fill(t, folder, []Download{pinned}, nil)
	require.ErrorContains(t, err, want)
	require.Empty(t, tree(t, folder))

	// A complete file with another sha256 does not stay either.
	_, err = p.fill(t, folder, []Download{other}, nil)
	require.NoError(t, err)
	_, err = p.fill(t, folder, []Download{pinned}, nil)
	require.ErrorContains(t, err, want)
	require.Empty(t, tree(t, folder))
	p.file(t, "files.example/v1/tool", "expected")
	_, err = p.fill(t, folder, []Download{pinned}, nil)
	require.NoError(t, err)

	image := p.image(t, "registry.example/app:v1")
	image.Digest = strings.Repeat("0", 64)
	_, err = p.fill(t, folder, nil, []Image{image})
	require.ErrorContains(t, err, "pull registry.example/app:v1: ")
	require.ErrorContains(t, err, image.Digest)
	require.Equal(t, []string{"files.example/v1/tool"}, tree(t, folder))
}

func TestInterruptedFillContinues(t *testing.T) {
	p := newPublisher(t)
	downloads := []Download{p.file(t, "files.example/v1/tool", strings.Repeat("binary", 1000))}
	folder := t.TempDir()
	p.limit = 2000
	for _, size := range []string{"2000", "4000"} {
		_, err := p.fill(t, folder, downloads, nil)
		require.ErrorContains(t, err, "stopped after "+size+" bytes, where the next run continues: unexpected EOF")
		require.Equal(t, []string{"files.example/v1/tool.part"}, tree(t, folder))
	}
	p.limit = 0
	out, err := p.fill(t, folder, downloads, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"/files.example/v1/tool bytes=4000-"}, p.requests)
	require.Contains(t, out, "download files.example/v1/tool, continue at 0.0 MB …")
	require.Equal(t, []string{"files.example/v1/tool"}, tree(t, folder))

	images := []Image{p.image(t, "registry.example/app:v1")}
	p.limit = 2000 // less than a layer
	_, err = p.fill(t, folder, nil, images)
	require.Error(t, err)
	require.NoDirExists(t, filepath.Join(folder, "oci/registry.example/app@v1"))
	require.NoDirExists(t, filepath.Join(folder, "registry.example"))
	broken := filepath.Join(folder, "oci/registry.example/app@v1.part/blobs/sha256", images[0].Digest)
	require.NoError(t, os.MkdirAll(filepath.Dir(broken), 0o755))
	require.NoError(t, os.WriteFile(broken, []byte("half of the manifest"), 0o600))
	p.limit = 0
	_, err = p.fill(t, folder, nil, images)
	require.NoError(t, err)
	require.NoDirExists(t, filepath.Join(folder, "oci/registry.example/app@v1.part"))
	content, err := layout.ImageIndexFromPath(filepath.Join(folder, "oci/registry.example/app@v1"))
	require.NoError(t, err)
	require.NoError(t, validate.Index(content))
	require.FileExists(t, filepath.Join(folder, "registry.example/v2/app/manifests/v1"))
}

func TestImageNameIsComplete(t *testing.T) {
	for _, image := range []string{"busybox", "library/busybox:1.35", "registry.k8s.io/pause", "a.example/b:1@sha256:0"} {
		err := Publish(t.TempDir(), image)
		require.ErrorContains(t, err, "must be REGISTRY/REPOSITORY:TAG such as registry.k8s.io/pause:3.10.2, got")
	}
}

func TestPublishersUseHTTPS(t *testing.T) {
	source, err := NewSource("")
	require.NoError(t, err)
	_, err = source.client.Get("http://127.0.0.1:1/file")
	require.ErrorContains(t, err, "only https is trusted")
	_, err = NewSource("127.0.0.1:80")
	require.ErrorContains(t, err, "UPSTREAM: must be a URL such as")
}
