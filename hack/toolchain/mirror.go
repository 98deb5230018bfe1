package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

// linkMirror gives the mirror every file of the built folder, whose inner paths are the mirror's. Hard links: a link
// by name would point out of the mirror, which is all that the machines' server sees.
func linkMirror(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return replace(dirs.Mirror(name), func(link string) error { return os.Link(path, link) })
	})
}

// replace makes path what create makes, at no moment leaving it absent.
func replace(path string, create func(path string) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	next := path + ".next"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := create(next); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	// Renaming a hard link onto the same file does nothing, not even to the old name.
	return os.RemoveAll(next)
}

// printChecksums prints a line for each artifact in the mirror, "etcd 3.6.14
// <sha256 in hex>"; it builds what is missing.
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
			sum, err := checksum(dirs.Mirror(path))
			if err != nil {
				return err
			}
			fmt.Fprintln(out, name, version, sum)
		}
	}
	return nil
}

func checksum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}
