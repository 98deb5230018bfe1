package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"kubernetes-openstack/internal/files"
	"kubernetes-openstack/internal/progress"
)

// Image is a container image.
type Image struct {
	Name   string // REGISTRY/REPOSITORY:TAG
	Digest string // the pinned sha256 in hex; "" if the tag decides
}

// platform is the platform of all machines.
var platform = v1.Platform{OS: "linux", Architecture: "amd64"}

// imageName is the name of an image, in its parts.
type imageName struct{ registry, repository, tag string }

func parseName(image string) (imageName, error) {
	registry, rest, _ := strings.Cut(image, "/")
	repository, tag, _ := strings.Cut(rest, ":")
	if !strings.ContainsAny(registry, ".:") || repository == "" || tag == "" || strings.Contains(image, "@") {
		return imageName{}, fmt.Errorf("must be REGISTRY/REPOSITORY:TAG such as registry.k8s.io/pause:3.10.2, got %q", image)
	}
	return imageName{registry, repository, tag}, nil
}

// layout returns the path of the image's OCI layout in a mirror.
func (n imageName) layout() string { return filepath.Join("oci", n.registry, n.repository+"@"+n.tag) }

// Publish links the paths of the API of the OCI distribution to the blobs of an image, whose OCI layout is in folder.
// The path of the tag is the last one, so a machine that finds the image finds all of it.
func Publish(folder, image string) error {
	n, err := parseName(image)
	if err != nil {
		return err
	}
	tagged, err := index(filepath.Join(folder, n.layout(), "index.json"))
	if err != nil {
		return err
	}
	if len(tagged.Manifests) != 1 {
		return fmt.Errorf("%s: must contain exactly one image, not %d", n.layout(), len(tagged.Manifests))
	}
	blobs := filepath.Join(folder, n.layout(), "blobs", "sha256")
	link := func(kind, reference, digest string) error {
		path := filepath.Join(folder, n.registry, "v2", n.repository, kind, reference)
		target, err := filepath.Rel(filepath.Dir(path), filepath.Join(blobs, digest))
		if err != nil {
			return err
		}
		return files.Replace(path, func(link string) error { return os.Symlink(target, link) })
	}
	all, err := os.ReadDir(blobs)
	if err != nil {
		return err
	}
	for _, blob := range all {
		if err := link("blobs", "sha256:"+blob.Name(), blob.Name()); err != nil {
			return err
		}
	}
	top := tagged.Manifests[0].Digest.Hex
	for manifests := []string{top}; len(manifests) > 0; manifests = manifests[1:] {
		if err := link("manifests", "sha256:"+manifests[0], manifests[0]); err != nil {
			return err
		}
		platforms, err := index(filepath.Join(blobs, manifests[0])) // none in the manifest of one platform
		if err != nil {
			return err
		}
		for _, manifest := range platforms.Manifests {
			manifests = append(manifests, manifest.Digest.Hex)
		}
	}
	return link("manifests", n.tag, top)
}

func index(path string) (*v1.IndexManifest, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	manifest, err := v1.ParseIndexManifest(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return manifest, nil
}

// Pull writes an image for the machines' platform to its OCI layout in the folder, unless the layout has it. The layout
// gets its name when it is complete. The next run continues an interrupted pull.
func (s *Source) Pull(ctx context.Context, image Image, folder string, log *progress.Log) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("pull %s: %w", image.Name, err)
		}
	}()
	n, err := parseName(image.Name)
	if err != nil {
		return err
	}
	wanted := image.Name
	if image.Digest != "" {
		wanted = n.registry + "/" + n.repository + "@sha256:" + image.Digest
	}
	reference, err := name.ParseReference(wanted)
	if err != nil {
		return err
	}
	begin := time.Now()
	content, err := remote.Image(reference, remote.WithContext(ctx), remote.WithTransport(s.client.Transport),
		remote.WithPlatform(platform))
	if err != nil {
		return err
	}
	digest, err := content.Digest()
	if err != nil {
		return err
	}
	place := filepath.Join(folder, n.layout())
	has, err := index(filepath.Join(place, "index.json"))
	if err == nil && len(has.Manifests) == 1 && has.Manifests[0].Digest == digest {
		return nil
	}
	log.Printf("pull %s …", image.Name)
	part := place + ".part"
	if err := removeIncomplete(filepath.Join(part, "blobs", "sha256")); err != nil {
		return err
	}
	out, err := layout.Write(part, empty.Index)
	if err != nil {
		return err
	}
	if err := out.AppendImage(content); err != nil {
		return err
	}
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	if err := os.Rename(part, place); err != nil {
		return err
	}
	manifest, err := content.Manifest()
	if err != nil {
		return err
	}
	var size int64
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	log.Printf("pull %s %s %.1f MB, %.1f s", image.Name, digest, megabytes(size), time.Since(begin).Seconds())
	return nil
}

// removeIncomplete removes the blobs that an interrupted run has not completed.
func removeIncomplete(blobs string) error {
	entries, err := os.ReadDir(blobs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		blob := filepath.Join(blobs, entry.Name())
		sum, err := files.SHA256(blob)
		if err == nil && sum != entry.Name() {
			err = os.Remove(blob)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
