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

// upstream downloads published files. It fills the same folders of the cache as the builds.
type upstream struct {
	source *mirror.Source
	// pinned returns the pinned sha256 of an address in hex, the address of the publisher's list of checksums, or "". If
	// machines download the file at the address, artifact is its name in package cluster and version is its version.
	pinned func(address, artifact, version string) string
}

// upstreamSums are the pinned checksums of the files that machines do not download.
//
//go:embed upstream.sums
var upstreamSums string

// upstreamCode is part of the key of each result.
//
//go:embed upstream.go
var upstreamCode string

// newUpstream returns an upstream that downloads from the publishers' hosts. With a server, https://HOST/PATH comes
// from SERVER/HOST/PATH. With a sumsFile, only the checksums in this file apply, because the server may have different
// files under these addresses.
func newUpstream(server, sumsFile string) (*upstream, error) {
	hosts, err := mirror.NewSource(server)
	if err != nil {
		return nil, err
	}
	u := &upstream{source: hosts}
	sums, err := parseSums(upstreamSums)
	if err != nil {
		return nil, fmt.Errorf("upstream.sums: %w", err)
	}
	u.pinned = func(address, artifact, version string) string {
		return cmp.Or(cluster.UpstreamSHA256(artifact, version), cluster.ImageDigest(address), sums[address])
	}
	if sumsFile == "" {
		return u, nil
	}
	if server == "" {
		return nil, errors.New("UPSTREAM_SUMS: must be set only with UPSTREAM, because publishers' checksums are pinned")
	}
	text, err := os.ReadFile(sumsFile)
	if err != nil {
		return nil, fmt.Errorf("UPSTREAM_SUMS: %w", err)
	}
	if sums, err = parseSums(string(text)); err != nil {
		return nil, fmt.Errorf("UPSTREAM_SUMS: %s: %w", sumsFile, err)
	}
	u.pinned = func(address, _, _ string) string { return sums[address] }
	return u, nil
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// parseSums returns the pinned checksum for each address. A line contains a sha256 or the address of a publisher's
// list, and then the address of the file.
func parseSums(text string) (map[string]string, error) {
	sums := map[string]string{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 || !hexSum.MatchString(fields[0]) && !strings.Contains(fields[0], "/") {
			return nil, fmt.Errorf("each line must be a sha256 or the address of a list, and an address, got %q", line)
		}
		sums[fields[1]] = fields[0]
	}
	return sums, nil
}

// published is the part of a build that upstream publishes.
type published struct {
	downloads []download
	images    []mirror.Image
}

// download is a published file or archive. The address of a file is also its path in the build's folder. An archive
// contains several files of the build's folder.
type download struct {
	address string
	pinned  string            // sha256 in hex, or the address of the publisher's list of checksums
	members map[string]string // path in the build's folder by the base name in the archive; nil for a file
}

// release is a file or archive that upstream may publish for some programs.
type release struct {
	programs programs
	address  string            // with {version} and so on
	members  map[string]string // like download.members, with {version} and so on
}

// pulumiReleases returns the archives of Pulumi in a build: the engine with its language hosts, or the plugins.
func pulumiReleases(b build) (out []release) {
	switch b.name {
	case pulumi.name:
		out = []release{{
			programs: b.programs[0],
			address:  "get.pulumi.com/releases/sdk/pulumi-v{version}-linux-x64.tar.gz",
			members:  map[string]string{"pulumi": "pulumi", "pulumi-language-go": "pulumi-language-go"},
		}}
	case plugins.name:
		for _, p := range b.programs {
			for program := range p.packages {
				out = append(out, release{
					programs: p,
					address:  "get.pulumi.com/releases/plugins/" + program + "-v{version}-linux-{arch}.tar.gz",
					members:  map[string]string{program: path.Join(p.folder, program)},
				})
			}
		}
	}
	return out
}

// unpublishedRegistry is the registry of images that exist only in devcloud.
const unpublishedRegistry = "devcloud.test/"

// split returns the part of a build that upstream publishes, and a build of the rest. The rest are files without a
// pinned checksum, and images that exist only in devcloud.
func (u *upstream) split(b build, source string) (out published, rest build, err error) {
	if b.name == ownPrograms.name {
		return out, b, nil // built from the working tree, and never downloaded from a release
	}
	artifacts := map[string]string{}
	for artifact, file := range b.artifacts {
		artifacts[file] = artifact
	}
	downloaded := map[string]bool{} // files of the build's folder, with {version} and so on
	add := func(r release) error {
		address, err := r.programs.expand(source, r.address)
		if err != nil {
			return err
		}
		version, err := r.programs.programVersion(source)
		if err != nil {
			return err
		}
		d := download{address: address, pinned: u.pinned(address, artifacts[r.address], version)}
		if d.pinned == "" {
			return nil
		}
		downloaded[r.address] = true
		for member, file := range r.members {
			downloaded[file] = true
			if d.members == nil {
				d.members = map[string]string{}
			}
			if d.members[member], err = r.programs.expand(source, file); err != nil {
				return err
			}
		}
		out.downloads = append(out.downloads, d)
		return nil
	}
	candidates := pulumiReleases(b)
	if b.archive.path != "" {
		candidates = append(candidates, release{programs: b.programs[0], address: b.archive.path})
	}
	for _, p := range b.programs {
		for _, program := range slices.Sorted(maps.Keys(p.packages)) {
			candidates = append(candidates, release{programs: p, address: path.Join(p.folder, program)})
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
		if strings.HasPrefix(name, unpublishedRegistry) {
			rest.images = append(rest.images, i)
		} else {
			out.images = append(out.images, mirror.Image{Name: name, Digest: u.pinned(name, "", "")})
		}
	}
	for _, p := range b.programs {
		if p.folder == parts && rest.archive.path == "" && len(rest.images) == 0 {
			continue // no archive or image of the rest contains them
		}
		p.packages = maps.Clone(p.packages)
		maps.DeleteFunc(p.packages, func(program, _ string) bool { return downloaded[path.Join(p.folder, program)] })
		if len(p.packages) > 0 {
			rest.programs = append(rest.programs, p)
		}
	}
	return out, rest, nil
}

// ensureAll ensures three builds at a time, because some wait for the network while others compile.
func (u *upstream) ensureAll(builds []build, source string, log *progress.Log) error {
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(3)
	for _, b := range builds {
		group.Go(func() error { return u.ensure(ctx, b, source, log) })
	}
	return group.Wait()
}

// ensure does the same as build.ensure, but downloads published files.
func (u *upstream) ensure(ctx context.Context, b build, source string, log *progress.Log) error {
	available, rest, err := u.split(b, source)
	if err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	if len(available.downloads)+len(available.images) == 0 {
		return b.ensure(source, log)
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %+v", upstreamCode, available)
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
		if err := u.fill(ctx, dir, available, rest, source, log); err != nil {
			return err
		}
	}
	if err := b.install(dir); err != nil {
		return fmt.Errorf("install %s: %w", b.name, err)
	}
	return b.removeOthers(dir)
}

// fill builds the rest and adds the downloads in a temporary folder beside dir. It renames the folder to dir when it is
// complete. After an interruption, the next call continues with the contents of the folder.
func (u *upstream) fill(ctx context.Context, dir string, available published, rest build, source string,
	log *progress.Log) error {
	partial := dir + ".download"
	if _, err := os.Stat(partial); errors.Is(err, fs.ErrNotExist) && len(rest.programs) > 0 {
		if err := rest.make(source, partial, log); err != nil {
			return err
		}
	}
	for _, d := range available.downloads {
		if err := u.download(ctx, d, partial, log); err != nil {
			return err
		}
	}
	for _, i := range available.images {
		if err := u.source.Pull(ctx, i, partial, log); err != nil {
			return err
		}
	}
	return os.Rename(partial, dir)
}

// download downloads a file, or the members of an archive, into the folder.
func (u *upstream) download(ctx context.Context, d download, folder string, log *progress.Log) error {
	file := filepath.Join(folder, d.address)
	if d.members == nil {
		return u.downloadFile(ctx, d, file, log)
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
	if err := u.downloadFile(ctx, d, file, log); err != nil {
		return err
	}
	if err := extract(file, folder, d.members); err != nil {
		return fmt.Errorf("extract %s: %w", d.address, err)
	}
	return os.Remove(file)
}

// downloadFile downloads to the path file, unless it exists.
func (u *upstream) downloadFile(ctx context.Context, d download, file string, log *progress.Log) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	sum, err := u.checksum(ctx, d)
	if err != nil {
		return fmt.Errorf("download %s: %w", d.address, err)
	}
	return u.source.Download(ctx, mirror.Download{Address: d.address, SHA256: sum}, file, log)
}

// checksum returns the correct sha256 of a download in hex. It downloads the publisher's list if necessary.
func (u *upstream) checksum(ctx context.Context, d download) (string, error) {
	if hexSum.MatchString(d.pinned) {
		return d.pinned, nil
	}
	response, err := u.source.Request(ctx, d.pinned, 0)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", d.pinned, response.Status)
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
	return "", fmt.Errorf("%s: must contain a sha256 of %s", d.pinned, path.Base(d.address))
}

// extract extracts members of a .tar.gz to their paths in the folder. The keys of members are base names.
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
		return fmt.Errorf("must contain the files %v, found %d of them", slices.Sorted(maps.Keys(members)), found)
	}
	return nil
}

// writeProgram writes an executable file.
func writeProgram(name string, content io.Reader) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
