package main

import (
	"archive/tar"
	"cmp"
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
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/files"
	"kubernetes-openstack/internal/mirror"
	"kubernetes-openstack/internal/progress"
)

// upstream is where releases come from. It gives the same folders of the cache as the builds, under the same names.
type upstream struct {
	source *mirror.Source
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

// newUpstream is the publishers' own hosts. With a server, https://HOST/PATH comes from SERVER/HOST/PATH, and with
// sumsFile its sums are those of the file alone: the server has something else than what the publishers released.
func newUpstream(server, sumsFile string) (*upstream, error) {
	from, err := mirror.NewSource(server)
	if err != nil {
		return nil, err
	}
	u := &upstream{source: from}
	sums, err := parseSums(upstreamSums)
	if err != nil {
		return nil, fmt.Errorf("upstream.sums: %w", err)
	}
	u.sum = func(address, artifact, version string) string {
		return cmp.Or(cluster.UpstreamSHA256(artifact, version), cluster.ImageDigest(address), sums[address])
	}
	if sumsFile == "" {
		return u, nil
	}
	if server == "" {
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

// published is what of a build comes from upstream.
type published struct {
	downloads []download
	images    []mirror.Image
}

// download is a file of the build's folder, whose path there is its address, or an archive of some files of the folder.
type download struct {
	address, sum string
	members      map[string]string // base names in the archive → paths in the build's folder; nil for a file
}

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
	if b.name == own.name {
		return out, b, nil // the programs of the working tree, not those of a release
	}
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
			out.images = append(out.images, mirror.Image{Name: name, Digest: u.sum(name, "", "")})
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
	if len(from.downloads)+len(from.images) == 0 {
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
			return err
		}
	}
	for _, i := range from.images {
		if err := u.source.Pull(ctx, i, partial, log); err != nil {
			return err
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
		return fmt.Errorf("extract %s: %w", d.address, err)
	}
	return os.Remove(file)
}

// get downloads to the path file, unless it is there.
func (u *upstream) get(ctx context.Context, d download, file string, log *progress.Log) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	sum, err := u.wanted(ctx, d)
	if err != nil {
		return fmt.Errorf("download %s: %w", d.address, err)
	}
	return u.source.Download(ctx, mirror.Download{Address: d.address, SHA256: sum}, file, log)
}

// wanted is the sha256 that a download is to have.
func (u *upstream) wanted(ctx context.Context, d download) (string, error) {
	if hexSum.MatchString(d.sum) {
		return d.sum, nil
	}
	response, err := u.source.Request(ctx, d.sum, 0)
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
		if err := files.Replace(filepath.Join(folder, member),
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
