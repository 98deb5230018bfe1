// Command pulumi-resource-teardown is our own Pulumi provider, "teardown". Its resources act only in a
// destroy. Leftovers stands for the resources that a cluster's controllers created in OpenStack, which Pulumi
// does not manage. A destroy deletes or keeps them after the machines are deleted. Instances stands for the
// machines' instances. A destroy that keeps nothing deletes them in parallel. Rollout is a record of the last complete
// `up`. In a preview, the provider compares it with the plan, and prints the table of the machines that change.
//
// The provider also protects the stack from the credentials of another project. The engine configures a
// provider in the background, and a refresh may already remove resources that it does not find there. But it
// starts the providers of all resources before it reads, changes or deletes the first one. So the ID of the
// stack's project is in the provider's environment (see infra.Project). If the credentials are for another
// project, the provider does not start, and the refresh, the up or the destroy ends without a change.
//
// Pulumi builds the provider from this folder when it needs it: Pulumi.yaml has the path, and Pulumi starts
// pulumi-resource-teardown. There are two ways to run a provider from source. This one works the same with
// every version of the Go language host. With the other one, PulumiPlugin.yaml, version 3.66 builds the
// program in its place.
package main

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	serve "github.com/pulumi/pulumi/sdk/v3/go/pulumi/provider"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"

	"kubernetes-openstack/internal/openstack"
)

func main() {
	// The login is before the start of the server, because the engine waits only 10 s for its first answers.
	expected := openstack.Expected(os.Environ())
	ctx, done := context.Background(), func() {}
	var verified error
	if expected != "" {
		login, cancel := context.WithTimeout(ctx, time.Minute)
		verified = openstack.Verify(login, expected)
		cancel()
	}
	if verified != nil {
		// The engine does not end a provider that did not start. In this time it gets the error.
		ctx, done = context.WithTimeout(ctx, 10*time.Second)
	}
	defer done()
	err := serve.MainContext(ctx, "teardown", func(host *serve.HostClient) (pulumirpc.ResourceProviderServer, error) {
		p := newProvider(host)
		p.project, p.verified = expected, verified
		return plugin.NewProviderServer(p), nil
	})
	if err != nil {
		log.Fatal(err)
	}
}
