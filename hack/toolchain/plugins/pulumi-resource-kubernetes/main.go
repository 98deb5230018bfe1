// Command pulumi-resource-kubernetes is a provider for Pulumi's Kubernetes SDK of the same version. It replaces the
// official provider, which is not available as a Go module. The SDK's tokens contain the kinds of Kubernetes, so it
// supports every kind of the API server. docs/contributing/plugins.md lists the differences.
package main

import (
	"context"
	"log"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	serve "github.com/pulumi/pulumi/sdk/v3/go/pulumi/provider"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// version is the version of the SDK. The linker sets it.
var version string

func main() {
	err := serve.Main("kubernetes", func(host *serve.HostClient) (pulumirpc.ResourceProviderServer, error) {
		return server{plugin.NewProviderServer(newProvider(host))}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
}

// server sets HasDetailedDiff in the answer of Diff. The SDK's server does not set it, and without it the engine shows
// no details.
type server struct {
	pulumirpc.ResourceProviderServer
}

func (s server) Diff(ctx context.Context, r *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	diff, err := s.ResourceProviderServer.Diff(ctx, r)
	if diff != nil {
		diff.HasDetailedDiff = len(diff.DetailedDiff) > 0
	}
	return diff, err
}
