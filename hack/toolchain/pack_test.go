package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/files"
)

// The checksum must not depend on times, modes, the order of creation or the version of Go.
func TestArchiveIsReproducible(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"etcdctl", "etcd"} {
		write(t, filepath.Join(dir, parts, name), strings.Repeat(name, 100_000)) // more than one block of gzip
	}
	require.NoError(t, os.Chtimes(filepath.Join(dir, parts, "etcd"), time.Now(), time.Now().Add(-time.Hour)))

	a := archive{path: "releases/etcd-v0-linux.tar.gz", prefix: "etcd-v0-linux/"}
	require.NoError(t, a.write(dir, func(text string) (string, error) { return text, nil }))

	sum, err := files.SHA256(filepath.Join(dir, a.path))
	require.NoError(t, err)
	require.Equal(t, "e5f7d22839710d3b5fdbf6f4a4fd5a52fe0ee6e7cec7c2ffe23b7507ad5a339d", sum)
}
