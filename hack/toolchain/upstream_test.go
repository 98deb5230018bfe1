package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/mirror"
	"kubernetes-openstack/internal/progress"
)

// publisher is a server for UPSTREAM. It serves a folder, records the requests, and can abort answers.
type publisher struct {
	folder   string
	url      string
	requests []string // PATH, or PATH bytes=FIRST-
	limit    int      // number of bytes after which an answer is aborted; 0 for none
}

// newPublisher starts a publisher of an empty folder.
func newPublisher(t *testing.T) *publisher {
	p := &publisher{folder: t.TempDir()}
	served := mirror.Handler(os.DirFS(p.folder))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests = append(p.requests, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
		if p.limit > 0 {
			w = &abortingWriter{w, p.limit}
		}
		served.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// abortingWriter aborts the answer when no bytes are left.
type abortingWriter struct {
	http.ResponseWriter
	left int
}

func (a *abortingWriter) Write(content []byte) (int, error) {
	if len(content) > a.left {
		a.ResponseWriter.Write(content[:a.left])
		a.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	a.left -= len(content)
	return a.ResponseWriter.Write(content)
}

// publish writes files to the served folder and returns their lines of UPSTREAM_SUMS. The keys are addresses.
func (p *publisher) publish(t *testing.T, files map[string]string) (sums string) {
	for address, content := range files {
		write(t, filepath.Join(p.folder, address), content)
		sums += fmt.Sprintf("%x %s\n", sha256.Sum256([]byte(content)), address)
	}
	return sums
}

// publishImage writes a random image to the served folder and returns its line of UPSTREAM_SUMS.
func (p *publisher) publishImage(t *testing.T, name string) (sum string) {
	image, err := random.Image(1<<10, 2)
	require.NoError(t, err)
	path, err := layout.Write(filepath.Join(p.folder, "oci", strings.ReplaceAll(name, ":", "@")), empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendImage(image))
	require.NoError(t, mirror.Publish(p.folder, name))
	digest, err := image.Digest()
	require.NoError(t, err)
	return digest.Hex + " " + name + "\n"
}

// ensure does the same as `UPSTREAM=… UPSTREAM_SUMS=… go run ./hack/toolchain upstream`, and returns its output.
func (p *publisher) ensure(t *testing.T, source, sums string, builds ...build) (string, error) {
	file := filepath.Join(t.TempDir(), "sums")
	write(t, file, sums)
	u, err := newUpstream(p.url, file)
	require.NoError(t, err)
	var out bytes.Buffer
	p.requests = nil
	err = u.ensureAll(builds, source, progress.New(&out, "test"))
	return out.String(), err
}

// publishedBuild returns a variant of the tiny build with a binary for machines and an image. Its source does not
// compile.
func publishedBuild(t *testing.T) (source string, b build) {
	source, b, _ = tinyBuild(t)
	write(t, filepath.Join(source, "tiny", "main.go"), "invalid source")
	b.programs[0].folder = "files.example/v{version}"
	b.images = []image{{name: "images.example/group/app:v{version}", files: []string{"files.example/v{version}/tiny"}}}
	b.install = linkMirror
	return source, b
}

func TestUpstreamFillsTheMirrorWithoutABuild(t *testing.T) {
	source, b := publishedBuild(t)
	p := newPublisher(t)
	pinned := p.publish(t, map[string]string{"files.example/v1.2.3/tiny": "binary"})
	digest := p.publishImage(t, "images.example/group/app:v1.2.3")

	out, err := p.ensure(t, source, pinned+digest, b)
	require.NoError(t, err)
	require.Contains(t, out, "download files.example/v1.2.3/tiny 0.0 MB, ")
	require.Contains(t, out, "pull images.example/group/app:v1.2.3 sha256:"+digest[:64])
	require.NotContains(t, out, "build")
	content, err := os.ReadFile(dirs.Mirror("files.example/v1.2.3/tiny"))
	require.NoError(t, err)
	require.Equal(t, "binary", string(content))
	info, err := os.Stat(dirs.Mirror("files.example/v1.2.3/tiny"))
	require.NoError(t, err)
	require.EqualValues(t, 0o755, info.Mode())
	require.Equal(t, read(t, filepath.Join(p.folder, "oci/images.example/group/app@v1.2.3/index.json")),
		read(t, dirs.Mirror("oci/images.example/group/app@v1.2.3/index.json")))

	_, err = p.ensure(t, source, pinned+digest, b)
	require.NoError(t, err)
	require.Empty(t, p.requests, "the cache contains all files")

	// A file without a pinned checksum is built. The build fails here.
	_, err = p.ensure(t, source, digest, b)
	require.ErrorContains(t, err, "build tiny")
}

// read returns the content of a file.
func read(t *testing.T, path string) string {
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

func TestUpstreamRejectsWrongChecksums(t *testing.T) {
	source, b := publishedBuild(t)
	p := newPublisher(t)
	pinned := p.publish(t, map[string]string{"files.example/v1.2.3/tiny": "binary"})
	digest := p.publishImage(t, "images.example/group/app:v1.2.3")

	p.publish(t, map[string]string{"files.example/v1.2.3/tiny": "another"})
	_, err := p.ensure(t, source, pinned+digest, b)
	require.ErrorContains(t, err, fmt.Sprintf("download files.example/v1.2.3/tiny: sha256 is %x, want %s",
		sha256.Sum256([]byte("another")), pinned[:64]))
	require.NoFileExists(t, dirs.Mirror("files.example/v1.2.3/tiny"))

	// After the rejected content, the right content is accepted.
	p.publish(t, map[string]string{"files.example/v1.2.3/tiny": "binary"})
	require.NoError(t, os.RemoveAll(filepath.Join(p.folder, "oci")))
	p.publishImage(t, "images.example/group/app:v1.2.3")
	_, err = p.ensure(t, source, pinned+digest, b)
	require.ErrorContains(t, err, "pull images.example/group/app:v1.2.3: ")
	require.ErrorContains(t, err, digest[:64])
	require.NoDirExists(t, dirs.Mirror("oci"))

	// An image without a pinned digest is pulled by its tag.
	_, err = p.ensure(t, source, pinned, b)
	require.NoError(t, err)
	require.FileExists(t, dirs.Mirror("oci/images.example/group/app@v1.2.3/index.json"))
}

func TestUpstreamContinuesInterruptedDownloads(t *testing.T) {
	source, b := publishedBuild(t)
	p := newPublisher(t)
	sums := p.publish(t, map[string]string{"files.example/v1.2.3/tiny": strings.Repeat("binary", 1000)})
	sums += p.publishImage(t, "images.example/group/app:v1.2.3")

	p.limit = 2000
	_, err := p.ensure(t, source, sums, b)
	require.ErrorContains(t, err, "stopped after 2000 bytes, where the next run continues: unexpected EOF")
	_, err = p.ensure(t, source, sums, b)
	require.ErrorContains(t, err, "after 4000 bytes")
	p.limit = 0
	out, err := p.ensure(t, source, sums, b)
	require.NoError(t, err)
	require.Equal(t, "/files.example/v1.2.3/tiny bytes=4000-", p.requests[0])
	require.Contains(t, out, "download files.example/v1.2.3/tiny, continue at 0.0 MB …")
	require.Equal(t, strings.Repeat("binary", 1000), read(t, dirs.Mirror("files.example/v1.2.3/tiny")))

	remaining, err := filepath.Glob(dirs.Cache("toolchain", "tiny-*"))
	require.NoError(t, err)
	require.Len(t, remaining, 1)
}

// Unpublished programs are built, and only once.
func TestUpstreamBuildsTheRest(t *testing.T) {
	source, b, installed := tinyBuild(t)
	ours := b.programs[0]
	ours.packages, ours.folder = map[string]string{"ours": "tiny"}, "devcloud.test"
	part := b.programs[0]
	part.packages, part.folder = map[string]string{"part": "./not-there"}, parts
	b.programs[0].folder = "files.example/v{version}"
	b.programs = append(b.programs, ours, part)
	b.images = []image{{name: "images.example/group/app:v{version}", files: []string{parts + "/part"}}}
	p := newPublisher(t)
	sums := p.publish(t, map[string]string{"files.example/v1.2.3/tiny": "binary"})

	out, err := p.ensure(t, source, sums, b)
	require.ErrorContains(t, err, "pull images.example/group/app:v1.2.3")
	require.Contains(t, out, "build ours …")
	p.publishImage(t, "images.example/group/app:v1.2.3")
	out, err = p.ensure(t, source, sums, b)
	require.NoError(t, err)
	require.NotContains(t, out, "build")
	require.NotContains(t, out, "download")
	require.Equal(t, "binary", read(t, filepath.Join(*installed, "files.example/v1.2.3/tiny")))
	version, err := exec.Command(filepath.Join(*installed, "devcloud.test/ours")).CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "1.2.3\n", string(version))
}

// Pulumi's plugins are members of archives. The test gets the checksum from a publisher's list.
func TestUpstreamExtractsPlugins(t *testing.T) {
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	tarball := tar.NewWriter(zip)
	for _, file := range []string{"README.md", "pulumi-resource-tls"} {
		h := header(tar.TypeReg, file)
		h.Size = int64(len(file))
		require.NoError(t, tarball.WriteHeader(h))
		_, err := tarball.Write([]byte(file))
		require.NoError(t, err)
	}
	require.NoError(t, tarball.Close())
	require.NoError(t, zip.Close())

	source, b, installed := tinyBuild(t)
	p := newPublisher(t)
	const address = "get.pulumi.com/releases/plugins/pulumi-resource-tls-v1.2.3-linux-amd64.tar.gz"
	sum, _, _ := strings.Cut(p.publish(t, map[string]string{address: archive.String()}), " ")
	b.name = plugins.name
	b.programs[0].packages = map[string]string{"pulumi-resource-tls": "tiny"}
	b.programs[0].folder = "resource-tls-v{version}"

	p.publish(t, map[string]string{"files.example/sums": sum + "  other.tar.gz\n"})
	_, err := p.ensure(t, source, "files.example/sums "+address, b)
	require.ErrorContains(t, err, "files.example/sums: must contain a sha256 of pulumi-resource-tls-v1.2.3-linux-amd64")

	p.publish(t, map[string]string{"files.example/sums": strings.Repeat("0",
		64) + "  other.tar.gz\n" + sum + "  ./" + filepath.Base(address) + "\n"})
	_, err = p.ensure(t, source, "files.example/sums "+address, b)
	require.NoError(t, err)
	require.Equal(t, "pulumi-resource-tls",
		read(t, filepath.Join(*installed, "resource-tls-v1.2.3/pulumi-resource-tls")))
	files, err := os.ReadDir(*installed)
	require.NoError(t, err)
	require.Len(t, files, 1)
}

func TestUpstreamVariables(t *testing.T) {
	_, err := newUpstream("", "sums")
	require.ErrorContains(t, err, "UPSTREAM_SUMS: must be set only with UPSTREAM")
	_, err = newUpstream("127.0.0.1:80", "")
	require.ErrorContains(t, err, "UPSTREAM: must be a URL such as")
}

// The test fails if a version changes without its pinned checksum, because the programs would then be built.
func TestOnlyUnpublishedProgramsAreBuilt(t *testing.T) {
	u, err := newUpstream("", "")
	require.NoError(t, err)
	var built []string
	for _, b := range builds {
		_, rest, err := u.split(b, ".")
		require.NoError(t, err)
		require.Empty(t, rest.archive.path)
		for _, p := range rest.programs {
			built = append(built, slices.Collect(maps.Keys(p.packages))...)
		}
		for _, i := range rest.images {
			built = append(built, i.name)
		}
	}
	slices.Sort(built)
	require.Equal(t, []string{
		"client-keystone-auth", // has no published checksum
		"csi-sanity",
		"devcloud.test/busybox:1.35",
		"etcd-backup",
		"etcd-join",
		"keystone-webhook",
		"machine-metrics",
		"node-approver",
		"pause",    // built with busybox's image
		"promtool", // for tests
		"tenant-sync",
	}, built)
}

// The stack of FROM=upstream has upstream's checksums. Our own programs have the checksums of Pulumi.dev.yaml.
func TestStackOfUpstream(t *testing.T) {
	out, err := exec.Command("make", "-C", "../..", "-B", "FROM=upstream", "Pulumi.upstream.yaml").CombinedOutput()
	require.NoError(t, err, string(out))
	dev, upstream := devConfig(t, "../../Pulumi.dev.yaml"), devConfig(t, "../../Pulumi.upstream.yaml")
	require.Equal(t, []string{"etcd-backup", "etcd-join", "keystone-webhook", "machine-metrics", "node-approver",
		"tenant-sync"},
		slices.Sorted(maps.Keys(upstream.Artifacts.Checksums)))
	for _, m := range cluster.NewPlan(upstream).Machines {
		for _, a := range m.Artifacts {
			if own := dev.Artifacts.Checksums[a.Name]; strings.Contains(a.URL, "/kubernetes-openstack/") {
				require.Equal(t, own, a.SHA256, a.Name)
			} else {
				require.Equal(t, cluster.UpstreamSHA256(a.Name, a.Version), a.SHA256, a.Name)
				require.NotEqual(t, own, a.SHA256, a.Name)
			}
			require.Len(t, a.SHA256, 64)
		}
	}
	dev.Artifacts.Checksums, upstream.Artifacts.Checksums = nil, nil
	one, err := json.Marshal(dev)
	require.NoError(t, err)
	other, err := json.Marshal(upstream)
	require.NoError(t, err)
	require.Equal(t, string(one), string(other))
}
