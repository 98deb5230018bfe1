//go:build e2e

package tests

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// keeper is the StatefulSet of testdata/storage.yaml, which has one pod. Tests check that the pod's data
// survive.
type keeper struct {
	*api
	written string // checksum of the written data, as sha256sum prints it
}

const keeperPod = "keeper-0"

// node returns the name of the node on which the pod runs.
func (k *keeper) node(t testing.TB) string {
	t.Helper()
	return k.waitForPod(t, keeperPod, "")
}

// waitForMove waits until the pod is ready on another node than this one, and checks that it has all written
// data.
func (k *keeper) waitForMove(t testing.TB, node string) {
	t.Helper()
	k.waitForPod(t, keeperPod, node)
	assert.Equal(t, k.written, k.sum(t, keeperPod))
}

// testStorage makes keeper write data, grows its volume and copies it. The volumes still exist at the end,
// because destroy has to find them.
func testStorage(t *testing.T, keeper *keeper, openstack cloud) {
	api := keeper.api
	step(t, "the cloud controller has initialized all nodes", func(t *testing.T) {
		nodes := api.kubectl(t, "get", "nodes", "--output",
			`jsonpath={range .items[*]}{.metadata.labels.node\.kubernetes\.io/instance-type}{" `+
				`"}{.metadata.labels.topology\.cinder\.csi\.openstack\.org/zone}{" "}{.spec.taints[*].key}{"\n"}{end}`)
		assert.Equal(t, 2, strings.Count(nodes, "worker nova"), nodes)
		assert.Equal(t, 2, strings.Count(nodes, "control-plane nova"), nodes)
		assert.NotContains(t, nodes, "uninitialized")
	})
	step(t, "a claim is bound, and its pod writes data", func(t *testing.T) {
		begin := time.Now()
		api.apply(t, "storage.yaml")
		api.waitForPod(t, keeperPod, "")
		t.Logf("the claim was bound, and its volume mounted and written, after %.0f s",
			time.Since(begin).Seconds())
		keeper.written = api.sum(t, keeperPod)
		volume := openstack.volumeOf(t, api, "data-keeper-0")
		assert.Equal(t, "nova", volume.AvailabilityZone)
		assert.Equal(t, "e2e", volume.Metadata["cinder.csi.openstack.org/cluster"])
		assert.Equal(t, "data-keeper-0", volume.Metadata["csi.storage.k8s.io/pvc/name"])
		assert.Empty(t, api.field(t, ".status.loadBalancer.ingress", "service", "keeper"))
	})
	step(t, "a volume in use is expanded", func(t *testing.T) {
		pod := api.field(t, ".metadata.uid", "pod", keeperPod)
		begin := time.Now()
		api.kubectl(t, "patch", "persistentvolumeclaim", "data-keeper-0", "--patch",
			`{"spec": {"resources": {"requests": {"storage": "2Gi"}}}}`)
		eventually(t, 3*time.Minute, func() error {
			size, err := api.try("exec", keeperPod, "--", "sh", "-c", "df -m /data | tail -n 1 | awk '{print $2}'")
			if mib, bad := strconv.Atoi(strings.TrimSpace(size)); err == nil && (bad != nil || mib < 1900) {
				err = fmt.Errorf("the file system has %s MiB", size)
			}
			return err
		})
		t.Logf("the file system grew %.0f s after the claim", time.Since(begin).Seconds())
		assert.Equal(t, pod, api.field(t, ".metadata.uid", "pod", keeperPod), "the pod is not replaced")
		assert.Equal(t, 2, openstack.volumeOf(t, api, "data-keeper-0").Size)
		assert.Equal(t, keeper.written, api.sum(t, keeperPod))
	})
	step(t, "a snapshot of a volume in use is restored into a new claim", func(t *testing.T) {
		begin := time.Now()
		api.apply(t, "snapshot.yaml")
		api.await(t, "wait", "--for=jsonpath={.status.readyToUse}=true", "volumesnapshot/keeper")
		ready := time.Since(begin)
		api.kubectl(t, "exec", keeperPod, "--", "sh", "-c", "echo new >/data/after-snapshot && sync")
		api.apply(t, "restored.yaml")
		api.waitForPod(t, "restored", "")
		t.Logf("the snapshot was ready after %.0f s, and restored and mounted %.0f s later", ready.Seconds(),
			(time.Since(begin) - ready).Seconds())
		assert.Equal(t, keeper.written, api.sum(t, "restored"))
		assert.NotContains(t, api.kubectl(t, "exec", "restored", "--", "ls", "/data"), "after-snapshot")
		api.kubectl(t, "delete", "pod", "restored")
		eventually(t, 2*time.Minute, func() error { // otherwise it may still detach while another suite kills nova-compute
			if volume := openstack.volumeOf(t, api, "restored"); volume.Status != "available" {
				return fmt.Errorf("the volume of restored is %s", volume.Status)
			}
			return nil
		})
	})
}

// sum verifies the checksum of keeper's data in a pod, and returns it.
func (a *api) sum(t testing.TB, pod string) string {
	t.Helper()
	return a.kubectl(t, "exec", pod, "--", "sh", "-c", "cd /data && sha256sum -c sum && cat sum")
}

// field returns a field of an object. path is a JSONPath.
func (a *api) field(t testing.TB, path string, object ...string) string {
	t.Helper()
	return a.kubectl(t, append([]string{"get", "--output", "jsonpath={" + path + "}"}, object...)...)
}

// waitForPod waits until a pod is ready on another node than notOn, and returns the node's name.
func (a *api) waitForPod(t testing.TB, name, notOn string) (node string) {
	t.Helper()
	eventually(t, 5*time.Minute, func() error {
		pod, err := a.client.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		node = pod.Spec.NodeName
		ready := slices.ContainsFunc(pod.Status.Conditions, func(condition corev1.PodCondition) bool {
			return condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue
		})
		if !ready || node == notOn || pod.DeletionTimestamp != nil {
			return fmt.Errorf("%s is %s on %q: %v", name, pod.Status.Phase, node, pod.Status.Conditions)
		}
		return nil
	})
	return node
}

// volumeOf returns the Cinder volume of a claim.
func (c cloud) volumeOf(t testing.TB, api *api, claim string) *volumes.Volume {
	t.Helper()
	handle := api.field(t, ".spec.csi.volumeHandle", "persistentvolume",
		api.field(t, ".spec.volumeName", "persistentvolumeclaim", claim))
	volume, err := volumes.Get(t.Context(), c.clients["volume"], handle).Extract()
	require.NoError(t, err)
	return volume
}

// credentials returns the application credentials of the test's user, by name. It uses its own context, because
// cleanups call it after t's context has ended.
func (c cloud) credentials(t testing.TB) map[string]applicationcredentials.ApplicationCredential {
	t.Helper()
	pages, err := applicationcredentials.List(c.clients["identity"], c.user, nil).AllPages(context.Background())
	require.NoError(t, err)
	list, err := applicationcredentials.ExtractApplicationCredentials(pages)
	require.NoError(t, err)
	byName := map[string]applicationcredentials.ApplicationCredential{}
	for _, credential := range list {
		byName[credential.Name] = credential
	}
	return byName
}
