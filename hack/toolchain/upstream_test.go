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

// publisher serves a folder as UPSTREAM, remembers what it was asked for, and cuts its answers off after so many bytes.
type publisher struct {
	folder string
	url    string
	asked  []string // PATH, or PATH bytes=FIRST-
	limit  int      // 0 for none
}

func newPublisher(t *testing.T) *publisher {
	p := &publisher{folder: t.TempDir()}
	served := mirror.Handler(os.DirFS(p.folder))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked = append(p.asked, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
		if p.limit > 0 {
			w = &cutOff{w, p.limit}
		}
		served.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

type cutOff struct {
	http.ResponseWriter
	left int
}

func (c *cutOff) Write(content []byte) (int, error) {
	if len(content) > c.left {
		c.ResponseWriter.Write(content[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(content)
	return c.ResponseWriter.Write(content)
}

// publishes makes files, by address, and their lines of UPSTREAM_SUMS.
func (p *publisher) publishes(t *testing.T, files map[string]string) (sums string) {
	for address, content := range files {
		write(t, filepath.Join(p.folder, address), content)
		sums += fmt.Sprintf("%x %s\n", sha256.Sum256([]byte(content)), address)
	}
	return sums
}

// publishesImage makes an image, and its line of UPSTREAM_SUMS.
func (p *publisher) publishesImage(t *testing.T, name string) (sum string) {
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

// ensure does as `UPSTREAM=… UPSTREAM_SUMS=… go run ./hack/toolchain upstream`, and returns what it printed.
func (p *publisher) ensure(t *testing.T, source, sums string, builds ...build) (string, error) {
	file := filepath.Join(t.TempDir(), "sums")
	write(t, file, sums)
	u, err := newUpstream(p.url, file)
	require.NoError(t, err)
	var out bytes.Buffer
	p.asked = nil
	err = u.ensureAll(builds, source, progress.New(&out, "test"))
	return out.String(), err
}

// theirs is the tiny build, as a binary for machines beside an image, of a source that cannot be built.
func theirs(t *testing.T) (source string, b build) {
	source, b, _ = tiny(t)
	write(t, filepath.Join(source, "tiny", "main.go"), "it is not built")
	b.programs[0].folder = "files.example/v{version}"
	b.images = []image{{name: "images.example/group/app:v{version}", files: []string{"files.example/v{version}/tiny"}}}
	b.place = linkMirror
	return source, b
}

func TestUpstreamFillsTheMirrorWithoutABuild(t *testing.T) {
	source, b := theirs(t)
	p := newPublisher(t)
	pinned := p.publishes(t, map[string]string{"files.example/v1.2.3/tiny": "binary"})
	digest := p.publishesImage(t, "images.example/group/app:v1.2.3")

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
	require.Empty(t, p.asked, "it has all")

	// What has no pin is built, which here fails.
	_, err = p.ensure(t, source, digest, b)
	require.ErrorContains(t, err, "build tiny")
}

func read(t *testing.T, path string) string {
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

func TestUpstreamRefusesWhatIsNotPinned(t *testing.T) {
	source, b := theirs(t)
	p := newPublisher(t)
	pinned := p.publishes(t, map[string]string{"files.example/v1.2.3/tiny": "binary"})
	digest := p.publishesImage(t, "images.example/group/app:v1.2.3")

	p.publishes(t, map[string]string{"files.example/v1.2.3/tiny": "another"})
	_, err := p.ensure(t, source, pinned+digest, b)
	require.ErrorContains(t, err, fmt.Sprintf("download files.example/v1.2.3/tiny: sha256 is %x, want %s",
		sha256.Sum256([]byte("another")), pinned[:64]))
	require.NoFileExists(t, dirs.Mirror("files.example/v1.2.3/tiny"))

	// The refused content does not stay in the way of the right one.
	p.publishes(t, map[string]string{"files.example/v1.2.3/tiny": "binary"})
	require.NoError(t, os.RemoveAll(filepath.Join(p.folder, "oci")))
	p.publishesImage(t, "images.example/group/app:v1.2.3")
	_, err = p.ensure(t, source, pinned+digest, b)
	require.ErrorContains(t, err, "pull images.example/group/app:v1.2.3: ")
	require.ErrorContains(t, err, digest[:64])
	require.NoDirExists(t, dirs.Mirror("oci"))

	// Without a pin the tag says which.
	_, err = p.ensure(t, source, pinned, b)
	require.NoError(t, err)
	require.FileExists(t, dirs.Mirror("oci/images.example/group/app@v1.2.3/index.json"))
}

func TestUpstreamGoesOnWhereItWasInterrupted(t *testing.T) {
	source, b := theirs(t)
	p := newPublisher(t)
	sums := p.publishes(t, map[string]string{"files.example/v1.2.3/tiny": strings.Repeat("binary", 1000)})
	sums += p.publishesImage(t, "images.example/group/app:v1.2.3")

	p.limit = 2000
	_, err := p.ensure(t, source, sums, b)
	require.ErrorContains(t, err, "stopped after 2000 bytes, where the next run continues: unexpected EOF")
	_, err = p.ensure(t, source, sums, b)
	require.ErrorContains(t, err, "after 4000 bytes")
	p.limit = 0
	out, err := p.ensure(t, source, sums, b)
	require.NoError(t, err)
	require.Equal(t, "/files.example/v1.2.3/tiny bytes=4000-", p.asked[0])
	require.Contains(t, out, "download files.example/v1.2.3/tiny, continue at 0.0 MB …")
	require.Equal(t, strings.Repeat("binary", 1000), read(t, dirs.Mirror("files.example/v1.2.3/tiny")))

	left, err := filepath.Glob(dirs.Cache("toolchain", "tiny-*"))
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// What nobody publishes is built, and only once.
func TestUpstreamBuildsTheRest(t *testing.T) {
	source, b, placed := tiny(t)
	ours := b.programs[0]
	ours.packages, ours.folder = map[string]string{"ours": "tiny"}, "devcloud.test"
	part := b.programs[0]
	part.packages, part.folder = map[string]string{"part": "./not-there"}, parts
	b.programs[0].folder = "files.example/v{version}"
	b.programs = append(b.programs, ours, part)
	b.images = []image{{name: "images.example/group/app:v{version}", files: []string{parts + "/part"}}}
	p := newPublisher(t)
	sums := p.publishes(t, map[string]string{"files.example/v1.2.3/tiny": "binary"})

	out, err := p.ensure(t, source, sums, b)
	require.ErrorContains(t, err, "pull images.example/group/app:v1.2.3")
	require.Contains(t, out, "build ours …")
	p.publishesImage(t, "images.example/group/app:v1.2.3")
	out, err = p.ensure(t, source, sums, b)
	require.NoError(t, err)
	require.NotContains(t, out, "build")
	require.NotContains(t, out, "download")
	require.Equal(t, "binary", read(t, filepath.Join(*placed, "files.example/v1.2.3/tiny")))
	version, err := exec.Command(filepath.Join(*placed, "devcloud.test/ours")).CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "1.2.3\n", string(version))
}

// Pulumi's plugins are members of archives. A publisher's own list of checksums is as good as a pin.
func TestUpstreamUnpacksPlugins(t *testing.T) {
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

	source, b, placed := tiny(t)
	p := newPublisher(t)
	const address = "get.pulumi.com/releases/plugins/pulumi-resource-tls-v1.2.3-linux-amd64.tar.gz"
	sum, _, _ := strings.Cut(p.publishes(t, map[string]string{address: archive.String()}), " ")
	b.name = plugins.name
	b.programs[0].packages = map[string]string{"pulumi-resource-tls": "tiny"}
	b.programs[0].folder = "resource-tls-v{version}"

	p.publishes(t, map[string]string{"files.example/sums": sum + "  other.tar.gz\n"})
	_, err := p.ensure(t, source, "files.example/sums "+address, b)
	require.ErrorContains(t, err, "files.example/sums has no sha256 of it")

	p.publishes(t, map[string]string{"files.example/sums": strings.Repeat("0",
		64) + "  other.tar.gz\n" + sum + "  ./" + filepath.Base(address) + "\n"})
	_, err = p.ensure(t, source, "files.example/sums "+address, b)
	require.NoError(t, err)
	require.Equal(t, "pulumi-resource-tls", read(t, filepath.Join(*placed, "resource-tls-v1.2.3/pulumi-resource-tls")))
	files, err := os.ReadDir(*placed)
	require.NoError(t, err)
	require.Len(t, files, 1)
}

func TestUpstreamVariables(t *testing.T) {
	_, err := newUpstream("", "sums")
	require.ErrorContains(t, err, "UPSTREAM_SUMS: only with UPSTREAM")
	_, err = newUpstream("127.0.0.1:80", "")
	require.ErrorContains(t, err, "UPSTREAM: must be a URL such as")
}

// A version that moves without its checksum is seen here: its programs would be built again.
func TestUpstreamLeavesToBuildWhatNobodyPublishes(t *testing.T) {
	u, err := newUpstream("", "")
	require.NoError(t, err)
	var left []string
	for _, b := range builds {
		_, rest, err := u.split(b, ".")
		require.NoError(t, err)
		require.Empty(t, rest.archive.path)
		for _, p := range rest.programs {
			left = append(left, slices.Collect(maps.Keys(p.packages))...)
		}
		for _, i := range rest.images {
			left = append(left, i.name)
		}
	}
	slices.Sort(left)
	require.Equal(t, []string{
		"client-keystone-auth", // published without a checksum, where it is
		"csi-sanity",
		"devcloud.test/busybox:1.35",
		"keystone-webhook",
		"node-approver",
		"pause", // built with busybox's image
		"tenant-sync",
	}, left)
}

// The stack of FROM=upstream has upstream's checksums, and the mirror's files those of our own programs.
func TestStackOfUpstream(t *testing.T) {
	out, err := exec.Command("make", "-C", "../..", "-B", "FROM=upstream", "Pulumi.upstream.yaml").CombinedOutput()
	require.NoError(t, err, string(out))
	dev, upstream := devConfig(t, "../../Pulumi.dev.yaml"), devConfig(t, "../../Pulumi.upstream.yaml")
	require.Equal(t, []string{"keystone-webhook", "node-approver", "tenant-sync"},
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
