package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// archive describes a .tar.gz with the files of the folder parts.
type archive struct {
	path   string // in the build's folder
	prefix string // of the files' names in the archive, such as "bin/"
}

// write writes the archive below dir. Its bytes depend only on the names and contents of the files, so its checksum can
// be pinned. The archive contains no times and no owners, and all files have the same mode. gzip stores the files
// without compression, because the output of a compressor changes with the version of Go.
func (a archive) write(dir string, expand func(string) (string, error)) (err error) {
	name, err := expand(a.path)
	if err != nil {
		return err
	}
	prefix, err := expand(a.prefix)
	if err != nil {
		return err
	}
	target := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	file, err := os.Create(target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	zip, err := gzip.NewWriterLevel(file, gzip.NoCompression)
	if err != nil {
		return err
	}
	tarball := tar.NewWriter(zip)
	if err := tarball.WriteHeader(header(tar.TypeDir, prefix)); err != nil {
		return err
	}
	files, err := os.ReadDir(filepath.Join(dir, parts)) // in lexical order
	if err != nil {
		return err
	}
	for _, entry := range files {
		if err := addFile(tarball, prefix+entry.Name(), filepath.Join(dir, parts, entry.Name())); err != nil {
			return err
		}
	}
	return errors.Join(tarball.Close(), zip.Close())
}

// header returns the tar header of a program, of its folder or of a link to it.
func header(kind byte, name string) *tar.Header {
	return &tar.Header{Typeflag: kind, Name: name, Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
}

// addFile adds the file at path to the tarball, under this name.
func addFile(tarball *tar.Writer, name, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	h := header(tar.TypeReg, name)
	h.Size = info.Size()
	if err := tarball.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(tarball, file)
	return err
}

// addTree adds the folders and files below root to the tarball, under their paths below root.
func addTree(tarball *tar.Writer, root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return tarball.WriteHeader(header(tar.TypeDir, name+"/"))
		}
		return addFile(tarball, name, path)
	})
}
