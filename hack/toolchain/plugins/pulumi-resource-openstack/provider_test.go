package main

import (
	"strings"
	"testing"

	_ "github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack" // keeps the SDK in go.mod
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/hack/toolchain/plugins/parity"
)

const sdk = "github.com/pulumi/pulumi-openstack/sdk/v3"

func TestTokenListEqualsTheSDK(t *testing.T) {
	require.Equal(t, parity.Tokens(t, sdk), strings.Fields(tokenList))
}

func TestProviderHasAllTokensOfTheSDK(t *testing.T) {
	parity.Test(t, sdk, provider())
}
