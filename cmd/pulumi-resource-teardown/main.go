// Command pulumi-resource-teardown is a Pulumi provider of our own, "teardown". Its resources do something in a destroy
// alone. Leftovers are what a cluster's controllers made in OpenStack, which Pulumi itself knows nothing
// of: a destroy deletes or keeps them when the machines are gone. Instances are those of the machines: a
// destroy that keeps nothing deletes them at once.
//
// It is built from this folder whenever pulumi needs it: Pulumi.yaml says where it is, and pulumi starts
// pulumi-resource-teardown. Of the two ways to run a provider from source this is the one that every version of the Go
// language host leaves alone: with PulumiPlugin.yaml, 3.66 builds the program in its place.
package main

import (
	"log"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	serve "github.com/pulumi/pulumi/sdk/v3/go/pulumi/provider"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

func main() {
	err := serve.Main("teardown", func(host *serve.HostClient) (pulumirpc.ResourceProviderServer, error) {
		return plugin.NewProviderServer(newProvider(host)), nil
	})
	if err != nil {
		log.Fatal(err)
	}
}
