package k8s

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
)

func TestCloudConf(t *testing.T) {
	config := small(t)
	config.Region, config.OpenStack.Interface = "east", "internal"
	text, err := cloudConf(cluster.NewPlan(config), "id", "secret", "subnet")
	require.NoError(t, err)
	assert.Equal(t, `[Global]
auth-url = "https://keystone.example.com:5000/v3"
application-credential-id = "id"
application-credential-secret = "secret"
os-endpoint-type = "internal"
region = "east"

[LoadBalancer]
enabled = false
`, text)

	config.Region, config.OpenStack.CACertificate, config.OpenStack.LoadBalancer = "", "-----BEGIN …", cluster.Octavia
	text, err = cloudConf(cluster.NewPlan(config), "id", "secret", "subnet")
	require.NoError(t, err)
	assert.Equal(t, `[Global]
auth-url = "https://keystone.example.com:5000/v3"
application-credential-id = "id"
application-credential-secret = "secret"
os-endpoint-type = "internal"
ca-file = "/etc/openstack/ca.crt"

[LoadBalancer]
subnet-id = "subnet"
floating-network-id = "22222222-2222-2222-2222-222222222222"
`, text)

	// In a provider network, the controller would choose any external network, and floating IPs need a router.
	config.Network.External.ID, config.OpenStack.OctaviaProvider = "", cluster.OVN
	text, err = cloudConf(cluster.NewPlan(config), "id", "secret", "subnet")
	require.NoError(t, err)
	assert.Contains(t, text, `
[LoadBalancer]
subnet-id = "subnet"
internal-lb = true
lb-provider = "ovn"
lb-method = "SOURCE_IP_PORT"
`)
}

// TestCloudConfigVersion checks that the version changes with each change of the cloud configuration, and
// with no other change. Programs that read the configuration at their start restart for a new version.
func TestCloudConfigVersion(t *testing.T) {
	version := func(change func(*cluster.Config)) string {
		config := small(t)
		change(&config)
		return cloudConfigVersion(cluster.NewPlan(config))
	}
	same := version(func(*cluster.Config) {})
	assert.Equal(t, same, version(func(c *cluster.Config) { c.Pools[0].Count = 5 }))
	existing := func(secret cluster.Secret) string {
		return version(func(c *cluster.Config) {
			c.OpenStack.ApplicationCredential = cluster.ApplicationCredential{ID: "a", Secret: secret}
		})
	}
	assert.NotEqual(t, existing("b"), existing("c"))
	for _, change := range []func(*cluster.Config){
		func(c *cluster.Config) { c.OpenStack.Credential = "2" },
		func(c *cluster.Config) { c.OpenStack.CACertificate = "another" },
		func(c *cluster.Config) { c.Region = "west" },
		func(c *cluster.Config) { c.OpenStack.ApplicationCredential.ID = "a" },
		func(c *cluster.Config) { c.OpenStack.OctaviaProvider = cluster.OVN },
	} {
		assert.NotEqual(t, same, version(change))
	}
}

// TestCloudControllerManagerAndServices checks that only Octavia's controller may write to Services.
func TestCloudControllerManagerAndServices(t *testing.T) {
	config := small(t)
	text, err := cloudControllerManager(cluster.NewPlan(config)).text()
	require.NoError(t, err)
	assert.NotContains(t, text, "services/status")
	config.OpenStack.LoadBalancer = cluster.Octavia
	text, err = cloudControllerManager(cluster.NewPlan(config)).text()
	require.NoError(t, err)
	assert.Contains(t, text, "services/status")
}
