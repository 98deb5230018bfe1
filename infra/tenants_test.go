package infra

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/internal/tenantsync"
)

// syncer is a Watcher that implements only Tenants, and a mock engine whose resources exist as soon as they
// are declared.
type syncer struct {
	Watcher
	mutex sync.Mutex // the engine calls its mocks in parallel
	calls []string
	err   error
	// missing is the name of a resource whose creation fails.
	missing string
}

func (s *syncer) called(what string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.calls = append(s.calls, what)
}

func (s *syncer) Tenants(_ context.Context, kubeconfig string, cloud tenantsync.Cloud, _ tenancy.Settings,
	log func(string) error) error {
	s.called("tenants of " + kubeconfig + " from " + cloud.AuthURL)
	return errors.Join(s.err, log("+ namespace shop"))
}

func (s *syncer) NewResource(r pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	s.called(r.Name)
	if r.Name == s.missing {
		return "", nil, errors.New("there is no " + r.Name)
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
			c := &Cluster{Kubeconfig: pulumi.ToSecret(pulumi.String("kubeconfig")).(pulumi.StringOutput), watcher: s}
			if _, err := component(ctx, "Cluster", "test", c); err != nil {
				return err
			}
			config := &pulumi.CustomResourceState{}
			if err := ctx.RegisterResource("kubernetes:core/v1:Secret", "config", pulumi.Map{}, config); err != nil {
				return err
			}
			_, err := NewTenants(ctx, plan, c, config)
			return err
		}, append(options, pulumi.WithMocks("kubernetes-openstack", "test", s))...)
	}

	const synced = "tenants of kubeconfig from https://keystone.example.com:5000/v3"
	s := &syncer{}
	require.NoError(t, run(s))
	assert.Len(t, s.calls, 4)
	require.Contains(t, s.calls, "config")
	assert.Contains(t, s.calls[slices.Index(s.calls, "config"):], synced, "after what it needs")

	s = &syncer{missing: "config"}
	assert.ErrorContains(t, run(s), "there is no config")
	assert.NotContains(t, s.calls, synced, "without what it needs")

	s = &syncer{err: errors.New("the reader has no role on the system")}
	assert.ErrorContains(t, run(s), "tenant-sync is not ready")

	s = &syncer{}
	require.NoError(t, run(s, func(info *pulumi.RunInfo) { info.DryRun = true }))
	assert.Len(t, s.calls, 3, "a preview asks nobody")
}
