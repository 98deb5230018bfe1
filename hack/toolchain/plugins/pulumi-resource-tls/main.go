// Command pulumi-resource-tls is the provider of keys and certificates for Pulumi's TLS SDK of the same version. It
// connects the Terraform provider to Pulumi with pulumi-terraform-bridge.
package main

import (
	"context"

	"github.com/hashicorp/terraform-provider-tls/shim"
	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
)

// version is the version of the SDK. The linker sets it.
var version string

// provider returns the Terraform provider with the tokens of the SDK.
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
	// Only code generators need a complete schema, and no code is generated from this binary.
	schema := []byte(`{"name":"tls","version":"` + version + `"}`)
	meta := pf.ProviderMetadata{PackageSchema: schema, BridgeMetadata: []byte(`{}`)}
	pf.Main(context.Background(), "tls", provider(), meta)
}
