package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/progress"
)

// Prometheus and Alertmanager are at their paths in the official images, and print the versions in the images' tags.
func TestMonitoringPrintsItsVersions(t *testing.T) {
	for _, b := range []build{prometheus, alertmanager} {
		require.NoError(t, b.ensure(".", progress.New(os.Stderr, "toolchain")))
		version, err := b.programs[0].expand(".", "{version}")
		require.NoError(t, err)
		repository, _, _ := strings.Cut(b.images[0].name, ":")
		out, err := exec.Command(unpack(t, repository+"@v"+version)+b.images[0].entrypoint[0], "--version").Output()
		require.NoError(t, err)
		require.Contains(t, string(out), b.name+", version "+version+" ")
	}
}
