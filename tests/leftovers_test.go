package tests

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/tests/openstack"
)

// leftoversStack creates a stack with only a cluster's leftovers and, if instances is not empty, its
// instances. cloud names a cloud in clouds, the text of a clouds.yaml. The real engine starts the provider in a folder
// with this clouds.yaml.
func leftoversStack(t *testing.T, plan *cluster.Plan, instances *[]string, cloud, clouds string) auto.Stack {
	t.Helper()
	s := newStack(t, func(ctx *pulumi.Context) error {
		project := &infra.Project{} // without the ID of a project, so it verifies nothing
		if err := ctx.RegisterResource("pulumi:providers:teardown", plan.Name, pulumi.Map{}, project); err != nil {
			return err
		}
		leftovers, err := infra.NewLeftovers(ctx, *plan, &infra.Network{}, &infra.Security{}, &infra.PKI{},
			&infra.Backup{}, project)
		if err != nil || len(*instances) == 0 {
			return err
		}
		_, err = infra.NewInstances(ctx, *plan, pulumi.ToStringArray(*instances),
			pulumi.DependsOn([]pulumi.Resource{leftovers}), pulumi.Provider(project))
		return err
	}, projectIn(t, clouds))
	setEnv(t, s, map[string]string{"OS_CLOUD": cloud})
	return s
}

// projectIn returns this repository's project with our provider, in a folder with this clouds.yaml. The provider is
// built only once, because each command of the engine starts it. Commands that are not those of the test find a program
// in the folder that declares nothing.
func projectIn(t *testing.T, clouds string) auto.LocalWorkspaceOption {
	t.Helper()
	return projectWith(t, clouds, filepath.Dir(built(t, "pulumi-resource-teardown")))
}

// declaredProject is projectIn, but the engine builds and starts the provider as Pulumi.yaml declares it.
func declaredProject(t *testing.T, clouds string) auto.LocalWorkspaceOption {
	t.Helper()
	return projectWith(t, clouds, "")
}

func projectWith(t *testing.T, clouds, folder string) auto.LocalWorkspaceOption {
	t.Helper()
	project, err := workspace.LoadProject("../Pulumi.yaml")
	require.NoError(t, err)
	provider := &project.Plugins.Providers[0]
	if folder == "" {
		folder, err = filepath.Abs(filepath.Join("..", provider.Path))
		require.NoError(t, err)
	}
	provider.Path = folder
	project.Main = filepath.Join(t.TempDir(), "a folder of 'somebody'")
	require.NoError(t, os.Mkdir(project.Main, 0o700))
	for name, text := range map[string]string{
		"clouds.yaml": clouds, "go.mod": "module empty\n", "main.go": "package main\n\nfunc main() {}\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(project.Main, name), []byte(text), 0o600))
	}
	return auto.Project(*project)
}

// setEnv sets more environment variables of a stack's pulumi.
func setEnv(t *testing.T, s auto.Stack, more map[string]string) {
	t.Helper()
	env := maps.Clone(s.Workspace().GetEnvVars())
	maps.Copy(env, more)
	require.NoError(t, s.Workspace().SetEnvVars(env))
}

// TestLeftovers checks that only a destroy sends requests to the cloud. The destroy lists what it deletes,
// fails if it cannot delete something, and continues the next time. If nothing is kept, it deletes the
// instances that the stack had last. An `up` deletes none.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	cloud := openstack.Start(t, "compute", "block-storage", "network", "load-balancer")
	plan := smallPlan(t, cluster.CoreDNS)
	instances := []string{"machine-1", "machine-2"}
	s := leftoversStack(t, &plan, &instances, "fake", fmt.Sprintf(`
clouds:
  fake:
    auth:
      {auth_url: %s, username: user, password: password, project_name: ours,
       user_domain_name: Default, project_domain_name: Default}`, cloud.URL))
	ctx := t.Context()
	for _, id := range instances {
		cloud.Add("servers", openstack.Thing{Object: openstack.Object{"id": id}})
	}
	for _, id := range []string{"1", "2"} {
		cloud.Add("volumes", openstack.Thing{Object: openstack.Object{
			"id": "volume-" + id, "name": "pvc-" + id, "size": 1, "status": "available",
			"metadata": openstack.Object{"cinder.csi.openstack.org/cluster": plan.Name},
		}})
	}
	cloud.Add("loadbalancers", openstack.Thing{Object: openstack.Object{
		"id": "balancer", "name": "kube_service_" + plan.Name + "_shop_web", "provisioning_status": "ACTIVE",
	}})
	cloud.Down(true)

	preview, err := s.Preview(ctx)
	require.NoError(t, err, preview.StdOut)
	up, err := s.Up(ctx)
	require.NoError(t, err, up.StdOut)
	refresh, err := s.Refresh(ctx)
	require.NoError(t, err, refresh.StdOut)
	preview, err = s.Preview(ctx, optpreview.ExpectNoChanges())
	require.NoError(t, err, preview.StdOut)

	t.Log("destroy with onDestroy: keep")
	cloud.Down(false)
	destroy, err := s.Destroy(ctx)
	require.NoError(t, err, destroy.StdOut)
	assert.Contains(t, destroy.StdOut, "keeping these volumes and snapshots of cluster test with their data:\n")
	assert.Contains(t, destroy.StdOut, "volume pvc-2 (volume-2): 1 GiB\n")
	assert.Equal(t, []string{"machine-1", "machine-2", "volume-1", "volume-2"}, cloud.IDs())

	t.Log("destroy with onDestroy: delete")
	_, err = s.Up(ctx)
	require.NoError(t, err)
	plan.Storage.OnDestroy = cluster.Delete
	preview, err = s.Preview(ctx, optpreview.Diff())
	require.NoError(t, err, preview.StdOut)
	assert.Contains(t, preview.StdOut, `~ onDestroy: "keep" => "delete"`)
	assert.NotContains(t, preview.StdOut, "from now on")
	up, err = s.Up(ctx)
	require.NoError(t, err, up.StdOut)
	assert.Equal(t, 2, (*up.Summary.ResourceChanges)["update"])
	assert.Contains(t, up.StdOut,
		"warning: from now on a destroy deletes the volumes and snapshots of the claims in cluster test")

	t.Log("an up deletes no instances, even if the program declares none or others")
	instances = nil
	up, err = s.Up(ctx)
	require.NoError(t, err, up.StdOut)
	assert.Equal(t, 1, (*up.Summary.ResourceChanges)["delete"])
	instances = []string{"machine-1"}
	_, err = s.Up(ctx)
	require.NoError(t, err)
	instances = []string{"machine-2"}
	up, err = s.Up(ctx)
	require.NoError(t, err, up.StdOut)
	assert.Equal(t, 1, (*up.Summary.ResourceChanges)["update"])
	assert.Equal(t, []string{"machine-1", "machine-2", "volume-1", "volume-2"}, cloud.IDs())

	cloud.Change("volume-1", func(thing *openstack.Thing) { thing.Refuse = "it belongs to a group" })
	destroy, err = s.Destroy(ctx)
	require.Error(t, err)
	output := destroy.StdOut + err.Error()
	assert.Contains(t, output, "onDestroy is delete, so the 1 instances of cluster test are deleted without a shutdown\n")
	assert.Contains(t, output, "deleting these volumes and snapshots of cluster test with their data:\n")
	assert.Contains(t, output, "deleted volume pvc-2 (volume-2)\n")
	assert.Contains(t, output, "cluster test still has these resources; the next destroy continues with them:\n")
	assert.Regexp(t, `volume pvc-1 \(volume-1\): cannot delete it: .*it belongs to a group`, output)
	assert.Equal(t, []string{"machine-1", "volume-1"}, cloud.IDs())

	cloud.Change("volume-1", func(thing *openstack.Thing) { thing.Refuse = "" })
	destroy, err = s.Destroy(ctx)
	require.NoError(t, err, destroy.StdOut)
	assert.Contains(t, destroy.StdOut, "volume pvc-1 (volume-1): 1 GiB\n")
	assert.Equal(t, []string{"machine-1"}, cloud.IDs())
}
