package etcdsnapshot

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/etcdsnapshot/etcdsnapshottest"
)

func TestVerify(t *testing.T) {
	intact := etcdsnapshottest.New(5)
	size := len(intact)
	database := intact[:size-sha256.Size]
	text := bytes.Repeat([]byte("text\n"), 1000)
	const truncated, altered, other = "truncated: it has %d bytes, but must have 20512",
		"altered: the SHA-256 of its database is ", "not a snapshot of etcd: it has %d bytes, and does not begin with etcd's"
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":                            {nil, fmt.Sprintf(other, 0)},
		"only a part of the header":        {intact[:40], fmt.Sprintf(other, 40)},
		"text":                             {text, fmt.Sprintf(other, 5000)},
		"text of a possible size":          {text[:1024+sha256.Size], altered},
		"text with a hash":                 {hashed(text[:1024]), fmt.Sprintf(other, 1056)},
		"only a hash":                      {hashed(nil), fmt.Sprintf(other, 32)},
		"a copy of the database":           {database, "without a SHA-256 at its end"},
		"a copy of a growing database":     {append(bytes.Clone(database), make([]byte, 4096)...), "without a SHA-256"},
		"truncated in the first page":      {intact[:100], fmt.Sprintf(truncated, 100)},
		"truncated after the first page":   {intact[:4096], fmt.Sprintf(truncated, 4096)},
		"truncated to a possible size":     {intact[:8192+sha256.Size], fmt.Sprintf(truncated, 8224)},
		"truncated in the last page":       {intact[:size-sha256.Size-1], fmt.Sprintf(truncated, size-33)},
		"truncated in the hash":            {intact[:size-1], fmt.Sprintf(truncated, size-1)},
		"truncated, with the right hash":   {hashed(database[:8192]), ""}, // the same as `etcdutl snapshot restore`
		"one byte too long":                {append(bytes.Clone(intact), 0), "too long: it has 20513 bytes, but must"},
		"too long, but of a possible size": {append(bytes.Clone(intact), make([]byte, 512)...), "too long: it has 21024"},
		"flipped in the magic number":      {flipped(intact, 16), altered},
		"flipped in the size":              {flipped(intact, 57), altered},
		"flipped in the checksum":          {flipped(intact, 72), altered},
		"flipped in the first page":        {flipped(intact, 4095), altered},
		"flipped in the middle":            {flipped(intact, size/2), altered},
		"flipped in the last page":         {flipped(intact, size-sha256.Size-1), altered},
		"flipped in the hash":              {flipped(intact, size-1), altered},
		"intact":                           {intact, ""},
	} {
		t.Run(name, func(t *testing.T) {
			sum, err := Verify(bytes.NewReader(test.content), int64(len(test.content)))
			if test.want == "" {
				require.NoError(t, err)
				assert.Equal(t, fmt.Sprintf("%x", sha256.Sum256(test.content)), sum)
				return
			}
			require.ErrorContains(t, err, test.want)
			assert.Empty(t, sum)
		})
	}
}

// Each cut and each flipped byte is an error.
func TestVerifyRefusesAllDamage(t *testing.T) {
	intact := etcdsnapshottest.New(2)
	for i := range intact {
		_, err := Verify(bytes.NewReader(intact[:i]), int64(i))
		require.Error(t, err, "cut at %d", i)
		damaged := flipped(intact, i)
		_, err = Verify(bytes.NewReader(damaged), int64(len(damaged)))
		require.Error(t, err, "flipped at %d", i)
	}
}

func TestVerifyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot.db")
	_, err := VerifyFile(file)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(file, etcdsnapshottest.New(2), 0o600))
	sum, err := VerifyFile(file)
	require.NoError(t, err)
	assert.Len(t, sum, 64)
}

func hashed(content []byte) []byte {
	sum := sha256.Sum256(content)
	return append(bytes.Clone(content), sum[:]...)
}

func flipped(content []byte, at int) []byte {
	out := bytes.Clone(content)
	out[at] ^= 1
	return out
}
