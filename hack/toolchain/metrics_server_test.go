package main

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/progress"
)

// metrics-server is at its path in the official image, and prints the version in the image's tag.
func TestMetricsServerPrintsItsVersion(t *testing.T) {
	require.NoError(t, metricsServer.ensure(".", progress.New(os.Stderr, "toolchain")))
	version, err := metricsServer.programs[0].expand(".", "v{version}")
	require.NoError(t, err)
	program := unpack(t, "registry.k8s.io/metrics-server/metrics-server@"+version) + metricsServer.images[0].entrypoint[0]
	out, err := exec.Command(program, "--version").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, version+"\n", string(out))
}
