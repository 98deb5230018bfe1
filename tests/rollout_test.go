package tests

import (
	"errors"
	"os"
	"testing"

	"github.com/pulumi/pulumi-tls/sdk/v5/go/tls"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
)

// TestChangeTable checks with the real engine the table of the changes at preview. Keys of TLS stand for the ports and
// the instances: another flavor is another curve, which replaces the key. The preview needs no cloud.
func TestChangeTable(t *testing.T) {
	t.Parallel()
	config := smallPlan(t, cluster.CoreDNS).Config
	config.Artifacts.Username, config.Artifacts.Password = "machines", "hunter2"
	pool := &config.Pools[0]
	broken := "" // the machine at which the program fails
	standIn := func(ctx *pulumi.Context, name, flavor string) (pulumi.StringOutput, error) {
		curve := "P256"
		if flavor == "larger" {
			curve = "P384"
		}
		key, err := tls.NewPrivateKey(ctx, name, &tls.PrivateKeyArgs{
			Algorithm: pulumi.String("ECDSA"), EcdsaCurve: pulumi.String(curve),
		}, pulumi.DeleteBeforeReplace(true))
		if err != nil {
			return pulumi.StringOutput{}, err
		}
		return key.ID().ToStringOutput(), nil
	}
	s := newStack(t, func(ctx *pulumi.Context) error {
		plan := cluster.NewPlan(config)
		project := &infra.Project{} // without the ID of a project, so it verifies nothing
		if err := ctx.RegisterResource("pulumi:providers:teardown", plan.Name, pulumi.Map{}, project); err != nil {
			return err
		}
		ports, instances := pulumi.StringMap{}, pulumi.StringMap{}
		for _, m := range plan.Machines {
			port, err := standIn(ctx, m.ID+"-port", "")
			if err != nil {
				return err
			}
			instance, err := standIn(ctx, m.ID, m.Flavor)
			if err != nil {
				return err
			}
			if m.ID == broken {
				return errors.New(m.ID + " is not ready")
			}
			ports[m.ID], instances[m.ID] = port, instance
		}
		var seconds pulumi.Input
		if !ctx.DryRun() {
			seconds = pulumi.IntMap{"etcd new": pulumi.Int(50), "worker new": pulumi.Int(40)}
		}
		_, err := infra.NewRollout(ctx, plan, ports, instances, seconds, pulumi.Provider(project))
		return err
	}, projectIn(t, ""))
	preview := func(options ...optpreview.Option) string {
		t.Helper()
		preview, err := s.Preview(t.Context(), options...)
		require.NoError(t, err, preview.StdOut)
		return preview.StdOut + preview.StdErr // with --diff, the table is in the latter
	}
	up := func() {
		t.Helper()
		up, err := s.Up(t.Context())
		require.NoError(t, err, up.StdOut)
		assert.NotContains(t, up.StdOut, "changes of machines")
	}

	t.Log("a new cluster")
	assert.Contains(t, preview(), `changes of machines: 7
    machine               class  step  at a time  duration  keys
    test-etcd-0           new    1     3          -         -
    test-etcd-1           new    1     3          -         -
    test-etcd-2           new    1     3          -         -
    test-control-plane-0  new    1     2          -         -
    test-control-plane-1  new    1     2          -         -
    test-a-0              new    1     2          -         -
    test-a-1              new    1     2          -         -
`)
	up()
	path, _ := stateFile(t, s)
	state, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.NotContains(t, string(state), "hunter2")

	t.Log("no change")
	assert.NotContains(t, preview(optpreview.ExpectNoChanges()), "changes of machines")

	t.Log("several changes")
	pool.Flavor, pool.Count, config.Etcd.Count = "larger", 3, 5
	out := preview(optpreview.Diff())
	assert.Contains(t, out, `changes of machines: 8, about 2m0s
machine      class              step  at a time  duration  keys
test-etcd-0  in place           1     3          -         etcd.count
test-etcd-1  in place           1     3          -         etcd.count
test-etcd-2  in place           1     3          -         etcd.count
test-etcd-3  new                1     2          50s       etcd.count
test-etcd-4  new                1     2          50s       etcd.count
test-a-0     drain and replace  2     1          40s       pools[0].flavor
test-a-1     drain and replace  3     1          40s       pools[0].flavor
test-a-2     new                1     1          40s       pools[0].count
`)
	assert.Contains(t, out, `class  : "drain and replace"`, "in the inputs, which are JSON with --json")
	assert.NotContains(t, out, "hunter2")

	t.Log("an up that fails: its first machines have changed")
	broken = "test-a-0"
	failed, err := s.Up(t.Context())
	require.Error(t, err, failed.StdOut)
	broken = ""
	out = preview()
	assert.NotContains(t, out, "test-etcd-3")
	assert.NotContains(t, out, "test-a-0  ")
	assert.Contains(t, out, "test-a-1     drain and replace  2     1          40s       pools[0].flavor\n")

	t.Log("fewer machines, and no other change")
	up()
	pool.Count = 2
	assert.Contains(t, preview(), `changes of machines: 1
    machine   class   step  at a time  duration  keys
    test-a-2  remove  1     1          -         pools[0].count
`)
	_, err = s.Destroy(t.Context())
	require.NoError(t, err, "without a cloud")
}
