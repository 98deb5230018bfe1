package tests

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/networking"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/tests/openstack"
)

// replacement is the way in which a resource is replaced that OpenStack allows only once.
type replacement struct {
	// unique returns the text that only one resource of the type can have in OpenStack, or "" for any number.
	unique func(resource.PropertyMap) string
	// why the engine never creates a second one while the first exists.
	why string
}

func input(keys ...resource.PropertyKey) func(resource.PropertyMap) string {
	return func(inputs resource.PropertyMap) string {
		var values []string
		for _, key := range keys {
			values = append(values, plain(inputs[key]))
		}
		return strings.Join(values, " ")
	}
}

func many(resource.PropertyMap) string { return "" }

// replacements lists all types of OpenStack's resources that the program declares.
var replacements = map[string]replacement{
	"openstack:blockstorage/volume:Volume":        {many, "names are not unique"},
	"openstack:compute/instance:Instance":         {input("networks"), "deleteBeforeReplace"},
	"openstack:compute/keypair:Keypair":           {input("name"), "the provider deletes it first if its name stays"},
	"openstack:compute/serverGroup:ServerGroup":   {many, "names are not unique"},
	"openstack:compute/volumeAttach:VolumeAttach": {input("volumeId"), "a volume belongs to its instance"},
	"openstack:identity/applicationCredential:ApplicationCredential": {input("name"),
		"the provider deletes it first if its name stays"},
	"openstack:networking/floatingIp:FloatingIp":                   {many, "Neutron selects the address"},
	"openstack:networking/floatingIpAssociate:FloatingIpAssociate": {input("floatingIp"), "there is only one"},
	"openstack:networking/network:Network":                         {many, "names are not unique"},
	"openstack:networking/port:Port":                               {input("fixedIps"), "the provider Project: Former"},
	"openstack:networking/router:Router":                           {many, "names are not unique"},
	"openstack:networking/routerInterface:RouterInterface":         {input("routerId", "subnetId"), "there is only one"},
	"openstack:networking/secGroup:SecGroup":                       {many, "names are not unique"},
	"openstack:networking/secGroupRule:SecGroupRule": {input("securityGroupId", "direction", "ethertype", "protocol",
		"portRangeMin", "portRangeMax", "remoteIpPrefix"), "its name has all of this, and its text never changes"},
	"openstack:networking/subnet:Subnet":          {input("cidr"), "there is only one"},
	"openstack:objectstorage/container:Container": {input("name"), "another name is another resource"},
	"openstack:objectstorage/containerObject:ContainerObject": {input("containerName", "name"),
		"Swift replaces an object of the same name"},
}

// TestUniqueResources checks that no stack declares two resources of which OpenStack allows only one. It also checks
// the options that avoid a second one in a replacement. The engine deletes a resource before its replacement together
// with all resources that have inputs from it, so machines must not have such inputs.
func TestUniqueResources(t *testing.T) {
	t.Parallel()
	for stack, config := range stacks(t) {
		r, err := run(t, stack, config)
		require.NoError(t, err)
		seen := map[string]string{}
		for _, res := range r.resources {
			if !strings.HasPrefix(res.TypeToken, "openstack:") {
				continue
			}
			known, ok := replacements[res.TypeToken]
			require.True(t, ok, "%s: add it to replacements", res.TypeToken)
			if key := known.unique(res.Inputs); key != "" {
				key = res.TypeToken + " " + key
				assert.Empty(t, seen[key], "%s is a second %s", res.Name, key)
				seen[key] = res.Name
			}
			rpc := res.RegisterRPC
			switch res.TypeToken {
			case "openstack:compute/instance:Instance":
				assert.True(t, rpc.GetDeleteBeforeReplace(), res.Name)
				assert.Empty(t, rpc.GetPropertyDependencies()["keyPair"].GetUrns(), res.Name)
			case "openstack:compute/serverGroup:ServerGroup":
				assert.True(t, rpc.GetDeleteBeforeReplaceDefined() && !rpc.GetDeleteBeforeReplace(), res.Name)
			case "openstack:networking/secGroupRule:SecGroupRule":
				assert.Contains(t, res.Name, plain(res.Inputs["remoteIpPrefix"]))
				assert.Equal(t, []string{"description"}, rpc.GetIgnoreChanges(), res.Name)
			}
		}
	}
}

// TestFormerMachines checks that the machines of a renamed pool have the resources of the former ones, and that they
// change one at a time if these are healthy.
func TestFormerMachines(t *testing.T) {
	t.Parallel()
	r := &recorder{renamed: map[string]any{"dev-worker-0": "dev-old-0", "dev-worker-1": "dev-old-1"}}
	w := &watcher{working: []string{"dev-old-0", "dev-old-1"}}
	w.onMachine = func(name string) {
		if name == "dev-worker-0" {
			assert.NotContains(t, r.instances(), "dev-worker-1")
		}
	}
	require.NoError(t, runWith(r, "dev", stackConfig(t, "../Pulumi.dev.yaml"), w, false))
	for _, id := range []string{"dev-worker-0", "dev-worker-1"} {
		aliases := r.named("kubernetes-openstack:infra:Machine", id).RegisterRPC.GetAliases()
		require.Len(t, aliases, 1, id)
		assert.Equal(t, strings.Replace(id, "worker", "old", 1), aliases[0].GetSpec().GetName())
	}
	assert.Empty(t, r.named("kubernetes-openstack:infra:Machine", "dev-etcd-0").RegisterRPC.GetAliases())
}

// TestRenamedPool checks with the real engine that one `up` can rename a pool that keeps its addresses, and change the
// texts of rules. Its ports and rules stay. A preview refuses to move addresses.
func TestRenamedPool(t *testing.T) {
	t.Parallel()
	cloud := openstack.Start(t, "compute", "block-storage", "network")
	config := smallPlan(t, cluster.CoreDNS).Config
	plan := cluster.NewPlan(config)
	s := newStack(t, func(ctx *pulumi.Context) error {
		security, err := infra.NewSecurity(ctx, plan)
		if err != nil {
			return err
		}
		project, err := infra.NewProject(ctx, plan, security)
		if err != nil {
			return err
		}
		if err := security.Allow(ctx, plan); err != nil {
			return err
		}
		for _, m := range plan.WithRole(cluster.RoleWorker) {
			machine := &infra.Machine{}
			err := ctx.RegisterComponentResource("kubernetes-openstack:infra:Machine", m.ID, machine, project.Former(m.ID))
			if err != nil {
				return err
			}
			_, err = networking.NewPort(ctx, m.ID, &networking.PortArgs{
				Name: pulumi.String(m.ID), NetworkId: pulumi.String("network"), FixedIps: networking.PortFixedIpArray{
					networking.PortFixedIpArgs{SubnetId: pulumi.String("subnet"), IpAddress: pulumi.String(m.Address.String())},
				}}, pulumi.Parent(machine))
			if err != nil {
				return err
			}
		}
		return nil
	}, projectIn(t, ""))
	setEnv(t, s, cloud.Env())
	up := func() {
		t.Helper()
		result, err := s.Up(t.Context())
		require.NoError(t, err, result.StdOut)
		preview, err := s.Preview(t.Context(), optpreview.ExpectNoChanges())
		require.NoError(t, err, preview.StdOut)
	}
	up()
	before := cloud.IDs()
	assert.Len(t, cloud.Requests("POST /network/v2.0/ports"), 2)

	config.Pools = slices.Clone(config.Pools)
	config.Pools[0].Name = "general"
	plan = cluster.NewPlan(config)
	for i := range plan.Rules {
		plan.Rules[i].Reason += ", in other words"
	}
	up()
	assert.Equal(t, before, cloud.IDs(), "no port and no rule is replaced")
	assert.Contains(t, fmt.Sprint(resources(t, s)), "port:Port::test-general-1 ")
	assert.Len(t, cloud.Requests("PUT /network/v2.0/ports/"), 2, "the ports have other names")

	t.Log("another pool gets the addresses")
	second := config.Pools[0]
	second.Name = "storage"
	config.Pools[0].Addresses = netip.MustParsePrefix("10.0.0.128/26")
	config.Pools = append(config.Pools, second)
	plan = cluster.NewPlan(config)
	preview, err := s.Preview(t.Context())
	require.Error(t, err)
	assert.Contains(t, preview.StdOut+err.Error(), "test-general-0 must keep 10.0.0.64, not get 10.0.0.128")
}
