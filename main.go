// Command kubernetes-openstack is a Pulumi program. `pulumi up` with this program creates a Kubernetes
// cluster in an OpenStack project.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/program"
	"kubernetes-openstack/internal/readiness"
	"kubernetes-openstack/k8s"
)

func main() {
	pulumi.Run(program.Run(readiness.NewCloud(), k8s.SyncTenants, openstack.ReadEnvironment()))
}
