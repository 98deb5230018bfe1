package k8s

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
)

// TestImages checks that the images of both DNS providers together are all that the manifests name.
func TestImages(t *testing.T) {
	withVersion := regexp.MustCompile(`^\{\{printf "(.*)%s" \.Version \| yaml\}\}$`)
	var want, got []string
	files, err := fs.Glob(templates, "*.yaml.tmpl")
	require.NoError(t, err)
	for _, file := range files {
		text, err := fs.ReadFile(templates, file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if _, image, ok := strings.Cut(line, "image: "); ok {
				want = append(want, withVersion.ReplaceAllString(strings.TrimSpace(image), "${1}3.28.5"))
			}
		}
	}
	for _, provider := range []string{cluster.SkyDNS, cluster.CoreDNS} {
		config := small(t)
		config.DNS.Provider, config.Calico.Version, config.Monitoring.Enabled = provider, "3.28.5", true
		images, err := Images(cluster.NewPlan(config))
		require.NoError(t, err)
		assert.True(t, slices.IsSorted(images))
		got = append(got, images...)
	}
	slices.Sort(want)
	slices.Sort(got)
	assert.Equal(t, slices.Compact(want), slices.Compact(got))
	assert.Contains(t, got, "quay.io/calico/kube-controllers:v3.28.5")
}
