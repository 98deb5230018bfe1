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

// An image is an OCI image of one layer with some binaries.
type image struct {
	name    string   // registry.k8s.io/pause:3.10.2
	folder  string   // of its files in it
	files   []string // paths in the build's folder; an absolute one is the host's
	links   []string // other names of the first file
	command []string
}

// hostFiles are the files that come from the host.
func (i image) hostFiles() []string {
	var out []string
	for _, file := range i.files {
		if filepath.IsAbs(file) {
			out = append(out, file)
		}
	}
	return out
}

// write makes the image in dir as an OCI layout, oci/registry.k8s.io/pause@3.10.2. Like an archive, it depends on
// nothing but its files: no times, and a layer that is not compressed.
func (i image) write(dir string, expand func(string) (string, error)) error {
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
			Cmd: i.command,
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
	})
	if err != nil {
		return err
	}
	built = mutate.ConfigMediaType(mutate.MediaType(built, types.OCIManifestSchema1), types.OCIConfigJSON)
	if built, err = mutate.AppendLayers(built, static.NewLayer(layer, types.OCIUncompressedLayer)); err != nil {
		return err
	}
	repository, tag, _ := strings.Cut(name, ":")
	out, err := layout.Write(filepath.Join(dir, "oci", repository+"@"+tag), empty.Index)
	if err != nil {
		return err
	}
	return out.AppendImage(built)
}

// layer is the tarball of the image's files and the folders above them.
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
