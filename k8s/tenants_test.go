package k8s

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
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
	assert.False(t, plain, "it must be a Pulumi secret")
	assert.True(t, pulumi.IsSecret(objects[1]["data"].(map[string]any)["cloud.yaml"].(pulumi.Output)))
	assert.Equal(t, tenantsync.Cloud{
		AuthURL: "https://keystone.example.com:5000/v3", Region: "east", Interface: "public",
		Username: "reader", UserDomain: "Default", Password: "a password",
	}, reader(plan))
}

// syncer is a Syncer, and a mock engine whose resources exist as soon as they are declared.
type syncer struct {
	mutex sync.Mutex // the engine calls its mocks in parallel
	calls []string
	err   error
	// missing is the name of a resource whose creation fails.
	missing string
}

func (s *syncer) record(call string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.calls = append(s.calls, call)
}

func (s *syncer) sync(_ context.Context, kubeconfig string, cloud tenantsync.Cloud, _ tenancy.Settings,
	log func(string) error) error {
	s.record("tenants of " + kubeconfig + " from " + cloud.AuthURL)
	return errors.Join(s.err, log("+ namespace shop"))
}

func (s *syncer) NewResource(r pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	s.record(r.Name)
	if r.Name == s.missing {
		return "", nil, errors.New("cannot create " + r.Name)
	}
	return r.Name, r.Inputs, nil
}

func (*syncer) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) { return nil, nil }

func TestTenants(t *testing.T) {
	plan := cluster.Plan{Config: cluster.Config{
		Name: "test", BootstrapTimeout: 1e9, OpenStack: cluster.OpenStack{AuthURL: "https://keystone.example.com:5000/v3"},
	}}
	run := func(s *syncer, options ...pulumi.RunOption) error {
		return pulumi.RunErr(func(ctx *pulumi.Context) error {
			c := &infra.Cluster{Kubeconfig: pulumi.ToSecret(pulumi.String("kubeconfig")).(pulumi.StringOutput)}
			if err := ctx.RegisterComponentResource("kubernetes-openstack:infra:Cluster", "test", c); err != nil {
				return err
			}
			config := &pulumi.CustomResourceState{}
			if err := ctx.RegisterResource("kubernetes:core/v1:Secret", "config", pulumi.Map{}, config); err != nil {
				return err
			}
			return newTenants(ctx, plan, c, s.sync, config)
		}, append(options, pulumi.WithMocks("kubernetes-openstack", "test", s))...)
	}

	const synced = "tenants of kubeconfig from https://keystone.example.com:5000/v3"
	s := &syncer{}
	require.NoError(t, run(s))
	assert.Len(t, s.calls, 4)
	require.Contains(t, s.calls, "config")
	assert.Contains(t, s.calls[slices.Index(s.calls, "config"):], synced, "the sync runs after the resource exists")

	s = &syncer{missing: "config"}
	assert.ErrorContains(t, run(s), "cannot create config")
	assert.NotContains(t, s.calls, synced, "the sync does not run without the resource")

	s = &syncer{err: errors.New("the reader has no role on the system")}
	assert.ErrorContains(t, run(s), "tenant-sync is not ready")

	s = &syncer{}
	require.NoError(t, run(s, func(info *pulumi.RunInfo) { info.DryRun = true }))
	assert.Len(t, s.calls, 3, "a preview does not sync")
}
