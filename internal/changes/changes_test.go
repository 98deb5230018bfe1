package changes

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/tests/golden"
)

// prod is a small production cluster, with a secret.
func prod(t *testing.T) cluster.Config {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(`
image: {id: 11111111-1111-1111-1111-111111111111}
network: {cidr: 10.0.0.0/22, external: {id: 22222222-2222-2222-2222-222222222222}, dnsServers: [192.0.2.53]}
openstack: {authURL: "https://keystone.example.com:5000/v3"}
artifacts: {mirror: "https://mirror.example.com", username: machines, password: hunter2}
etcd: {count: 3, flavor: small, addresses: 10.0.0.16/28, backup: {container: prod-etcd}}
controlPlane: {count: 2, flavor: medium, addresses: 10.0.0.32/28, zones: [az1, az2]}
pools:
  - {name: general, count: 3, flavor: large, addresses: 10.0.1.0/24, maxUnavailable: 2}
  - {name: storage, count: 2, flavor: huge, addresses: 10.0.2.0/24, zones: [az1]}
`))
	require.NoError(t, err)
	config, err := cluster.Decode("prod", string(text))
	require.NoError(t, err)
	return config
}

// decide decides as the engine does: an instance that differs is replaced.
func decide(before *cluster.Config, plan cluster.Plan) map[string]Decision {
	old, now, decisions := view{}, view{plan: plan}, map[string]Decision{}
	if before != nil {
		old.plan = cluster.NewPlan(*before)
	}
	for _, m := range plan.Machines {
		o, existed := old.machines()[m.ID]
		taken := slices.ContainsFunc(old.plan.Machines, func(o cluster.Machine) bool { return o.Address == m.Address })
		switch {
		case !taken:
			decisions[m.ID] = Creates
		case !existed || old.instance(o) != now.instance(m):
			decisions[m.ID] = Replaces
		}
	}
	return decisions
}

// took are the durations of an earlier `up`.
func took() cluster.Durations {
	d := cluster.Durations{}
	for _, role := range cluster.Roles {
		d.Add(role, false, time.Minute)
	}
	d.Add(cluster.RoleEtcd, true, 40*time.Second)
	d.Add(cluster.RoleEtcd, true, 95*time.Second)
	d.Add(cluster.RoleWorker, true, 150*time.Second)
	return d
}

// TestTables writes the tables of many kinds of changes. testdata/tables.txt shows them.
func TestTables(t *testing.T) {
	var out strings.Builder
	for _, row := range []struct {
		name   string
		change func(*cluster.Config)
	}{
		{"nothing", func(*cluster.Config) {}},
		{"keys that change no machine", func(c *cluster.Config) {
			c.DNS.Replicas, c.Protect, c.Prices.Currency = 3, false, "EUR"
		}},
		{"another version of etcd", func(c *cluster.Config) {
			c.Etcd.Version, c.Artifacts.Checksums = "3.6.15", map[string]string{"etcd": strings.Repeat("0", 64)}
		}},
		{"another version of Kubernetes", func(c *cluster.Config) { c.Kubernetes.Version = "1.36.2" }},
		{"another image", func(c *cluster.Config) { c.Image.ID = "33333333-3333-3333-3333-333333333333" }},
		{"another flavor of a pool", func(c *cluster.Config) { c.Pools[0].Flavor = "larger" }},
		{"more workers", func(c *cluster.Config) { c.Pools[0].Count = 5 }},
		{"fewer workers", func(c *cluster.Config) { c.Pools[0].Count = 1 }},
		{"more members of etcd", func(c *cluster.Config) { c.Etcd.Count = 5 }},
		{"more control planes", func(c *cluster.Config) { c.ControlPlane.Count = 3 }},
		{"a new pool", func(c *cluster.Config) {
			pool := c.Pools[0]
			pool.Name, pool.Addresses = "gpu", netip.MustParsePrefix("10.0.3.0/24")
			c.Pools = append(c.Pools, pool)
		}},
		{"no pool storage", func(c *cluster.Config) { c.Pools = c.Pools[:1] }},
		{"another name of a pool", func(c *cluster.Config) { c.Pools[1].Name = "archive" }},
		{"labels of a pool", func(c *cluster.Config) { c.Pools[1].Labels = map[string]string{"example.com/disk": "ssd"} }},
		{"another password of the mirror", func(c *cluster.Config) { c.Artifacts.Password = "hunter3" }},
		{"another range of external addresses", func(c *cluster.Config) {
			c.Network.ServiceExternalIPs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/26")}
		}},
		{"larger volumes of etcd", func(c *cluster.Config) { c.Etcd.Volume.Size = 40 }},
		{"other zones of control planes", func(c *cluster.Config) { c.ControlPlane.Zones = []string{"az1", "az3"} }},
		{"a restore", func(c *cluster.Config) { c.Etcd.Restore = "prod-20270131T120000Z.db" }},
		{"several changes", func(c *cluster.Config) {
			c.Etcd.ElectionTimeout, c.DNS.Replicas, c.Pools[0].Count, c.Pools[1].Flavor = 2*time.Second, 3, 4, "larger"
		}},
	} {
		before, config := prod(t), prod(t)
		row.change(&config)
		plan := cluster.NewPlan(config)
		effective := cluster.NewPlan(before).Config
		table := Explain(&effective, plan, decide(&effective, plan), took())
		fmt.Fprintf(&out, "## %s\n%s\n", row.name, table)
		text, err := json.Marshal(table)
		require.NoError(t, err)
		assert.NotContains(t, string(text)+table.String(), "hunter", row.name)
	}
	golden.Check(t, "tables.txt", out.String())
}

// TestFirstUp checks the table of a new cluster: nothing is known from an earlier `up`.
func TestFirstUp(t *testing.T) {
	plan := cluster.NewPlan(prod(t))
	table := Explain(nil, plan, decide(nil, plan), nil)
	golden.Check(t, "first.txt", table.String())
}

// TestOtherCauses checks that a machine that the engine replaces without a change of the configuration is in the table.
func TestOtherCauses(t *testing.T) {
	plan := cluster.NewPlan(prod(t))
	table := Explain(&plan.Config, plan, map[string]Decision{"prod-etcd-1": Replaces, "prod-storage-0": Replaces}, took())
	assert.Equal(t, Table{Seconds: 150, Machines: []Change{
		{Machine: "prod-etcd-1", Class: ReplaceMember, Step: 1, AtATime: 1, Seconds: 95},
		{Machine: "prod-storage-0", Class: Replace, Step: 1, AtATime: 1, Seconds: 150},
	}}, table)
}

// TestAfterAFailedUp checks that machines that the last `up` has replaced before it failed are not in the table.
func TestAfterAFailedUp(t *testing.T) {
	before := cluster.NewPlan(prod(t)).Config
	config := prod(t)
	config.Etcd.ElectionTimeout, config.Etcd.Count = 2*time.Second, 5
	plan := cluster.NewPlan(config)
	decisions := decide(&before, plan)
	decisions["prod-etcd-0"], decisions["prod-etcd-3"] = Keeps, Keeps
	decisions["prod-etcd-4"] = Replaces // it has a port, and no instance
	var classes []string
	for _, c := range Explain(&before, plan, decisions, took()).Machines {
		classes = append(classes, fmt.Sprint(c.Machine, ": ", c.Class, " ", c.Keys))
	}
	assert.Equal(t, []string{
		"prod-etcd-0: in place [etcd.count]", "prod-etcd-1: replace etcd member [etcd.electionTimeout]",
		"prod-etcd-2: replace etcd member [etcd.electionTimeout]", "prod-etcd-4: new [etcd.count]",
	}, classes)
}

// TestLargePool checks that a pool of 5,000 workers does not render each machine.
func TestLargePool(t *testing.T) {
	config := prod(t)
	config.Network.CIDR = netip.MustParsePrefix("10.0.0.0/16")
	config.Pools[0].Addresses = netip.MustParsePrefix("10.0.128.0/17")
	config.Pools[0].Count = 5000
	before := cluster.NewPlan(config).Config
	config.Pools = slices.Clone(config.Pools)
	config.Pools[0].Flavor = "larger"
	plan, decisions := cluster.NewPlan(config), map[string]Decision{}
	for i := range config.Pools[0].Count {
		decisions[fmt.Sprintf("prod-general-%d", i)] = Replaces
	}
	table := Explain(&before, plan, decisions, took())
	require.Len(t, table.Machines, 5000)
	last := table.Machines[4999]
	assert.Equal(t, Change{Machine: "prod-general-4999", Class: Replace, Keys: []string{"pools[0].flavor"}, Step: 2500,
		AtATime: 2, Seconds: 150}, last)
	assert.Equal(t, 2500*150, table.Seconds)
}
