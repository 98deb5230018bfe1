package program

import (
	"crypto/md5" // Swift's checksum of an object
	"fmt"
	"io"
	"os"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/internal/etcdsnapshot"
)

// maxObject is the maximum number of bytes of a Swift object without segments. The OpenStack provider creates none.
const maxObject = 5 << 30

// readSnapshot verifies the local file that etcd.restore names. It returns nil if it names an object or nothing.
func readSnapshot(etcd cluster.Etcd) (*infra.Snapshot, error) {
	path := etcd.RestoreFile()
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: correct the path, or set etcd.restore to the name of the object", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxObject {
		return nil, fmt.Errorf("%s must have at most %d bytes, but has %d: run `swift upload --use-slo --segment-size`, "+
			"and set etcd.restore to the name of the object", path, maxObject, info.Size())
	}
	sum, err := etcdsnapshot.Verify(file, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	hash := md5.New()
	if _, err := io.Copy(hash, file); err != nil {
		return nil, err
	}
	return &infra.Snapshot{Path: path, MD5: fmt.Sprintf("%x", hash.Sum(nil)), Name: etcd.UploadName(sum)}, nil
}
