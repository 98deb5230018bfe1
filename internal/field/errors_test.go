package field

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestErrors(t *testing.T) {
	var e Errors
	e.Add("pools[0].count", "must be at least %d, not %d", 1, 0)
	assert.EqualError(t, e, "1 error:\n  pools[0].count: must be at least 1, not 0")
	e.Add("colour", "unknown key")
	assert.EqualError(t, e, "2 errors:\n  pools[0].count: must be at least 1, not 0\n  colour: unknown key")
}

func TestCovers(t *testing.T) {
	e := Errors{{Path: "pools[0]"}, {Path: "etcd"}}
	for path, want := range map[string]bool{
		"etcd": true, "etcd.count": true, "etcd[0]": true, "etcdctl": false,
		"pools": false, "pools[0].zones[1]": true, "pools[01]": false, "pools[1]": false,
	} {
		assert.Equal(t, want, e.Covers(path), path)
	}
}

func TestWithin(t *testing.T) {
	e := Errors{{Path: "image.id"}, {Path: "pools[0].name"}}
	for path, want := range map[string]bool{
		"image": true, "image.id": false, "imag": false, "pools[0]": true, "pools": false, "pools[0].name": false,
	} {
		assert.Equal(t, want, e.Within(path), path)
	}
}
