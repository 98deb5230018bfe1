package k8s

import (
	"net/netip"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/internal/tenantsync"
)

// TestTenantSync checks that tenant-sync gets the settings of the stack's configuration, and that only the
// Secret contains the password.
func TestTenantSync(t *testing.T) {
	config := small(t)
	config.Region = "east"
	config.Tenancy.Enabled = true
	config.Tenancy.Authorizer = tenancy.ABAC
	config.Tenancy.Mapping = tenancy.Mapping{Roles: map[string]tenancy.Access{"operator": tenancy.Admin},
		Exclude: []string{"service@Default"}}
	config.Tenancy.Reader = cluster.Reader{Username: "reader", Domain: "Default", Password: "a password"}
	plan := cluster.NewPlan(config)
	objects, err := tenantSync(plan)
	require.NoError(t, err)
	require.Len(t, objects, 2)

	text := objects[0]["data"].(map[string]any)["settings.yaml"].(string)
	assert.NotContains(t, text, "password")
	var settings tenancy.Settings
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &settings))
	assert.Equal(t, plan.Tenancy.Settings, settings)
	assert.Equal(t, netip.MustParsePrefix("10.244.0.0/16"), settings.PodCIDR)

	_, plain := objects[1]["data"].(map[string]any)["cloud.yaml"].(string)
	assert.False(t, plain, "it is a secret to Pulumi")
	assert.True(t, pulumi.IsSecret(objects[1]["data"].(map[string]any)["cloud.yaml"].(pulumi.Output)))
	assert.Equal(t, tenantsync.Cloud{
		AuthURL: "https://keystone.example.com:5000/v3", Region: "east", Interface: "public",
		Username: "reader", UserDomain: "Default", Password: "a password",
	}, infra.Cloud(plan))
}
