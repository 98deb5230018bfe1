//go:build e2e

package tests

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/turns"
)

// TestE2EFailures checks that `up` fails within bootstrapTimeout if a machine cannot download, verify or
// store a file. The error names the machine, the step and the cause. A corrected configuration continues from
// there, to a small cluster in its own network and project. The test checks this cluster's volumes, because
// the cluster of TestE2ELife is too busy or has other zones. A destroy deletes everything.
func TestE2EFailures(t *testing.T) {
	t.Parallel()
	skipUnchanged(t)
	small := strings.NewReplacer("  etcd:\n", "  etcd:\n      count: 1\n", "count: 2", "count: 1",
		"    devcloud: true\n", "    devcloud: true\n    bootstrapTimeout: 90s\n").Replace
	config := func(edits ...string) func(string) string {
		tenant, zones := patched(t, "tenant.yaml"), patched(t, "zones.yaml")
		return func(text string) string { return zones(tenant(strings.NewReplacer(edits...).Replace(small(text)))) }
	}
	const unused = "172.31.250.9"    // Neutron never allocates it
	wrong := strings.Repeat("f", 64) // not 0: YAML would read a number
	clouds := ownProject(t, "failures")
	openstack := connect(t, clouds)
	before := openstack.inventory(t)
	e := newEngine(t, "failures", cloudEnv+"; export OS_CLIENT_CONFIG_FILE='"+clouds+
		"'", config("mirror: http://172.31.250.1", "mirror: http://"+unused,
		"      flavor: etcd", "      flavor: etcd\n      version: 3.6.99", "        etcd: ", "        etcd: "+wrong+" # ",
		"        kubelet: ", "        kubelet: "+wrong+" # ", // only for the nodes
		"flavor: control-plane", "flavor: tiny",
	))
	t.Cleanup(func() {
		defer turns.Shared(t)()
		if t.Failed() {
			e.keepLogs()
		}
		out, err := e.try("destroy", "--yes", "--skip-preview")
		assert.NoError(t, err, out)
		assert.Empty(t, openstack.createdSince(t, before))
	})

	step(t, "up reports an unreachable mirror", func(t *testing.T) {
		out, err := e.try("up", "--yes", "--skip-preview")
		require.Error(t, err)
		assert.Regexp(t, `failures-etcd-0 is not ready after 1m30s: .*artifacts`, out)
		assert.Contains(t, out, "etcd: cannot download http://"+unused+"/github.com/etcd-io/")
	})
	step(t, "up reports a missing file, a wrong sha256 and a full disk", func(t *testing.T) {
		e.on(t, "failures-control-plane-0", "dd if=/dev/zero of=/full bs=1M 2>&1 || true")
		openNamespace(t, "").forward(t, unused+":80", "172.31.250.1:80")
		out, err := e.try("up", "--yes", "--skip-preview")
		require.Error(t, err)
		assert.Regexp(t, `failures-etcd-0 is not ready after 1m30s: .*artifacts`, out)
		assert.Regexp(t, `etcd: cannot download http://`+unused+`/\S*etcd-v3.6.99-linux-amd64.tar.gz to \S*: .*404`, out)
		assert.Regexp(t, `failures-worker-0 is not ready after 1m30s: .*artifacts`, out)
		assert.Regexp(t, `kubelet: http://`+unused+`/\S*/kubelet has sha256 [0-9a-f]{64}, expected `+wrong, out)
		assert.Regexp(t, `failures-control-plane-0 is not ready after 1m30s: .*artifacts`, out)
		assert.Contains(t, out, "no space left on device: /var/cache/artifacts")
	})
	e.configure(t, config("bootstrapTimeout: 90s", "bootstrapTimeout: 40m"))
	var api *api
	step(t, "up with a correct configuration creates the cluster and a volume", func(t *testing.T) {
		e.must("up", "--yes", "--skip-preview")
		assert.Regexp(t, `https://172\.31\.250\.\d+:6443`, e.must("stack", "output", "endpoints"))
		api = e.api(t)
		waiting, err := api.notReady(2)
		require.NoError(t, err)
		require.Empty(t, waiting)
		api.apply(t, "archive.yaml")
		api.waitForPod(t, "archive", "")
		assert.Equal(t, "archive", openstack.volumeOf(t, api, "archive").AvailabilityZone)
	})
	step(t, "the CSI driver passes csi-sanity", func(t *testing.T) {
		api.apply(t, "sanity.yaml")
		api.await(t, "wait", "--namespace=kube-system", "--for=condition=Ready", "pod/sanity")
		skip := strings.Join([]string{
			"should fail when an invalid starting_token is passed", // Cinder's API accepts any token and starts at the beginning
			// the test fails if other volumes exist, or if a volume is still being deleted
			"absence of deleted ones in the volume list",
			// ext4 grows while it is mounted if the host has CAP_SYS_RESOURCE
			"should work if node-expand is called after node-publish",
		}, "|")
		out := e.on(t, "failures-control-plane-0", `
			curl -sSf --output /run/csi-sanity http://172.31.250.1/devcloud.test/csi-sanity && chmod +x /run/csi-sanity
			cd /var/lib/kubelet/csi-sanity &&
				/run/csi-sanity --endpoint=$PWD/csi.sock --target=$PWD/target --staging=$PWD/staging \
					--ginkgo.no-color --ginkgo.succinct --ginkgo.skip='`+skip+`' 2>&1 | tail -n 100`)
		t.Log("\n" + out)
		assert.Contains(t, out, "SUCCESS!")
	})
}
