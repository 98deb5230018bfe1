package main

import (
	"testing"

	_ "github.com/pulumi/pulumi-tls/sdk/v5/go/tls" // keeps the SDK in go.mod

	"kubernetes-openstack/hack/toolchain/plugins/parity"
)

func TestProviderHasAllTokensOfTheSDK(t *testing.T) {
	parity.Test(t, "github.com/pulumi/pulumi-tls/sdk/v5", provider())
}
