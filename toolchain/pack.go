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

// pack puts folder into a tarball of its name beside it, and removes it. The tarball depends on nothing but the names
// and contents of the files, so that its checksum can be pinned: no times, no owners, one mode, and gzip that stores
// rather than compresses, as compressors change with Go's version.
func pack(folder string) (err error) {
	file, err := os.Create(folder + ".tar.gz")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	zip, err := gzip.NewWriterLevel(file, gzip.NoCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zip)
	add := func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(filepath.Dir(folder), path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: name, Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if entry.IsDir() {
			header.Typeflag, header.Name = tar.TypeDir, name+"/"
			return archive.WriteHeader(header)
		}
		return addFile(archive, header, path)
	}
	if err := filepath.WalkDir(folder, add); err != nil { // in lexical order
		return err
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		return err
	}
	return os.RemoveAll(folder)
}

func addFile(archive *tar.Writer, header *tar.Header, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}
