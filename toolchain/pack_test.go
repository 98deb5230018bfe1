package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The checksum is a constant: it must not depend on times, modes, the order of creation or Go's version.
func TestPackIsReproducible(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "etcd-v0-linux")
	require.NoError(t, os.Mkdir(folder, 0o700))
	for _, name := range []string{"etcdctl", "etcd"} {
		content := strings.Repeat(name, 100_000) // more than one block of gzip's
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600))
	}
	require.NoError(t, os.Chtimes(filepath.Join(folder, "etcd"), time.Now(), time.Now().Add(-time.Hour)))

	require.NoError(t, pack(folder))

	require.NoDirExists(t, folder)
	sum, err := checksum(folder + ".tar.gz")
	require.NoError(t, err)
	require.Equal(t, "e5f7d22839710d3b5fdbf6f4a4fd5a52fe0ee6e7cec7c2ffe23b7507ad5a339d", sum)
}
