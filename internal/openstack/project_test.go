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
	start(t, "compute", "block-storage", "network", "load-balancer", "object-store")
	p, err := Connect(t.Context(), "compute", "identity", "network", "volume", "load-balancer", "object-store")
	require.NoError(t, err)
	assert.Equal(t, []string{fake.Project, fake.User}, []string{p.ID, p.UserID})
	for _, client := range []any{p.Compute, p.Identity, p.Network, p.Volume, p.LoadBalancer, p.ObjectStore} {
		assert.NotNil(t, client)
	}

	p, err = Connect(t.Context(), "compute")
	require.NoError(t, err)
	assert.NotNil(t, p.Compute)
	assert.Nil(t, p.Volume, "no other service was named")
}

// TestMissingServices checks that only Octavia and Swift may be missing.
func TestMissingServices(t *testing.T) {
	start(t, "compute")
	p, err := Connect(t.Context(), "compute", "load-balancer", "object-store")
	require.NoError(t, err)
	assert.Nil(t, p.LoadBalancer)
	assert.Nil(t, p.ObjectStore)

	_, err = Connect(t.Context(), "compute", "volume")
	assert.ErrorContains(t, err, "volume: ")
}

func TestNoProject(t *testing.T) {
	var login tokens.CreateResult
	login.Body = map[string]any{"token": map[string]any{"user": map[string]any{"id": "us"}}}
	assert.EqualError(t, (&Project{}).identify(login),
		"the credentials must be for a project: set OS_CLOUD, or OS_PROJECT_ID or OS_PROJECT_NAME")
	assert.EqualError(t, (&Project{}).identify(nil), "the login must use version 3 of Keystone's API")
}

// TestVerify checks that the ID of the project decides, and not its name.
func TestVerify(t *testing.T) {
	c := fake.Start(t)
	c.Name("renamed", fake.Project)
	for name, want := range map[string]string{
		fake.Project: "",
		"renamed":    "",
		"theirs": "the credentials are for OpenStack project theirs (theirs), but the resources of this stack are in " +
			"project ours, so nothing was changed: set OS_CLOUD or the OS_* variables for project ours",
		"": "cannot verify that the credentials are for OpenStack project ours, in which the resources of this stack are: " +
			"the credentials must be for a project: set OS_CLOUD, or OS_PROJECT_ID or OS_PROJECT_NAME",
	} {
		for key, value := range c.Env() {
			t.Setenv(key, value)
		}
		t.Setenv("OS_PROJECT_NAME", name)
		err := Verify(t.Context(), fake.Project)
		if want == "" {
			assert.NoError(t, err, name)
		} else {
			assert.EqualError(t, err, want)
		}
	}
	c.Down(true)
	assert.ErrorContains(t, Verify(t.Context(), fake.Project),
		"cannot verify that the credentials are for OpenStack project ours, in which the resources of this stack are: "+
			"log in to OpenStack: ")
}

func TestExpected(t *testing.T) {
	for _, id := range []string{"6b86b273ff34fce19d6b804eff5a3f57", "a-b=c d/\n"} {
		assert.Regexp(t, "^[A-Z_]+[0-9a-f]+$", Variable(id))
		assert.Equal(t, id, Expected([]string{"PATH=/bin", Variable(id) + "=/bin:a=b"}))
	}
	assert.Empty(t, Expected([]string{"PATH=/bin", "PROJECT=x"}))
}
