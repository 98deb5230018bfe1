// Command pulumi-resource-kubernetes stands in for the Kubernetes provider that Pulumi's SDK of the same version
// expects: that one is no Go module that could be built. Its tokens name Kubernetes' own kinds, so it serves whatever
// the API server does. docs/contributing/images.md says where the two differ.
package main

import (
	"context"
	"log"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	serve "github.com/pulumi/pulumi/sdk/v3/go/pulumi/provider"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// version is the SDK's; the build sets it from go.mod.
var version string

func main() {
	err := serve.Main("kubernetes", func(host *serve.HostClient) (pulumirpc.ResourceProviderServer, error) {
		return server{plugin.NewProviderServer(newProvider(host))}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
}

// server says of a diff with details that it has them: the SDK's own forgets it, and the engine then shows none.
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
