package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// An archive is a tarball of the folder parts.
type archive struct {
	path    string // in the build's folder
	members string // what precedes the files' names in it: "bin/"
}

// write makes the tarball in dir. It depends on nothing but the names and contents of the files, so that
// its checksum can be pinned: no times, no owners, one mode, and gzip that stores rather than
// compresses, as compressors change with Go's version.
func (a archive) write(dir string, expand func(string) (string, error)) (err error) {
	name, err := expand(a.path)
	if err != nil {
		return err
	}
	members, err := expand(a.members)
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
	if err := tarball.WriteHeader(header(tar.TypeDir, members)); err != nil {
		return err
	}
	files, err := os.ReadDir(filepath.Join(dir, parts)) // in lexical order
	if err != nil {
		return err
	}
	for _, entry := range files {
		if err := addFile(tarball, members+entry.Name(), filepath.Join(dir, parts, entry.Name())); err != nil {
			return err
		}
	}
	return errors.Join(tarball.Close(), zip.Close())
}

// header is the tar header of a program, of its folder or of a link to it.
func header(kind byte, name string) *tar.Header {
	return &tar.Header{Typeflag: kind, Name: name, Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
}

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
