package main

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/files"
	"kubernetes-openstack/internal/mirror"
	"kubernetes-openstack/internal/progress"
)

// linkMirror links every file of a built folder into the mirror, under the same path, and publishes its images. It
// creates hard links, because the server of the mirror can read only files inside it.
func linkMirror(dir string) error {
	var images []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		layout, isLayout := strings.CutSuffix(name, "/index.json")
		if image, isImage := strings.CutPrefix(layout, "oci/"); isLayout && isImage {
			images = append(images, strings.Replace(image, "@", ":", 1))
		}
		return files.Replace(dirs.Mirror(name), func(link string) error { return os.Link(path, link) })
	})
	if err != nil {
		return err
	}
	for _, image := range images {
		if err := mirror.Publish(dirs.Mirror(), image); err != nil {
			return err
		}
	}
	return nil
}

// printChecksums prints a line "etcd 3.6.14 SHA256" for each artifact in the mirror. It builds missing artifacts.
func printChecksums(out io.Writer, source string, log *progress.Log) error {
	for _, b := range builds {
		if len(b.artifacts) == 0 {
			continue
		}
		if err := b.ensure(source, log); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(b.artifacts)) {
			text, err := b.programs[0].expand(source, "{version} "+b.artifacts[name])
			if err != nil {
				return err
			}
			version, path, _ := strings.Cut(text, " ")
			sum, err := files.SHA256(dirs.Mirror(path))
			if err != nil {
				return err
			}
			fmt.Fprintln(out, name, version, sum)
		}
	}
	return nil
}
