package openstack

import (
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "kubernetes-openstack/tests/openstack"
)

// start starts an OpenStack with these services, and sets the environment variables that point to it.
func start(t *testing.T, services ...string) {
	t.Helper()
	for key, value := range fake.Start(t, services...).Env() {
		t.Setenv(key, value)
	}
}

func TestConnect(t *testing.T) {
	start(t, "compute", "block-storage", "network", "load-balancer")
	p, err := Connect(t.Context(), "compute", "identity", "network", "volume", "load-balancer")
	require.NoError(t, err)
	assert.Equal(t, []string{fake.Project, fake.User}, []string{p.ID, p.UserID})
	for _, client := range []any{p.Compute, p.Identity, p.Network, p.Volume, p.LoadBalancer} {
		assert.NotNil(t, client)
	}

	p, err = Connect(t.Context(), "compute")
	require.NoError(t, err)
	assert.NotNil(t, p.Compute)
	assert.Nil(t, p.Volume, "no other service was named")
}

// TestMissingServices checks that only Octavia may be missing.
func TestMissingServices(t *testing.T) {
	start(t, "compute")
	p, err := Connect(t.Context(), "compute", "load-balancer")
	require.NoError(t, err)
	assert.Nil(t, p.LoadBalancer)

	_, err = Connect(t.Context(), "compute", "volume")
	assert.ErrorContains(t, err, "volume: ")
}

func TestNoProject(t *testing.T) {
	var login tokens.CreateResult
	login.Body = map[string]any{"token": map[string]any{"user": map[string]any{"id": "us"}}}
	assert.EqualError(t, (&Project{}).identify(login), "the credentials must be for a project")
	assert.EqualError(t, (&Project{}).identify(nil), "the login must use version 3 of Keystone's API")
}
