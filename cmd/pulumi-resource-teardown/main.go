// Command pulumi-resource-teardown is our own Pulumi provider, "teardown". Its resources act only in a
// destroy. Leftovers stands for the resources that a cluster's controllers created in OpenStack, which Pulumi
// does not manage. A destroy deletes or keeps them after the machines are deleted. Instances stands for the
// machines' instances. A destroy that keeps nothing deletes them in parallel.
//
// Pulumi builds the provider from this folder when it needs it: Pulumi.yaml has the path, and Pulumi starts
// pulumi-resource-teardown. There are two ways to run a provider from source. This one works the same with
// every version of the Go language host. With the other one, PulumiPlugin.yaml, version 3.66 builds the
// program in its place.
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
