package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMachineFolder checks that machineFolder finds an instance by name or ID, also while Nova creates others.
func TestMachineFolder(t *testing.T) {
	root := t.TempDir()
	for id, content := range map[string]string{
		"0a": `{"uuid": "0a", "name": "dev-etcd-0", "hostname": "dev-etcd-0"}`,
		"0b": `{"uuid": "0b", "name": "dev-etcd-01"}`,
		"0c": `{"uuid"`,
	} {
		path := filepath.Join(root, "var/lib/nova/instances", id, configDrive)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	for instance, id := range map[string]string{"dev-etcd-0": "0a", "dev-etcd-01": "0b", "0b": "0b"} {
		folder, err := machineFolder(root, instance)
		require.NoError(t, err)
		assert.Equal(t, "/var/lib/nova/instances/"+id, folder)
	}
	for _, instance := range []string{"0c", "dev-etcd", ""} {
		_, err := machineFolder(root, instance)
		assert.EqualError(t, err, fmt.Sprintf("no instance has the name or ID %q", instance))
	}
}
