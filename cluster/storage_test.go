package cluster

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func storageClassesOf(t *testing.T, classes any) []StorageClass {
	t.Helper()
	object := valid(t)
	set(object, "storage.classes", classes)
	return NewPlan(decoded(t, object)).StorageClasses
}

func TestStorageClasses(t *testing.T) {
	yes, no := true, false
	assert.Equal(t, []StorageClass{{
		Name: "cinder", Default: true, FileSystem: "ext4", VolumeBindingMode: "WaitForFirstConsumer",
		AllowVolumeExpansion: &yes, ReclaimPolicy: "Delete",
	}}, storageClassesOf(t, nil), "the default class")

	// OpenStack-Helm requires a class with the name general.
	classes := storageClassesOf(t, []any{
		map[string]any{"name": "ssd", "type": "fast", "default": true, "aliases": []any{"general"}},
		map[string]any{
			"name": "archive", "zone": "az3", "fileSystem": "xfs", "volumeBindingMode": "Immediate",
			"allowVolumeExpansion": false, "reclaimPolicy": "Retain",
		},
	})
	require.Len(t, classes, 3)
	general := classes[0]
	general.Name, general.Default = "general", false
	assert.Equal(t, general, classes[1], "an alias has the same settings but is never the default class")
	assert.Equal(t, StorageClass{
		Name: "archive", Zone: "az3", FileSystem: "xfs", VolumeBindingMode: "Immediate", AllowVolumeExpansion: &no,
		ReclaimPolicy: "Retain",
	}, classes[2])
}

// OpenStack-Helm selects nodes by its own labels. Pools may set them.
func TestLabelsOfOpenStackHelm(t *testing.T) {
	object := valid(t)
	labels := map[string]any{"openstack-control-plane": "enabled", "openstack-compute-node": "enabled",
		"openvswitch": "enabled"}
	set(object, "pools.0.labels", labels)
	for _, m := range NewPlan(decoded(t, object)).WithRole(RoleWorker) {
		for key := range labels {
			assert.Equal(t, "enabled", m.Labels[key], key)
		}
	}
}
