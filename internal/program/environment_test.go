package program

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/field"
	"kubernetes-openstack/internal/openstack"
)

// TestRegions checks that the resources and the controllers are in one region.
func TestRegions(t *testing.T) {
	for _, row := range []struct{ configured, environment, warnings, errs string }{
		{"", "", "", ""},
		{"east", "", "", ""}, // a preview without a login
		{"east", "east", "", ""},
		{"", "east", "region: is not set, but OS_REGION_NAME is east: the resources are in this region, and the cluster's " +
			"controllers use the first region in Keystone's catalogue. If the cloud has several regions, set region to east. " +
			"This replaces the nodes, because the region is also their label", ""},
		{"east", "west", "", "region: must be the region of the login, which is west (OS_REGION_NAME), not east: " +
			"Pulumi would create the resources in another region than the cluster's controllers"},
	} {
		region := openstack.Region{Name: row.environment, From: "OS_REGION_NAME"}
		warnings, errs := checkEnvironment(cluster.Config{Region: row.configured},
			openstack.Environment{Provider: region, Clients: region})
		assert.Equal(t, row.warnings, texts(warnings))
		assert.Equal(t, row.errs, texts(errs))
	}
	east := openstack.Region{Name: "east", From: "cloud prod in clouds.yaml"}
	for _, row := range []struct{ from, region, errs string }{
		{"OS_REGION_NAME", "west",
			"region: is west in OS_REGION_NAME, but east in cloud prod in clouds.yaml: use one of them"},
		{"openstack:region", "west",
			"region: is west in openstack:region, but east in cloud prod in clouds.yaml: use one of them"},
		{"openstack:region", "east", ""},
	} {
		provider := openstack.Region{Name: row.region, From: row.from}
		_, errs := checkEnvironment(cluster.Config{Region: row.region},
			openstack.Environment{Provider: provider, Clients: east})
		assert.Equal(t, row.errs, texts(errs))
	}
}

// TestLoginWithApplicationCredential checks the advice before Keystone refuses to create another one.
func TestLoginWithApplicationCredential(t *testing.T) {
	config := cluster.Defaults("test")
	warn := func() string {
		warnings, errs := checkEnvironment(config, openstack.Environment{ApplicationCredential: true})
		assert.Empty(t, errs)
		return texts(warnings)
	}
	assert.Equal(t, "openstack.applicationCredential: is not set, and the login uses an application credential. Unless "+
		"it is unrestricted, Keystone refuses to create another one for the cluster's controllers (403 Forbidden). Create "+
		"one as a user with a password: `openstack application credential create --role member --role reader NAME`, and set "+
		"its id and its secret here", warn())
	config.OpenStack.ApplicationCredential.ID = "a"
	assert.Empty(t, warn())
	config.Etcd.Backup.Container = "etcd"
	assert.Contains(t, warn(), "etcd.backup.applicationCredential: is not set")
	config.Etcd.Backup.ApplicationCredential.ID = "a"
	assert.Empty(t, warn())
}

// texts returns the texts of errors in lines.
func texts(errs field.Errors) string {
	var out []string
	for _, err := range errs {
		out = append(out, err.Error())
	}
	return strings.Join(out, "\n")
}
