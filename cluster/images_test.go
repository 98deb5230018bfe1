package cluster

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNodeImages checks that the images are all those that the machines' files name.
func TestNodeImages(t *testing.T) {
	named := []string{PauseImage}
	files := os.DirFS("../templates")
	require.NoError(t, fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(path, "testdata/") || strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := fs.ReadFile(files, path)
		for _, match := range regexp.MustCompile(`(?m)^ *(?:- )?image: (\S+)$`).FindAllSubmatch(text, -1) {
			named = append(named, string(match[1]))
		}
		return err
	}))
	script, err := fs.ReadFile(files, "calico-node/usr/local/sbin/calico-image")
	require.NoError(t, err)
	require.Contains(t, string(script), "image=quay.io/calico/$1:v$version\n")
	for _, match := range regexp.MustCompile(`(?m)^with_image (\S+) `).FindAllSubmatch(script, -1) {
		named = append(named, "quay.io/calico/"+string(match[1])+":v3.28.5")
	}

	config := Defaults("test")
	config.Calico.Version, config.Tenancy.Enabled = "3.28.5", true
	assert.ElementsMatch(t, named, config.NodeImages())
	config.Tenancy.Enabled = false
	assert.Len(t, config.NodeImages(), 3)
}
