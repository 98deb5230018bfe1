package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// record returns a record of etcd's log with size bytes and its padding.
func record(kind byte, size int) []byte {
	padding := (8 - size%8) % 8
	frame := uint64(size)
	if padding > 0 {
		frame |= uint64(0x80|padding) << 56
	}
	out := binary.LittleEndian.AppendUint64(nil, frame)
	body := make([]byte, size+padding)
	body[0], body[1] = 0x08, kind
	return append(out, body...)
}

func TestHasData(t *testing.T) {
	created := bytes.Join([][]byte{record(4, 4), record(1, 25), record(5, 13)}, nil) // crc, metadata, snapshot
	zeros := make([]byte, 100)
	for name, test := range map[string]struct {
		files map[string][]byte
		want  bool
	}{
		"no folder":                  {nil, false},
		"another file":               {map[string][]byte{"0.tmp": record(2, 10)}, false},
		"killed before the first":    {map[string][]byte{firstSegment: append(created, zeros...)}, false},
		"without allocation":         {map[string][]byte{firstSegment: created}, false},
		"an entry":                   {map[string][]byte{firstSegment: append(created, record(2, 40)...)}, true},
		"a vote":                     {map[string][]byte{firstSegment: append(created, record(3, 8)...)}, true},
		"zeros":                      {map[string][]byte{firstSegment: zeros}, true},
		"empty":                      {map[string][]byte{firstSegment: {}}, true},
		"no snapshot record":         {map[string][]byte{firstSegment: append(record(4, 4), record(1, 25)...)}, true},
		"a cut record":               {map[string][]byte{firstSegment: append(created, record(5, 80)[:30]...)}, true},
		"damaged":                    {map[string][]byte{firstSegment: bytes.Repeat([]byte{7}, 64)}, true},
		"the first segment is older": {map[string][]byte{"0000000000000002-0000000000000f00.wal": zeros}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range test.files {
				path := filepath.Join(dir, "member", "wal", file)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
				require.NoError(t, os.WriteFile(path, content, 0o600))
			}
			found, err := hasData(dir)
			require.NoError(t, err)
			assert.Equal(t, test.want, found)
		})
	}
}

func TestMemberID(t *testing.T) {
	// type 1, crc 5, data of 13 bytes: fields 1 and 2
	metadata := []byte{8, 1, 16, 5, 26, 13, 8, 0x9a, 0xe5, 0xc5, 0xb8, 0xe5, 0x92, 0xc3, 0xcf, 0x8e, 1, 16, 7}
	metadata[5] = byte(len(metadata) - 6)
	frame := binary.LittleEndian.AppendUint64(nil, uint64(len(metadata))|0x85<<56)
	log := append(append(record(4, 4), frame...), append(metadata, 0, 0, 0, 0, 0)...)
	id, found, err := readLog(bufio.NewReader(bytes.NewReader(append(log, record(3, 8)...))))
	require.NoError(t, err)
	assert.True(t, found)
	want, _ := binary.Uvarint(metadata[7:17])
	assert.Equal(t, want, id)

	id, err = memberID(t.TempDir())
	require.NoError(t, err)
	assert.Zero(t, id)
}

// A log that cannot be read is an error, and never "no data".
func TestHasDataReportsErrors(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "member"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "member", "wal"), nil, 0o600))
	_, err := hasData(dir)
	require.Error(t, err)
}

func FuzzReadLog(f *testing.F) {
	f.Add(record(4, 4))
	f.Add(append(record(1, 25), record(2, 3)...))
	f.Fuzz(func(t *testing.T, content []byte) {
		_, _, err := readLog(bufio.NewReader(bytes.NewReader(content)))
		require.NoError(t, err)
	})
}

// Incomplete data is kept once, and no longer in etcd's way.
func TestSetAside(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	require.NoError(t, setAside(data))
	snap := filepath.Join(data, "member", "snap")
	for _, content := range []string{"small", "the largest", "second"} {
		require.NoError(t, os.MkdirAll(snap, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(snap, "db"), []byte(content), 0o600))
		require.NoError(t, setAside(data))
		assert.NoDirExists(t, snap)
	}
	require.NoError(t, os.MkdirAll(snap, 0o700))
	require.NoError(t, setAside(data))
	kept, err := os.ReadFile(filepath.Join(data+"-incomplete", "snap", "db"))
	require.NoError(t, err)
	assert.Equal(t, "the largest", string(kept))
}
