// Package etcdsnapshottest makes files for tests that need a snapshot of etcd, but no etcd.
package etcdsnapshottest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/fnv"
)

// New returns a snapshot with a number of pages of 4096 bytes. Its database has no buckets, so only its size, its first
// page and its hash are right.
func New(pages int) []byte {
	const pageSize = 4096
	database := bytes.Repeat([]byte("page"), pages*pageSize/4)
	meta := binary.LittleEndian.AppendUint32(nil, 0xED0CDAED)
	for _, value := range []uint32{2, pageSize, 0} {
		meta = binary.LittleEndian.AppendUint32(meta, value)
	}
	for _, value := range []uint64{3, 0, 2, uint64(pages), 1} {
		meta = binary.LittleEndian.AppendUint64(meta, value)
	}
	checksum := fnv.New64a()
	_, _ = checksum.Write(meta) // never returns an error
	copy(database[16:], meta)
	binary.LittleEndian.PutUint64(database[16+len(meta):], checksum.Sum64())
	sum := sha256.Sum256(database)
	return append(database, sum[:]...)
}
