//go:build e2e

package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testStorage has a program keep its data whatever becomes of its nodes. What it makes is there when it ends: destroy has to
// find it.
func testStorage(t *testing.T, e *engine, api *api, openstack cloud) {
	const keeper = "keeper-0"
	sum := func(pod string) string {
		return api.kubectl(t, "exec", pod, "--", "sh", "-c", "cd /data && sha256sum -c sum >&2 && cat sum")
	}
	ready := func(pod string, timeout time.Duration) {
		t.Helper()
		api.kubectl(t, "wait", "--for=condition=Ready", "pod/"+pod, fmt.Sprintf("--timeout=%s", timeout))
	}
	field := func(path string, object ...string) string {
		return api.kubectl(t, append([]string{"get", "--output", "jsonpath={" + path + "}"}, object...)...)
	}
	nodeOf := func(pod string) string { return field(".spec.nodeName", "pod", pod) }
	volumeOf := func(claim string) *volumes.Volume {
		handle := field(".spec.csi.volumeHandle", "persistentvolume", field(".spec.volumeName", "persistentvolumeclaim", claim))
		volume, err := volumes.Get(t.Context(), openstack.clients["volume"], handle).Extract()
		require.NoError(t, err)
		return volume
	}
	var written string

	step(t, "nodes are known to OpenStack", func(t *testing.T) {
		nodes := api.kubectl(t, "get", "nodes", "--output", `jsonpath={range .items[*]}{.metadata.labels.node\.kubernetes\.io/instance-type}{" "}{.metadata.labels.topology\.cinder\.csi\.openstack\.org/zone}{" "}{.spec.taints[*].key}{"\n"}{end}`)
		assert.Equal(t, 2, strings.Count(nodes, "worker nova"), nodes)
		assert.Equal(t, 2, strings.Count(nodes, "control-plane nova"), nodes)
		assert.NotContains(t, nodes, "uninitialized")
	})
	step(t, "a claim binds, and its pod writes", func(t *testing.T) {
		begin := time.Now()
		api.apply(t, "storage.yaml")
		eventually(t, time.Minute, func() error {
			_, err := e.shell(`exec kubectl --kubeconfig "$1" get pod keeper-0`, api.kubeconfig).Output()
			return err
		})
		ready(keeper, 3*time.Minute)
		t.Logf("its claim was bound, its volume mounted and written %.0f s after it was asked for", time.Since(begin).Seconds())
		written = sum(keeper)
		volume := volumeOf("data-keeper-0")
		assert.Equal(t, "nova", volume.AvailabilityZone)
		assert.Equal(t, "e2e", volume.Metadata["cinder.csi.openstack.org/cluster"])
		assert.Equal(t, "data-keeper-0", volume.Metadata["csi.storage.k8s.io/pvc/name"])
		assert.Empty(t, field(".status.loadBalancer.ingress", "service", "keeper"))
	})
	step(t, "a drain moves the pod, and it reads the same bytes", func(t *testing.T) {
		node := nodeOf(keeper)
		begin := time.Now()
		api.kubectl(t, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s")
		eventually(t, time.Minute, func() error {
			if now, err := e.shell(`exec kubectl --kubeconfig "$1" get pod keeper-0 --output 'jsonpath={.spec.nodeName}'`, api.kubeconfig).Output(); err != nil || string(now) == node {
				return fmt.Errorf("it is on %q: %w", now, err)
			}
			return nil
		})
		ready(keeper, 3*time.Minute)
		t.Logf("ready on the other node %.0f s after the drain began", time.Since(begin).Seconds())
		api.kubectl(t, "uncordon", node)
		assert.NotEqual(t, node, nodeOf(keeper))
		assert.Equal(t, written, sum(keeper))
	})
	step(t, "a volume grows under its pod", func(t *testing.T) {
		pod := field(".metadata.uid", "pod", keeper)
		begin := time.Now()
		api.kubectl(t, "patch", "persistentvolumeclaim", "data-keeper-0", "--patch", `{"spec": {"resources": {"requests": {"storage": "2Gi"}}}}`)
		eventually(t, 3*time.Minute, func() error {
			if size := api.kubectl(t, "exec", keeper, "--", "sh", "-c", "df -m /data | tail -n 1 | awk '{print $2}'"); len(strings.TrimSpace(size)) < 4 || size < "1900" {
				return fmt.Errorf("its file system has %s MiB", size)
			}
			return nil
		})
		t.Logf("%.0f s from the claim to the file system", time.Since(begin).Seconds())
		assert.Equal(t, pod, field(".metadata.uid", "pod", keeper), "it is the same pod")
		assert.Equal(t, 2, volumeOf("data-keeper-0").Size)
		assert.Equal(t, written, sum(keeper))
	})
	step(t, "a snapshot of a volume in use is restored into a new claim", func(t *testing.T) {
		begin := time.Now()
		api.apply(t, "snapshot.yaml")
		api.kubectl(t, "wait", "--for=jsonpath={.status.readyToUse}=true", "volumesnapshot/keeper", "--timeout=120s")
		made := time.Since(begin)
		api.kubectl(t, "exec", keeper, "--", "sh", "-c", "echo later >/data/later && sync")
		api.apply(t, "restored.yaml")
		ready("restored", 3*time.Minute)
		t.Logf("made in %.0f s, restored and mounted %.0f s later", made.Seconds(), (time.Since(begin) - made).Seconds())
		assert.Equal(t, written, sum("restored"))
		assert.NotContains(t, api.kubectl(t, "exec", "restored", "--", "ls", "/data"), "later")
		api.kubectl(t, "delete", "pod", "restored")
	})
	step(t, "a StatefulSet survives a hard stop of its node", func(t *testing.T) {
		node := nodeOf(keeper)
		begin := time.Now()
		_ = e.ssh(node, "systemctl poweroff --force --force").Run() // as without power: nothing is closed or unmounted
		require.NoError(t, servers.WaitForStatus(t.Context(), openstack.clients["compute"], openstack.server(t, node), "SHUTOFF"))
		eventually(t, 3*time.Minute, func() error {
			if taints := field(".spec.taints[*].key", "node", node); !strings.Contains(taints, "node.cloudprovider.kubernetes.io/shutdown") {
				return fmt.Errorf("its taints are %s", taints)
			}
			return nil
		})
		known := time.Since(begin)
		// Kubernetes does not take a pod for ended on a node that may only be unreachable. Who sees in Nova that the machine
		// is off says so.
		api.kubectl(t, "taint", "node", node, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
		eventually(t, 5*time.Minute, func() error {
			out, err := e.shell(`exec kubectl --kubeconfig "$1" get pod keeper-0 --output 'jsonpath={.spec.nodeName} {.status.conditions[?(@.type=="Ready")].status}'`, api.kubeconfig).Output()
			if where, state, _ := strings.Cut(string(out), " "); err == nil && (where == node || state != "True") {
				err = fmt.Errorf("it is on %q: Ready is %q", where, state)
			}
			return err
		})
		all := time.Since(begin)
		t.Logf("OpenStack's controller knew of it after %.0f s; %.0f s after it was said that the machine is off its pod ran on the other one",
			known.Seconds(), (all - known).Seconds())
		assert.Equal(t, written, sum(keeper))
		openstack.start(t, node)
		e.waitForMachine(t, node)
		api.kubectl(t, "taint", "node", node, "node.kubernetes.io/out-of-service-")
		api.waitForNodes(t, 4, 3*time.Minute)
		eventually(t, 2*time.Minute, func() error {
			if taints := field(".spec.taints[*].key", "node", node); strings.Contains(taints, "shutdown") {
				return fmt.Errorf("its taints are %s", taints)
			}
			return nil
		})
	})
	step(t, "one change of the configuration rotates the credential, and has volumes in zones that Nova has not", func(t *testing.T) {
		before := openstack.credentials(t)
		require.Len(t, before, 1)
		assert.Equal(t, "e2e-1", before[0].Name)
		var roles []string
		for _, role := range before[0].Roles {
			roles = append(roles, role.Name)
		}
		assert.ElementsMatch(t, []string{"member", "reader"}, roles)
		assert.False(t, before[0].Unrestricted)
		e.configure(t, func(text string) string { return patched(t, "rotated.yaml")(replacedWorkers(t)(text)) })
		e.must("up", "--yes", "--skip-preview")
		after := openstack.credentials(t)
		require.Len(t, after, 1)
		assert.Equal(t, "e2e-2", after[0].Name)

		api.apply(t, "archive.yaml")
		ready("archive", 3*time.Minute)
		assert.Equal(t, "archive", volumeOf("archive").AvailabilityZone)
		assert.Equal(t, written, sum(keeper))
		e.must("preview", "--expect-no-changes")
	})
	step(t, "the driver is sane, by the CSI community's own test", func(t *testing.T) {
		api.apply(t, "sanity.yaml")
		api.kubectl(t, "wait", "--namespace=kube-system", "--for=condition=Ready", "pod/sanity", "--timeout=60s")
		skip := strings.Join([]string{
			"should fail when an invalid starting_token is passed",    // Cinder's API takes any for the beginning
			"absence of deleted ones in the volume list",              // it counts on nobody else's volumes, and on none that is only going
			"should work if node-expand is called after node-publish", // ext4 grows under its mount where the host has CAP_SYS_RESOURCE
		}, "|")
		out := e.on(t, "e2e-control-plane-0", `
			curl -sSf --output /run/csi-sanity http://172.31.250.1/devcloud.test/csi-sanity && chmod +x /run/csi-sanity
			cd /var/lib/kubelet/csi-sanity && /run/csi-sanity --endpoint=$PWD/csi.sock --target=$PWD/target --staging=$PWD/staging \
				--ginkgo.no-color --ginkgo.succinct --ginkgo.skip='`+skip+`' 2>&1 | tail -n 100`)
		t.Log("\n" + out)
		assert.Contains(t, out, "SUCCESS!")
		api.kubectl(t, "delete", "pod", "sanity", "--namespace=kube-system")
	})
}

// credentials are the project's application credentials, of the user whom the test is.
func (c cloud) credentials(t testing.TB) []applicationcredentials.ApplicationCredential {
	t.Helper()
	pages, err := applicationcredentials.List(c.clients["identity"], c.user, nil).AllPages(t.Context())
	require.NoError(t, err)
	list, err := applicationcredentials.ExtractApplicationCredentials(pages)
	require.NoError(t, err)
	return list
}
