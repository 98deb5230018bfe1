package k8s

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernetes-openstack/cluster"
)

// TestStorageClassesAndZones checks zones of storage classes. If Cinder's zones are Nova's zones, the zone of
// a class limits where its pods run. Otherwise the zone applies only to Cinder.
func TestStorageClassesAndZones(t *testing.T) {
	config := small(t)
	config.Storage.Classes = []cluster.StorageClass{{Name: "fast", Type: "ssd", Zone: "az1"}}
	for topology, allowed := range map[bool]any{
		true: []any{map[string]any{"matchLabelExpressions": []any{map[string]any{
			"key": "topology.cinder.csi.openstack.org/zone", "values": []any{"az1"},
		}}}},
		false: nil,
	} {
		config.Storage.Topology = topology
		plan := cluster.NewPlan(config)
		objects, err := storageClasses(plan).objects()
		require.NoError(t, err)
		require.Len(t, objects, 2)
		assert.Equal(t, allowed, objects[1]["allowedTopologies"])
		assert.Equal(t, map[string]any{"type": "ssd", "availability": "az1", "csi.storage.k8s.io/fstype": "ext4"},
			objects[1]["parameters"])

		driver, err := cinderCSI(plan).text()
		require.NoError(t, err)
		assert.Contains(t, driver, map[bool]string{true: "--with-topology=true", false: "--with-topology=false"}[topology])
	}
}

// TestCloudConfigIsOnlyOnControlPlanes checks that workers mount no credentials of OpenStack.
func TestCloudConfigIsOnlyOnControlPlanes(t *testing.T) {
	plan := cluster.NewPlan(small(t))
	mounted := 0
	for _, m := range []manifest{cloudControllerManager(plan), snapshots(plan), cinderCSI(plan)} {
		objects, err := m.objects()
		require.NoError(t, err)
		for _, o := range objects {
			volumes, _, _ := unstructured.NestedSlice(o, "spec", "template", "spec", "volumes")
			selector, _, _ := unstructured.NestedStringMap(o, "spec", "template", "spec", "nodeSelector")
			for _, v := range volumes {
				if name, _, _ := unstructured.NestedString(v.(map[string]any), "secret", "secretName"); name == "cloud-config" {
					mounted++
					assert.Equal(t, map[string]string{"node-role.kubernetes.io/control-plane": ""}, selector, o.name())
				}
			}
		}
	}
	assert.Equal(t, 2, mounted)
}

// TestAttachLimit checks that each node tells the scheduler how many volumes it can attach. Without a limit, pods wait
// forever on a node whose hypervisor refuses another disk.
func TestAttachLimit(t *testing.T) {
	for limit, want := range map[int]string{0: "20", 200: "200"} {
		config := small(t)
		if limit > 0 {
			config.Storage.AttachLimit = limit
		}
		objects, err := cinderCSI(cluster.NewPlan(config)).objects()
		require.NoError(t, err)
		settings, plugin := "", ""
		for _, o := range objects {
			if o["kind"] == "ConfigMap" {
				settings, _, _ = unstructured.NestedString(o, "data", "cloud.conf")
			}
			if o["kind"] == "DaemonSet" {
				containers, _, _ := unstructured.NestedSlice(o, "spec", "template", "spec", "containers")
				args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
				plugin = strings.Join(args, " ")
				restart, _, _ := unstructured.NestedString(o, "spec", "template", "metadata", "annotations",
					"kubernetes-openstack/attach-limit")
				assert.Equal(t, want, restart)
			}
		}
		assert.Equal(t, "[BlockStorage]\nnode-volume-attach-limit = "+want+"\n", settings)
		assert.Contains(t, plugin, "--cloud-config=/etc/csi-cinder/cloud.conf")
	}
}
