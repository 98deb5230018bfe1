// Command pulumi-resource-tls is the TLS provider (keys and certificates) that Pulumi's SDK of the same version
// expects: the Terraform provider, behind pulumi-terraform-bridge.
package main

import (
	"context"

	"github.com/hashicorp/terraform-provider-tls/shim"
	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
)

// version is the SDK's; the build sets it from go.mod.
var version string

func provider() tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:            pf.ShimProvider(shim.NewProvider()),
		Name:         "tls",
		Version:      version,
		License:      "Apache-2.0",
		GitHubOrg:    "hashicorp",
		MetadataInfo: tfbridge.NewProviderMetadata([]byte(`{}`)),

		EnableZeroDefaultSchemaVersion: true,
		EnableAccurateBridgePreview:    true,
	}
	info.MustComputeTokens(tokens.SingleModule("tls_", "index", tokens.MakeStandard("tls")))
	return info
}

func main() {
	// The schema serves code generators only; nobody generates code from this binary.
	schema := []byte(`{"name":"tls","version":"` + version + `"}`)
	meta := pf.ProviderMetadata{PackageSchema: schema, BridgeMetadata: []byte(`{}`)}
	pf.Main(context.Background(), "tls", provider(), meta)
}
