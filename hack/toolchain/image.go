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

// An image is an OCI image with some binaries: of one layer, or two where they lie on a root filesystem.
type image struct {
	name string // registry.k8s.io/pause:3.10.2
	// recipe of a Debian root filesystem (rootfs.go), a folder of the first programs' module; "" for none
	root       string
	folder     string   // of its files in it
	files      []string // paths in the build's folder; an absolute one is the host's
	links      []string // other names of the first file
	writable   string   // folder that every user may write to; "" for none
	user       string   // UID; "" is root
	env        []string // variable=value, besides PATH
	entrypoint []string
	command    []string
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

// write makes the image in dir as an OCI layout, oci/registry.k8s.io/pause@3.10.2, upon the layer base, which may be
// nil. Like an archive, it depends on nothing but its files: no times, and layers that are not compressed.
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
	if i.writable != "" {
		h := header(tar.TypeDir, i.writable+"/")
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
