package main

import (
	"archive/tar"
	"bytes"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image describes an OCI image. It has a layer with binaries and, if it has a recipe, a root filesystem below them.
type image struct {
	name string // registry.k8s.io/pause:3.10.2
	// recipe is the folder of the recipe of a Debian root filesystem (rootfs.go), below the module of the build's first
	// programs. "" means no root filesystem.
	recipe         string
	folder         string   // folder of the files in the image
	files          []string // paths in the build's folder; absolute paths are files of the host
	links          []string // names of symbolic links to the first file
	tree           string   // folder in the build's folder with more files, at their paths in the image; "" for none
	writableFolder string   // folder that every user may write to; "" for none
	user           string   // UID; "" for root
	env            []string // variable=value, in addition to PATH
	entrypoint     []string
	command        []string
}

// hostFiles returns the paths of the files that the image takes from the host.
func (i image) hostFiles() []string {
	var out []string
	for _, file := range i.files {
		if filepath.IsAbs(file) {
			out = append(out, file)
		}
	}
	return out
}

// write writes the image to dir as an OCI layout, such as oci/registry.k8s.io/pause@3.10.2. base is the layer with the
// root filesystem, or nil. Like an archive, the image depends only on its files: it contains no times, and its layers
// are not compressed.
func (i image) write(dir string, base []byte, expand func(string) (string, error)) error {
	name, err := expand(i.name)
	if err != nil {
		return err
	}
	layer, err := i.layer(dir, expand)
	if err != nil {
		return err
	}
	built, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS:           "linux",
		Architecture: runtime.GOARCH,
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User:       i.user,
			Env:        append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, i.env...),
			Entrypoint: i.entrypoint,
			Cmd:        i.command,
		},
	})
	if err != nil {
		return err
	}
	built = mutate.ConfigMediaType(mutate.MediaType(built, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, content := range [][]byte{base, layer} {
		if content == nil {
			continue
		}
		if built, err = mutate.AppendLayers(built, static.NewLayer(content, types.OCIUncompressedLayer)); err != nil {
			return err
		}
	}
	repository, tag, _ := strings.Cut(name, ":")
	out, err := layout.Write(filepath.Join(dir, "oci", repository+"@"+tag), empty.Index)
	if err != nil {
		return err
	}
	return out.AppendImage(built)
}

// layer returns a tarball with the image's files and the folders above them.
func (i image) layer(dir string, expand func(string) (string, error)) ([]byte, error) {
	var out bytes.Buffer
	tarball := tar.NewWriter(&out)
	for at, char := range i.folder + "/" {
		if char != '/' || at == 0 {
			continue
		}
		if err := tarball.WriteHeader(header(tar.TypeDir, i.folder[:at]+"/")); err != nil {
			return nil, err
		}
	}
	for _, file := range i.files {
		source, err := expand(file)
		if err != nil {
			return nil, err
		}
		if !filepath.IsAbs(source) {
			source = filepath.Join(dir, source)
		}
		if err := addFile(tarball, path.Join(i.folder, path.Base(file)), source); err != nil {
			return nil, err
		}
	}
	if i.tree != "" {
		if err := addTree(tarball, filepath.Join(dir, i.tree)); err != nil {
			return nil, err
		}
	}
	if i.writableFolder != "" {
		h := header(tar.TypeDir, i.writableFolder+"/")
		h.Mode = 0o777
		if err := tarball.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	for _, link := range i.links {
		h := header(tar.TypeSymlink, path.Join(i.folder, link))
		h.Linkname = path.Base(i.files[0])
		if err := tarball.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	err := tarball.Close()
	return out.Bytes(), err
}
