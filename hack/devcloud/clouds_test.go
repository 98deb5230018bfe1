package main

import (
	"os"
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
)

func TestClouds(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	if err := writeClouds(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(state("clouds.yaml")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the mode must be 0600: %v %v", info.Mode(), err)
	}
	for name, user := range map[string]string{"devcloud": tenant, "devcloud-admin": "admin"} {
		auth, endpoint, _, err := clouds.Parse(clouds.WithCloudName(name), clouds.WithLocations(state("clouds.yaml")))
		if err != nil {
			t.Fatal(err)
		}
		if auth.IdentityEndpoint != identityURL || auth.Username != user || auth.TenantName != user ||
			auth.Password != password || endpoint.Region != region {
			t.Errorf("%s: %+v %+v", name, auth, endpoint)
		}
	}
}
