// Command pulumi-resource-openstack is the OpenStack provider for Pulumi's SDK of the same version. It connects the
// Terraform provider to Pulumi with pulumi-terraform-bridge.
package main

import "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

// version is the version of the SDK. The linker sets it.
var version string

func main() {
	// Only code generators need a complete schema, and no code is generated from this binary.
	schema := []byte(`{"name":"openstack","version":"` + version + `"}`)
	tfbridge.Main("openstack", version, provider(), schema)
}
