// Command pulumi-resource-openstack is the OpenStack provider that Pulumi's SDK of the same version expects: the
// Terraform provider, behind pulumi-terraform-bridge.
package main

import "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

// version is the SDK's; the build sets it from go.mod.
var version string

func main() {
	// The schema serves code generators only; nobody generates code from this binary.
	schema := []byte(`{"name":"openstack","version":"` + version + `"}`)
	tfbridge.Main("openstack", version, provider(), schema)
}
