package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/progress"
)

// A release is complete even if its checksums are not pinned yet. The error lists the checksums to pin.
func TestReleaseContainsAllProgramsAndChecksums(t *testing.T) {
	log := progress.New(os.Stderr, "toolchain")
	folder := filepath.Join(t.TempDir(), "dist", cluster.ProgramsVersion)
	if err := makeRelease(cluster.ProgramsVersion, folder, ".", log); err != nil {
		require.ErrorContains(t, err, "cluster/artifacts.go: must pin the checksums of the release in "+folder+":\n")
		t.Log(err)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = folder
	out, err := check.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "etcd-backup: OK\netcd-join: OK\nkeystone-webhook: OK\nmachine-metrics: OK\nnode-approver: OK\n"+
		"tenant-sync: OK\n", string(out))

	require.ErrorContains(t, makeRelease("0.0.1", folder, ".", log), "VERSION: must be "+cluster.ProgramsVersion)
}
