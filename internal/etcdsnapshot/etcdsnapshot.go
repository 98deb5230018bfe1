// Package etcdsnapshot verifies snapshots of etcd.
//
// `etcdctl snapshot save` writes etcd's database, a file of bbolt, and then the SHA-256 of the database. The command
// `etcdutl snapshot restore` of etcd 3.6 accepts a file if its size modulo 512 is the size of the hash, and if the hash
// is right. Verify has the same rule, and also requires that the file begins with a database.
package etcdsnapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// RestoredKey is the key of etcd with the name of the snapshot that the cluster was restored from.
const RestoredKey = "/kubernetes-openstack/restored"

// PossibleSize returns true if a snapshot can have this number of bytes.
func PossibleSize(bytes int64) bool { return bytes > sha256.Size && bytes%512 == sha256.Size }

// VerifyFile verifies a file like Verify.
func VerifyFile(path string) (sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	return Verify(f, info.Size())
}

// Verify reads a file of size bytes, and returns its SHA-256 in hex, as sha256sum prints it. It returns an error if the
// file is not a complete and unaltered snapshot.
func Verify(file io.ReaderAt, size int64) (sum string, err error) {
	database, err := databaseSize(io.NewSectionReader(file, 0, size))
	if err != nil {
		return "", err
	}
	if !PossibleSize(size) {
		return "", sizeError(size, database)
	}
	hash := sha256.New()
	content := io.NewSectionReader(file, 0, size)
	if _, err := io.CopyN(hash, content, size-sha256.Size); err != nil {
		return "", err
	}
	got := hash.Sum(nil)
	want, err := io.ReadAll(content)
	if err != nil {
		return "", err
	}
	switch {
	case bytes.Equal(got, want) && database > 0:
		_, _ = hash.Write(want) // never returns an error
		return fmt.Sprintf("%x", hash.Sum(nil)), nil
	case bytes.Equal(got, want) || database > 0 && database != size-sha256.Size:
		return "", sizeError(size, database)
	}
	return "", fmt.Errorf("altered: the SHA-256 of its database is %x, but must be %x, as at its end", got, want)
}

// sizeError returns the error for a file of size bytes whose size is wrong. Its database has a number of bytes, or 0 if
// the file does not begin with one.
func sizeError(size, database int64) error {
	switch want := database + sha256.Size; {
	case database == 0:
		return fmt.Errorf("not a snapshot of etcd: it has %d bytes, and does not begin with etcd's database", size)
	case size%512 == 0 && size >= database:
		return errors.New("without a SHA-256 at its end: it must be a file of `etcdctl snapshot save`, and not a copy of " +
			"etcd's database")
	case size < want:
		return fmt.Errorf("truncated: it has %d bytes, but must have %d", size, want)
	default:
		return fmt.Errorf("too long: it has %d bytes, but must have %d", size, want)
	}
}

// databaseSize returns the number of bytes of the database with which a file begins, or 0 if there is none. bbolt's
// first page is a header of 16 bytes and this structure, in the byte order of the machine.
func databaseSize(file io.Reader) (int64, error) {
	var page struct {
		_    [16]byte
		Meta struct {
			Magic, Version, PageSize, _ uint32
			_                           [3]uint64 // buckets and free pages
			Pages, _                    uint64
		}
		Checksum uint64 // FNV-1a of Meta
	}
	content := make([]byte, binary.Size(page))
	switch _, err := io.ReadFull(file, content); {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return 0, nil
	case err != nil:
		return 0, err
	}
	if _, err := binary.Decode(content, binary.LittleEndian, &page); err != nil {
		return 0, err
	}
	checksum := fnv.New64a()
	_, _ = checksum.Write(content[16 : len(content)-8]) // never returns an error
	if page.Meta.Magic != 0xED0CDAED || page.Checksum != checksum.Sum64() {
		return 0, nil
	}
	return int64(page.Meta.Pages) * int64(page.Meta.PageSize), nil
}
