package templates

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/bootstraptoken"
)

// TestCountsChangeNoOtherMachine raises the number of machines of each group of several stacks. No machine that exists
// may get other user-data, because Pulumi would replace it. Only with the eighth control plane, all nodes get it.
func TestCountsChangeNoOtherMachine(t *testing.T) {
	stacks, err := filepath.Glob("../examples/Pulumi.*.yaml")
	require.NoError(t, err)
	for _, stack := range append(stacks, "../Pulumi.dev.yaml") {
		for _, group := range []struct {
			path   string
			count  func(*cluster.Config) *int
			counts []int
		}{
			{"etcd", func(c *cluster.Config) *int { return &c.Etcd.Count }, []int{1, 3, 5, 7}},
			{"controlPlane", func(c *cluster.Config) *int { return &c.ControlPlane.Count }, []int{1, 2, 3, 7, 8}},
			{"pools[0]", func(c *cluster.Config) *int { return &c.Pools[0].Count }, []int{1, 3}},
		} {
			t.Run(filepath.Base(stack)+"/"+group.path, func(t *testing.T) {
				t.Parallel()
				c := stackPlan(t, "test", stack).Config
				var before map[string]string
				for _, *group.count(&c) = range group.counts {
					plan := cluster.NewPlan(c)
					after := dataOf(t, plan)
					for _, m := range plan.Machines {
						if data, exists := before[m.ID]; exists {
							differs := *group.count(&c) == 8 && m.Role != cluster.RoleEtcd
							assert.Equal(t, differs, data != after[m.ID], "%s with %d machines", m.ID, *group.count(&c))
						}
					}
					before = after
				}
			})
		}
	}
}

// dataOf returns the user-data of all machines of a plan by their IDs. In it, each file of the PKI is the certificate's
// plan, because other names in a certificate would change it.
func dataOf(t *testing.T, plan cluster.Plan) map[string]string {
	t.Helper()
	certificates := map[string]string{}
	for _, c := range plan.Certificates {
		certificates[c.Name] = fmt.Sprintf("-----BEGIN %+v-----\n-----END-----\n", c)
	}
	renderer, out := NewRenderer(plan), map[string]string{}
	for _, m := range plan.Machines {
		in := Inputs{VolumeID: m.ID, BootstrapSeed: bootstraptoken.NewSeed("secret", m.ID, m.Address),
			EncryptionKey: "00", BackupID: "id", BackupSecret: "secret"}
		for _, f := range m.PKI {
			content := ""
			for _, of := range f.Of {
				content += certificates[of]
			}
			in.PKI = append(in.PKI, content)
		}
		text, err := renderer.CloudConfig(m, in)
		require.NoError(t, err)
		out[m.ID] = string(text)
	}
	return out
}
