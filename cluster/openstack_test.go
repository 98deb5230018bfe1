package cluster

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCredential(t *testing.T) {
	object := valid(t)
	c := decoded(t, object)
	assert.Equal(t, "test-1", c.CredentialName())
	assert.Equal(t, []string{"member", "reader"}, c.OpenStack.CredentialRoles())

	set(object, "openstack.loadBalancer", "octavia")
	set(object, "openstack.credential", "2027-01")
	c = decoded(t, object)
	assert.Equal(t, "test-2027-01", c.CredentialName())
	assert.Equal(t, []string{"member", "reader", "load-balancer_member"}, c.OpenStack.CredentialRoles())

	set(object, "openstack.roles", []any{"_member_"})
	assert.Equal(t, []string{"_member_"}, decoded(t, object).OpenStack.CredentialRoles())
}
