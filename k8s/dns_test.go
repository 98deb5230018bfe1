package k8s

import (
	"cmp"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"kubernetes-openstack/cluster"
)

func TestDNSReplicas(t *testing.T) {
	replicas := func(workers, atLeast int) int {
		config := small(t) // 2 control planes
		config.Pools[0].Count, config.DNS.Replicas = workers, atLeast
		return dnsReplicas(cluster.NewPlan(config))
	}
	assert.Equal(t, 2, replicas(2, 2))
	assert.Equal(t, 2, replicas(30, 2))
	assert.Equal(t, 3, replicas(31, 2))
	assert.Equal(t, 5, replicas(31, 5))
}

// TestCoreDNSVersion checks that the development cluster pulls the CoreDNS version that the toolchain builds.
func TestCoreDNSVersion(t *testing.T) {
	module, err := os.ReadFile("../hack/toolchain/coredns/go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`github.com/coredns/coredns (v\S+)`).FindSubmatch(module)
	require.NotNil(t, version)
	manifest, err := os.ReadFile("coredns.yaml.tmpl")
	require.NoError(t, err)
	assert.Contains(t, string(manifest), "image: registry.k8s.io/coredns/coredns:"+string(version[1])+"\n")
}

// TestSkyDNSVersion checks that the development cluster pulls the images that the toolchain builds.
func TestSkyDNSVersion(t *testing.T) {
	builds, err := os.ReadFile("../hack/toolchain/builds.go")
	require.NoError(t, err)
	version := regexp.MustCompile(`skydnsVersion = "(\S+)"`).FindSubmatch(builds)
	require.NotNil(t, version)
	manifest, err := os.ReadFile("kube-dns.yaml.tmpl")
	require.NoError(t, err)
	for _, name := range []string{"kube-dns", "dnsmasq-nanny", "sidecar"} {
		assert.Contains(t, string(manifest), "image: registry.k8s.io/dns/k8s-dns-"+name+":"+string(version[1])+"\n")
	}
}

// declared is a mock engine that records all resources by type and name.
type declared struct {
	mutex sync.Mutex
	all   map[string]pulumi.MockResourceArgs
}

func (d *declared) NewResource(r pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.all[r.TypeToken+" "+r.Name] = r
	return r.Name, r.Inputs, nil
}

func (d *declared) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) { return nil, nil }

// declareDNS returns the resources of a DNS provider.
func declareDNS(t *testing.T, provider string) map[string]pulumi.MockResourceArgs {
	t.Helper()
	config := small(t)
	config.DNS.Provider = provider
	plan := cluster.NewPlan(config)
	d := &declared{all: map[string]pulumi.MockResourceArgs{}}
	require.NoError(t, pulumi.RunErr(func(ctx *pulumi.Context) error {
		_, err := deployer{ctx: ctx, plan: plan}.deploy("DNS", dns(plan))
		return err
	}, pulumi.WithMocks("kubernetes-openstack", "test", d)))
	return d.all
}

// decode converts the inputs of a resource to a type of Kubernetes.
func decode[T any](t *testing.T, r pulumi.MockResourceArgs) (out T) {
	t.Helper()
	text, err := json.Marshal(r.Inputs.Mappable())
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &out))
	return out
}

const (
	dnsDeployment = "kubernetes:apps/v1:Deployment kube-system/"
	dnsConfig     = "kubernetes:core/v1:ConfigMap kube-system/coredns"
	dnsService    = "kubernetes:core/v1:Service kube-system/kube-dns"
)

// TestDNSProviderChangeKeepsTheService checks that a change of the provider updates the Service in place. Its address,
// its selector and its ports stay, except for the port of the metrics. The new Deployment has another name, and exists
// before the Service is updated. The engine deletes the old one afterwards.
func TestDNSProviderChangeKeepsTheService(t *testing.T) {
	before, after := declareDNS(t, cluster.SkyDNS), declareDNS(t, cluster.CoreDNS)
	for _, all := range []map[string]pulumi.MockResourceArgs{before, after} {
		require.Contains(t, all, dnsService)
		assert.Empty(t, all[dnsService].RegisterRPC.GetReplaceOnChanges())
		assert.False(t, all[dnsService].RegisterRPC.GetDeleteBeforeReplace())
	}
	assert.Contains(t, before, dnsDeployment+"kube-dns")
	assert.NotContains(t, before, dnsDeployment+"coredns")
	assert.Contains(t, after, dnsDeployment+"coredns")
	assert.NotContains(t, after, dnsDeployment+"kube-dns")
	assert.Equal(t, before[dnsService].RegisterRPC.GetParent(), after[dnsService].RegisterRPC.GetParent())
	assert.Contains(t, strings.Join(after[dnsService].RegisterRPC.GetDependencies(), " "),
		"Deployment::kube-system/coredns")

	old, updated := decode[corev1.Service](t, before[dnsService]), decode[corev1.Service](t, after[dnsService])
	for _, s := range []*corev1.Service{&old, &updated} {
		delete(s.Labels, "kubernetes.io/name")
		s.Spec.Ports = slices.DeleteFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == "metrics" })
	}
	assert.Equal(t, old, updated)
	assert.Len(t, old.Spec.Ports, 2)
}

// TestDNSPodsEndWithoutLosingQueries checks that a rollout starts new pods first. An old pod must answer until every
// kube-proxy knows that it is not ready.
func TestDNSPodsEndWithoutLosingQueries(t *testing.T) {
	// the seconds until all nodes know that a pod is not ready, on a busy machine
	const propagation = 8
	for provider, name := range map[string]string{cluster.SkyDNS: "kube-dns", cluster.CoreDNS: "coredns"} {
		t.Run(provider, func(t *testing.T) {
			all := declareDNS(t, provider)
			deployment := decode[appsv1.Deployment](t, all[dnsDeployment+name])
			assert.Equal(t, 0, deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue())
			pod := deployment.Spec.Template.Spec
			service := decode[corev1.Service](t, all[dnsService])
			assert.Subset(t, deployment.Spec.Template.Labels, service.Spec.Selector)
			assert.Equal(t, 2, int(*deployment.Spec.Replicas))

			answering := map[string]int64{} // seconds that a container answers after the deletion of its pod
			unready := int64(1 << 20)       // seconds until the pod is not ready
			for _, c := range pod.Containers {
				if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
					answering[c.Name] = c.Lifecycle.PreStop.Sleep.Seconds
				}
				if p := c.ReadinessProbe; p != nil {
					unready = min(unready, int64(cmp.Or(p.PeriodSeconds, 10)*cmp.Or(p.FailureThreshold, 3)))
				}
			}
			want := []string{"kubedns", "dnsmasq"}
			if provider == cluster.CoreDNS {
				want = []string{"coredns"}
				require.Contains(t, decode[corev1.ConfigMap](t, all[dnsConfig]).Data["Corefile"], "lameduck 15s\n")
				answering["coredns"] = 15
			}
			grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
			if pod.TerminationGracePeriodSeconds != nil {
				grace = *pod.TerminationGracePeriodSeconds
			}
			for _, container := range want {
				assert.GreaterOrEqual(t, answering[container], unready+propagation, container)
				assert.Greater(t, grace, answering[container], container)
			}
			assert.Zero(t, answering["sidecar"], "the end of the sidecar makes the pod unready")
		})
	}
}

// TestStubDomains checks the settings of both providers for stub domains and upstream name servers.
func TestStubDomains(t *testing.T) {
	config := small(t)
	text := func(provider string) string {
		config.DNS.Provider = provider
		text, err := dns(cluster.NewPlan(config)).text()
		require.NoError(t, err)
		return text
	}
	assert.NotContains(t, text(cluster.SkyDNS), "kind: ConfigMap")
	assert.Contains(t, text(cluster.CoreDNS), "        forward . /etc/resolv.conf {\n")
	config.DNS.StubDomains = []cluster.StubDomain{
		{Domain: "corp.example", Servers: []string{"192.0.2.1", "192.0.2.2:5353"}},
		{Domain: "true", Servers: []string{"192.0.2.3"}}, // no name for YAML: CoreDNS ends a name at a quote
	}
	config.DNS.UpstreamNameservers = []string{"192.0.2.4"}
	assert.Contains(t, text(cluster.SkyDNS), `
data:
  stubDomains: "{\"corp.example\":[\"192.0.2.1\",\"192.0.2.2:5353\"],\"true\":[\"192.0.2.3\"]}"
  upstreamNameservers: "[\"192.0.2.4\"]"
---
`)
	assert.Contains(t, text(cluster.CoreDNS), `
    corp.example:53 {
        errors
        cache 30
        forward . 192.0.2.1 192.0.2.2:5353
    }
    true:53 {
        errors
        cache 30
        forward . 192.0.2.3
    }
---
`)
	assert.Contains(t, text(cluster.CoreDNS), "        forward . 192.0.2.4 {\n")
	for _, provider := range []string{cluster.SkyDNS, cluster.CoreDNS} {
		config.DNS.Provider = provider
		_, err := dns(cluster.NewPlan(config)).objects()
		require.NoError(t, err)
	}
}
