package templates

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
)

// TestTenancyIsOptional checks that a control plane has no files for tenants if Kubernetes does not use
// OpenStack's tenants.
func TestTenancyIsOptional(t *testing.T) {
	with := filesOf(t, controlPlaneMachine())
	m := controlPlaneMachine()
	m.Plan.Tenancy.Enabled = false
	without := filesOf(t, m)
	text := func(files map[string]string) string {
		return files["/etc/systemd/system/kube-apiserver.service"] + files["/etc/kubernetes/authorization.yaml"] +
			files["/etc/kubernetes/kubelet.yaml"] + files["/etc/systemd/system/bootstrap-report.service"]
	}
	for _, what := range []string{"token-webhook", "ABAC", "policy.jsonl", "staticPodPath"} {
		require.Contains(t, text(with), what)
		require.NotContains(t, text(without), what)
	}
	var more []string
	for name := range with {
		if _, there := without[name]; !there {
			more = append(more, name)
		}
	}
	require.ElementsMatch(t, []string{
		"/etc/kubernetes/abac/policy.jsonl", "/etc/kubernetes/cluster/tenant-sync.yaml", "/etc/kubernetes/keystone-ca.crt",
		"/etc/kubernetes/keystone-webhook.yaml", "/etc/kubernetes/kube-apiserver-spare.nft",
		"/etc/kubernetes/manifests/k8s-keystone-auth.yaml", "/etc/kubernetes/tenant-sync.conf",
		"/etc/systemd/system/keystone-webhook.service", "/etc/systemd/system/tenant-sync.service",
		"/etc/systemd/system/tenant-sync.timer", "/usr/local/sbin/check-keystone-webhook",
		"/usr/local/sbin/reload-kube-apiserver",
	}, more)
}

// TestUnitsToStart checks that only its timer starts tenant-sync, and that the boot does not.
func TestUnitsToStart(t *testing.T) {
	text, err := configOf(controlPlaneMachine())
	require.NoError(t, err)
	var config cloudConfig
	require.NoError(t, yaml.Unmarshal(text, &config))
	firstBoot := config.BootCmd[len(config.BootCmd)-1]
	require.Contains(t, firstBoot, "tenant-sync.timer")
	require.Contains(t, firstBoot, "kube-apiserver.service")
	require.NotContains(t, firstBoot, "tenant-sync.service")
}

func TestKeystoneAuth(t *testing.T) {
	const manifest = "/etc/kubernetes/manifests/k8s-keystone-auth.yaml"
	pod := func(change func(*cluster.OpenStack)) (pod corev1.Pod) {
		m := controlPlaneMachine()
		change(&m.Plan.OpenStack)
		files := filesOf(t, m)
		require.NoError(t, yaml.UnmarshalStrict([]byte(files[manifest]), &pod))
		_, there := files["/etc/kubernetes/keystone-ca.crt"]
		require.Equal(t, m.Plan.OpenStack.CACertificate != "", there)
		return pod
	}
	got := pod(func(*cluster.OpenStack) {})
	container := got.Spec.Containers[0]
	require.Equal(t, []string{
		"/bin/k8s-keystone-auth", "--keystone-ca-file=/etc/kubernetes/keystone-ca.crt",
		"--keystone-url=https://keystone.example.com:5000/v3", "--listen=127.0.0.1:8443",
		"--tls-cert-file=/etc/kubernetes/pki/keystone-auth.crt",
		"--tls-private-key-file=/etc/kubernetes/pki/keystone-auth.key",
	}, container.Args)
	paths := func(pod corev1.Pod) (paths []string) {
		volumes := map[string]string{}
		for _, v := range pod.Spec.Volumes {
			require.Equal(t, corev1.HostPathFile, *v.HostPath.Type, "a folder would also expose other keys")
			volumes[v.Name] = v.HostPath.Path
		}
		for _, mount := range pod.Spec.Containers[0].VolumeMounts {
			require.True(t, mount.ReadOnly)
			require.Equal(t, volumes[mount.Name], mount.MountPath)
			paths = append(paths, mount.MountPath)
		}
		require.Len(t, volumes, len(paths))
		return paths
	}
	own := []string{"/etc/kubernetes/pki/keystone-auth.crt", "/etc/kubernetes/pki/keystone-auth.key"}
	require.Equal(t, append(own, "/etc/kubernetes/keystone-ca.crt"), paths(got))

	public := pod(func(o *cluster.OpenStack) { o.CACertificate = "" })
	require.Equal(t, own, paths(public))
	require.NotContains(t, strings.Join(public.Spec.Containers[0].Args, " "), "ca-file")

	module, err := os.ReadFile("../hack/toolchain/storage/go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`k8s.io/cloud-provider-openstack (v\S+)`).FindSubmatch(module)
	require.NotNil(t, version)
	require.Equal(t, "registry.k8s.io/provider-os/k8s-keystone-auth:"+string(version[1]), container.Image,
		"must be the version that the toolchain builds")
}
