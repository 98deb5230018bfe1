package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

// upstream is where releases come from. It gives the same folders of the cache as the builds, under the same names.
type upstream struct {
	client http.Client
	// sum is the pinned sha256 in hex of an address, or the address of the publisher's list of them; "" for none. artifact
	// and version are those of package cluster, where the address is of a file that machines download.
	sum func(address, artifact, version string) string
}

// upstreamSums are the pins of what machines do not download.
//
//go:embed upstream.sums
var upstreamSums string

//go:embed upstream.go
var upstreamRecipe string

// newUpstream is the publishers' own hosts. With a mirror, https://HOST/PATH comes from MIRROR/HOST/PATH, and with
// sumsFile its sums are those of the file alone: the mirror is of something else than what the publishers released.
func newUpstream(mirror, sumsFile string) (*upstream, error) {
	u := &upstream{client: http.Client{Transport: transport{}}}
	if mirror != "" {
		base, err := url.Parse(mirror)
		if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
			return nil, fmt.Errorf("UPSTREAM: must be a URL such as http://127.0.0.1:8080, got %q", mirror)
		}
		u.client.Transport = transport{mirror: base.JoinPath("/")}
	}
	sums, err := parseSums(upstreamSums)
	if err != nil {
		return nil, fmt.Errorf("upstream.sums: %w", err)
	}
	u.sum = func(address, artifact, version string) string {
		if sum := cluster.UpstreamSHA256(artifact, version); sum != "" {
			return sum
		}
		return sums[address]
	}
	if sumsFile == "" {
		return u, nil
	}
	if mirror == "" {
		return nil, errors.New("UPSTREAM_SUMS: only with UPSTREAM: the publishers' own files have the pinned checksums")
	}
	text, err := os.ReadFile(sumsFile)
	if err != nil {
		return nil, fmt.Errorf("UPSTREAM_SUMS: %w", err)
	}
	if sums, err = parseSums(string(text)); err != nil {
		return nil, fmt.Errorf("UPSTREAM_SUMS: %s: %w", sumsFile, err)
	}
	u.sum = func(address, _, _ string) string { return sums[address] }
	return u, nil
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// parseSums reads lines of a sha256, or the address of a list of them, and an address.
func parseSums(text string) (map[string]string, error) {
	sums := map[string]string{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 || !hexSum.MatchString(fields[0]) && !strings.Contains(fields[0], "/") {
			return nil, fmt.Errorf("want a sha256 and an address, got %q", line)
		}
		sums[fields[1]] = fields[0]
	}
	return sums, nil
}

// transport refuses everything but https, or asks the mirror instead of any host.
type transport struct{ mirror *url.URL }

func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if t.mirror != nil {
		request = request.Clone(request.Context())
		query := request.URL.RawQuery
		request.URL = t.mirror.JoinPath(request.URL.Host, request.URL.EscapedPath())
		request.URL.RawQuery, request.Host = query, t.mirror.Host
	} else if request.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s: only https is trusted without UPSTREAM", request.URL)
	}
	return http.DefaultTransport.RoundTrip(request)
}

// published is what of a build comes from upstream.
type published struct {
	downloads []download
	pulls     []pull
}

// download is a file of the build's folder, whose path there is its address, or an archive of some files of the folder.
type download struct {
	address, sum string
	members      map[string]string // base names in the archive → paths in the build's folder; nil for a file
}

// pull is an image. Without a sum it is what its tag stands for.
type pull struct{ name, sum string }

// release is an archive whose address is not its path in the build's folder, as machines do not download it.
type release struct {
	of      programs // whose version it has
	address string
	members map[string]string // as download
}

// releases are Pulumi's archives: of the engine with its language hosts, and of each plugin.
func releases(b build) (out []release) {
	switch b.name {
	case pulumi.name:
		out = []release{{
			of:      b.programs[0],
			address: "get.pulumi.com/releases/sdk/pulumi-v{version}-linux-x64.tar.gz",
			members: map[string]string{"pulumi": "pulumi", "pulumi-language-go": "pulumi-language-go"},
		}}
	case plugins.name:
		for _, p := range b.programs {
			for program := range p.packages {
				out = append(out, release{
					of:      p,
					address: "get.pulumi.com/releases/plugins/" + program + "-v{version}-linux-{arch}.tar.gz",
					members: map[string]string{program: path.Join(p.folder, program)},
				})
			}
		}
	}
	return out
}

// noUpstream begins the names of images that nobody publishes.
const noUpstream = "devcloud.test/"

// split tells what of a build comes from upstream, and the build of what is left: what has
// no pinned sum, and images that nobody publishes.
func (u *upstream) split(b build, source string) (out published, rest build, err error) {
	artifacts := map[string]string{}
	for artifact, file := range b.artifacts {
		artifacts[file] = artifact
	}
	downloaded := map[string]bool{} // files of the build's folder, with {version} and so on
	add := func(r release) error {
		address, err := r.of.expand(source, r.address)
		if err != nil {
			return err
		}
		version, err := r.of.release(source)
		if err != nil {
			return err
		}
		d := download{address: address, sum: u.sum(address, artifacts[r.address], version)}
		if d.sum == "" {
			return nil
		}
		downloaded[r.address] = true
		for member, file := range r.members {
			downloaded[file] = true
			if d.members == nil {
				d.members = map[string]string{}
			}
			if d.members[member], err = r.of.expand(source, file); err != nil {
				return err
			}
		}
		out.downloads = append(out.downloads, d)
		return nil
	}
	candidates := releases(b)
	if b.archive.path != "" {
		candidates = append(candidates, release{of: b.programs[0], address: b.archive.path})
	}
	for _, p := range b.programs {
		for _, program := range slices.Sorted(maps.Keys(p.packages)) {
			candidates = append(candidates, release{of: p, address: path.Join(p.folder, program)})
		}
	}
	for _, r := range candidates {
		if err := add(r); err != nil {
			return out, rest, err
		}
	}

	rest = b
	rest.programs, rest.images = nil, nil
	if downloaded[b.archive.path] {
		rest.archive = archive{}
	}
	for _, i := range b.images {
		name, err := b.programs[0].expand(source, i.name)
		if err != nil {
			return out, rest, err
		}
		if strings.HasPrefix(name, noUpstream) {
			rest.images = append(rest.images, i)
		} else {
			out.pulls = append(out.pulls, pull{name, u.sum(name, "", "")})
		}
	}
	for _, p := range b.programs {
		if p.folder == parts && rest.archive.path == "" && len(rest.images) == 0 {
			continue // they were for what is not built
		}
		p.packages = maps.Clone(p.packages)
		maps.DeleteFunc(p.packages, func(program, _ string) bool { return downloaded[path.Join(p.folder, program)] })
		if len(p.packages) > 0 {
			rest.programs = append(rest.programs, p)
		}
	}
	return out, rest, nil
}

// ensureAll gives the builds, some at a time: one waits for the network while another compiles.
func (u *upstream) ensureAll(builds []build, source string, log *progress.Log) error {
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(3)
	for _, b := range builds {
		group.Go(func() error { return u.ensure(ctx, b, source, log) })
	}
	return group.Wait()
}

// ensure is as build.ensure, but for what upstream publishes.
func (u *upstream) ensure(ctx context.Context, b build, source string, log *progress.Log) error {
	from, rest, err := u.split(b, source)
	if err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	if len(from.downloads)+len(from.pulls) == 0 {
		return b.ensure(source, log)
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %+v", upstreamRecipe, from)
	if len(rest.programs) > 0 {
		key, err := rest.key(source)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		fmt.Fprint(hash, key)
	}
	dir := dirs.Cache("toolchain", fmt.Sprintf("%s-%x", b.name, hash.Sum(nil)[:6]))
	unlock, err := b.lock(log)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := u.fill(ctx, dir, from, rest, source, log); err != nil {
			return err
		}
	}
	if err := b.place(dir); err != nil {
		return fmt.Errorf("place %s: %w", b.name, err)
	}
	return b.removeOthers(dir)
}

// fill builds the rest and downloads to it in a folder beside dir, which gets dir's name when it is complete. What is
// in that folder after an interruption is not fetched again.
func (u *upstream) fill(ctx context.Context, dir string, from published, rest build, source string,
	log *progress.Log) error {
	partial := dir + ".download"
	if _, err := os.Stat(partial); errors.Is(err, fs.ErrNotExist) && len(rest.programs) > 0 {
		if err := rest.make(source, partial, log); err != nil {
			return err
		}
	}
	for _, d := range from.downloads {
		if err := u.download(ctx, d, partial, log); err != nil {
			return fmt.Errorf("download %s: %w", d.address, err)
		}
	}
	for _, p := range from.pulls {
		if err := u.pull(ctx, p, partial, log); err != nil {
			return fmt.Errorf("pull %s: %w", p.name, err)
		}
	}
	return os.Rename(partial, dir)
}

// download puts a file, or the members of an archive, into the folder.
func (u *upstream) download(ctx context.Context, d download, folder string, log *progress.Log) error {
	file := filepath.Join(folder, d.address)
	if d.members == nil {
		return u.get(ctx, d, file, log)
	}
	missing := false
	for _, member := range d.members {
		if _, err := os.Stat(filepath.Join(folder, member)); err != nil {
			missing = true
		}
	}
	if !missing {
		return nil
	}
	file = folder + ".archive-" + path.Base(d.address)
	if err := u.get(ctx, d, file, log); err != nil {
		return err
	}
	if err := extract(file, folder, d.members); err != nil {
		return err
	}
	return os.Remove(file)
}

// get downloads to the path file, which comes to be when its sum is right. A part of it that is there already is used.
func (u *upstream) get(ctx context.Context, d download, file string, log *progress.Log) (err error) {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	want, err := u.wanted(ctx, d)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	part, err := os.OpenFile(file+".part", os.O_RDWR|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	begin, hash := time.Now(), sha256.New()
	had, err := io.Copy(hash, part)
	if err != nil {
		return err
	}
	size := had
	response, err := u.request(ctx, d.address, had)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusPartialContent:
		log.Printf("download %s, on from %.1f MB …", d.address, megabytes(had))
	case http.StatusOK: // it gives all, or all again
		log.Printf("download %s …", d.address)
		hash.Reset()
		if size, err = part.Seek(0, io.SeekStart); err == nil {
			err = part.Truncate(0)
		}
		if err != nil {
			return err
		}
	case http.StatusRequestedRangeNotSatisfiable: // nothing is missing
		response.Body = http.NoBody
	default:
		return fmt.Errorf("%s", response.Status)
	}
	copied, err := io.Copy(io.MultiWriter(part, hash), response.Body)
	size += copied
	if err != nil {
		return fmt.Errorf("after %d bytes, from where the next run goes on: %w", size, err)
	}
	if got := fmt.Sprintf("%x", hash.Sum(nil)); got != want {
		return errors.Join(fmt.Errorf("sha256 is %s, want %s", got, want), os.Remove(part.Name()))
	}
	log.Printf("download %s %.1f MB, %.1f s", d.address, megabytes(size), time.Since(begin).Seconds())
	return os.Rename(part.Name(), file)
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

// request asks for what is at an address, from a byte on.
func (u *upstream) request(ctx context.Context, address string, from int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address, nil)
	if err != nil {
		return nil, err
	}
	if from > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	return u.client.Do(request)
}

// wanted is the sha256 that a download is to have.
func (u *upstream) wanted(ctx context.Context, d download) (string, error) {
	if hexSum.MatchString(d.sum) {
		return d.sum, nil
	}
	response, err := u.request(ctx, d.sum, 0)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", d.sum, response.Status)
	}
	list, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(list)) {
		if fields := strings.Fields(line); len(fields) == 2 && hexSum.MatchString(fields[0]) &&
			path.Base(fields[1]) == path.Base(d.address) {
			return fields[0], nil
		}
	}
	return "", fmt.Errorf("%s has no sha256 of it", d.sum)
}

// extract writes the members of a .tar.gz, by their base names, to their paths in the folder.
func extract(archive, folder string, members map[string]string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	found := 0
	for tarball := tar.NewReader(zip); ; {
		header, err := tarball.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		member := members[path.Base(header.Name)]
		if header.Typeflag != tar.TypeReg || member == "" {
			continue
		}
		found++
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, member)), 0o755); err != nil {
			return err
		}
		if err := replace(filepath.Join(folder, member),
			func(name string) error { return writeProgram(name, tarball) }); err != nil {
			return err
		}
	}
	if found != len(members) {
		return fmt.Errorf("it has %d of %v", found, slices.Sorted(maps.Keys(members)))
	}
	return nil
}

func writeProgram(name string, content io.Reader) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// pull puts an image into the folder as image.write does, for this machine's platform.
// Layers that are there already are not pulled again.
func (u *upstream) pull(ctx context.Context, p pull, folder string, log *progress.Log) error {
	repository, tag, _ := strings.Cut(p.name, ":")
	place := filepath.Join(folder, "oci", repository+"@"+tag)
	if index, err := layout.ImageIndexFromPath(place); err == nil {
		if manifest, err := index.IndexManifest(); err == nil && len(manifest.Manifests) == 1 {
			return nil
		}
	}
	wanted := p.name
	if p.sum != "" {
		wanted = repository + "@sha256:" + p.sum
	}
	reference, err := name.ParseReference(wanted)
	if err != nil {
		return err
	}
	log.Printf("pull %s …", p.name)
	begin := time.Now()
	image, err := remote.Image(reference, remote.WithContext(ctx), remote.WithTransport(u.client.Transport),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		return err
	}
	halves, err := filepath.Glob(filepath.Join(place, "blobs/sha256", strings.Repeat("?", sha256.Size*2)+"?*"))
	if err != nil {
		return err
	}
	for _, half := range halves {
		if err := os.Remove(half); err != nil {
			return err
		}
	}
	out, err := layout.Write(place, empty.Index)
	if err != nil {
		return err
	}
	if err := out.AppendImage(image); err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	var size int64
	for _, layer := range layers {
		bytes, err := layer.Size()
		if err != nil {
			return err
		}
		size += bytes
	}
	log.Printf("pull %s %s %.1f MB, %.1f s", p.name, digest, megabytes(size), time.Since(begin).Seconds())
	return nil
}
