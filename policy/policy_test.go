package policy

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/field"
)

// follower is a configuration that follows all rules.
const follower = `
image: {id: 11111111-1111-1111-1111-111111111111}
network:
  cidr: 10.0.0.0/24
  external: {id: 22222222-2222-2222-2222-222222222222}
  dnsServers: [192.0.2.53]
openstack: {authURL: "https://keystone.example.com:5000/v3"}
etcd: {flavor: small, addresses: 10.0.0.16/28, zones: [a, b, c], backup: {container: etcd}}
controlPlane: {flavor: medium, addresses: 10.0.0.32/28, zones: [a, b, c]}
pools:
  - {name: general, count: 2, flavor: large, addresses: 10.0.0.64/26}
artifacts:
  registryMirrors: {quay.io: "https://mirror.example.com/quay.io"}
`

// config returns the configuration of follower after all changes.
func config(t *testing.T, changes ...func(*cluster.Config)) cluster.Config {
	t.Helper()
	object, err := yaml.YAMLToJSON([]byte(follower))
	require.NoError(t, err)
	c, err := cluster.Decode("test", string(object))
	require.NoError(t, err)
	for _, change := range changes {
		change(&c)
	}
	return c
}

// stack returns what rules see of a plan.
func stack(t *testing.T, plan cluster.Plan) Stack {
	t.Helper()
	s, err := NewStack(plan, []string{"quay.io/calico/kube-controllers:v3.28.5", "registry.k8s.io/pause:3.10.2"})
	require.NoError(t, err)
	return s
}

func cidrs(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// violations are configurations that break exactly one rule. want is the beginning of each error.
var violations = []struct {
	rule   string
	want   []string
	change func(*cluster.Config)
}{
	{"ssh-open", []string{"ssh.allowedCIDRs[1]: 0.0.0.0/0 is open to the world"},
		func(c *cluster.Config) { c.SSH.AllowedCIDRs = cidrs("192.0.2.0/24", "0.0.0.0/0") }},
	{"ssh-open", []string{"ssh.allowedCIDRs[0]: 0.0.0.0/1 is open", "ssh.allowedCIDRs[1]: 128.0.0.0/1 is open"},
		func(c *cluster.Config) { c.SSH.AllowedCIDRs = cidrs("0.0.0.0/1", "128.0.0.0/1") }},
	{"api-open", []string{"api.allowedCIDRs[0]: 0.0.0.0/0 is open to the world"},
		func(c *cluster.Config) { c.API.AllowedCIDRs = cidrs("0.0.0.0/0") }},
	{"workers-open", []string{"network.allowedCIDRs[0]: 0.0.0.0/0 is open to the world"},
		func(c *cluster.Config) { c.Network.AllowedCIDRs = cidrs("0.0.0.0/0") }},
	{"no-port-security", []string{"network.portSecurity: is false"},
		func(c *cluster.Config) { c.Network.PortSecurity = false }},
	{"keystone-unencrypted", []string{"openstack.authURL: http://10.1.1.1/v3 is not encrypted"},
		func(c *cluster.Config) { c.OpenStack.AuthURL = "http://10.1.1.1/v3" }},
	{"keystone-unencrypted", []string{"openstack.authURL: HTTP://10.1.1.1/v3 is not encrypted"},
		func(c *cluster.Config) { c.OpenStack.AuthURL = "HTTP://10.1.1.1/v3" }},
	{"etcd-unprotected", []string{"protect: is false"}, func(c *cluster.Config) { c.Protect = false }},
	{"etcd-no-backup", []string{"etcd.backup.container: is not set"},
		func(c *cluster.Config) { c.Etcd.Backup.Container = "" }},
	{"destroy-deletes-data", []string{"storage.onDestroy: is delete"},
		func(c *cluster.Config) { c.Storage.OnDestroy = cluster.Delete }},
	{"no-resolver", []string{"network.dnsServers: is not set"},
		func(c *cluster.Config) { c.Network.DNSServers = nil }},
	{"etcd-members", []string{"etcd.count: 1 tolerates 0 lost"}, func(c *cluster.Config) { c.Etcd.Count = 1 }},
	{"etcd-members", []string{"etcd.count: 4 tolerates 1 lost"},
		func(c *cluster.Config) { c.Etcd.Count, c.Etcd.Zones = 4, []string{"a", "b", "c", "d"} }},
	{"etcd-majority-in-one-zone", []string{"etcd.zones: a has 3 of 3 members"},
		func(c *cluster.Config) { c.Etcd.Zones = []string{"a"} }},
	{"etcd-majority-in-one-zone", []string{"etcd.zones: a has 2 of 3 members"},
		func(c *cluster.Config) { c.Etcd.Zones = []string{"a", "b"} }},
	{"etcd-majority-in-one-zone", []string{"etcd.zones: a has 3 of 5 members"},
		func(c *cluster.Config) { c.Etcd.Count, c.Etcd.Zones = 5, []string{"a", "b"} }},
	{"control-plane-single", []string{"controlPlane.count: is 1"},
		func(c *cluster.Config) { c.ControlPlane.Count = 1 }},
	{"control-planes-in-one-zone", []string{"controlPlane.zones: a has all 3 control planes"},
		func(c *cluster.Config) { c.ControlPlane.Zones = []string{"a"} }},
	{"control-planes-in-one-zone", []string{"controlPlane.zones: a has all 3 control planes"},
		func(c *cluster.Config) { c.ControlPlane.Zones = []string{"a", "a"} }},
	{"pool-replaced-at-once", []string{"pools[0].maxUnavailable: 2 are all machines of the pool"},
		func(c *cluster.Config) { c.Pools[0].MaxUnavailable = 2 }},
	{"image-by-name", []string{"image.name: debian-12 is not the ID of an image"},
		func(c *cluster.Config) { c.Image = cluster.Image{Name: "debian-12"} }},
	{"images-by-tag",
		[]string{"artifacts.registryMirrors[quay.io]: is not set, and quay.io/calico/cni:v3.28.5 has a tag but no digest"},
		func(c *cluster.Config) { c.Artifacts.RegistryMirrors = nil }},
}

// TestViolations checks each configuration of violations, with and without a waiver.
func TestViolations(t *testing.T) {
	untested := map[string]bool{"worker-private-key": false} // TestWorkerWithPrivateKey
	for _, rule := range builtIn {
		if _, known := untested[rule.ID]; !known {
			untested[rule.ID] = true
		}
	}
	for _, row := range violations {
		untested[row.rule] = false
		t.Run(row.want[0], func(t *testing.T) {
			warnings, errs := check(builtIn, stack(t, cluster.NewPlan(config(t, row.change))))
			rule, effective, other := ruleNamed(t, row.rule), errs, warnings
			if rule.Level == Warning {
				effective, other = warnings, errs
			}
			assert.Empty(t, other)
			require.Len(t, effective, len(row.want), "%s", effective)
			for i, want := range row.want {
				assert.Equal(t, want, effective[i].Error()[:len(want)])
				assert.Contains(t, effective[i].Message, rule.Reason+" "+rule.Remedy)
				assert.Contains(t, effective[i].Message, " policy.waivers."+rule.ID+" ")
			}

			waived := config(t, row.change, waive(row.rule, "a reason"))
			warnings, errs = check(builtIn, stack(t, cluster.NewPlan(waived)))
			assert.Empty(t, warnings)
			assert.Empty(t, errs)
		})
	}
	for id, missing := range untested {
		assert.False(t, missing, "%s: no configuration in this test breaks this rule", id)
	}
}

func ruleNamed(t *testing.T, id string) Rule {
	t.Helper()
	for _, rule := range Rules() {
		if rule.ID == id {
			return rule
		}
	}
	t.Fatalf("no rule is named %s", id)
	return Rule{}
}

func waive(id, reason string) func(*cluster.Config) {
	return func(c *cluster.Config) { c.Policy.Waivers = map[string]string{id: reason} }
}

// TestFollowers checks configurations close to a violation.
func TestFollowers(t *testing.T) {
	for name, change := range map[string]func(*cluster.Config){
		"all rules": func(*cluster.Config) {},
		"the largest private network": func(c *cluster.Config) {
			c.SSH.AllowedCIDRs, c.API.AllowedCIDRs = cidrs("10.0.0.0/8"), cidrs("10.0.0.0/8")
			c.Network.AllowedCIDRs = cidrs("10.0.0.0/8")
		},
		"Nova chooses zones": func(c *cluster.Config) { c.Etcd.Zones, c.ControlPlane.Zones = nil, nil },
		"five members":       func(c *cluster.Config) { c.Etcd.Count = 5 },
		"two zones for control planes": func(c *cluster.Config) {
			c.ControlPlane.Count, c.ControlPlane.Zones = 2, []string{"a", "b"}
		},
		"a pool of one":    func(c *cluster.Config) { c.Pools[0].Count = 1 },
		"a pool in halves": func(c *cluster.Config) { c.Pools[0].Count, c.Pools[0].MaxUnavailable = 4, 2 },
	} {
		t.Run(name, func(t *testing.T) {
			warnings, errs := check(builtIn, stack(t, cluster.NewPlan(config(t, change))))
			assert.Empty(t, warnings)
			assert.Empty(t, errs)
		})
	}
	s := stack(t, cluster.NewPlan(config(t, func(c *cluster.Config) { c.Artifacts.RegistryMirrors = nil })))
	s.Images = []string{"quay.io/calico/node@sha256:0", "registry.k8s.io/pause:3.10.2"}
	warnings, _ := check(builtIn, s)
	assert.Empty(t, warnings, "images by digest")
}

// TestWorkerWithPrivateKey adds a private key to a worker's plan. No configuration can.
func TestWorkerWithPrivateKey(t *testing.T) {
	plan := cluster.NewPlan(config(t))
	worker := &plan.Machines[len(plan.Machines)-2]
	require.Equal(t, "test-general-0", worker.ID)
	worker.PKI = append(worker.PKI, cluster.PKIFile{Path: "/etc/kubernetes/pki/node.key", Of: []string{"node"},
		Part: cluster.PartPrivateKey})
	warnings, errs := check(builtIn, stack(t, plan))
	assert.Empty(t, warnings)
	require.Len(t, errs, 1)
	assert.Contains(t, errs[0].Error(), "pools[0]: the user-data of its machines has a private key. ")
}

// TestDevcloud checks that rules about production are silent on devcloud, and that all others are not.
func TestDevcloud(t *testing.T) {
	warnings, errs := check(builtIn, stack(t, cluster.NewPlan(config(t, func(c *cluster.Config) {
		c.Devcloud, c.Protect, c.Etcd.Count = true, false, 1
		c.SSH.AllowedCIDRs = cidrs("0.0.0.0/0")
	}))))
	assert.Empty(t, warnings)
	require.Len(t, errs, 1)
	assert.Equal(t, "ssh.allowedCIDRs[0]", errs[0].Path)
}

func TestWrongWaivers(t *testing.T) {
	unprotected := func(c *cluster.Config) { c.Protect = false }
	for _, row := range []struct {
		name, rule, reason, want string
		changes                  []func(*cluster.Config)
	}{
		{"unknown", "ssh-opne", "a typing error",
			"policy.waivers.ssh-opne: is not a rule: docs/policy.md lists all rules", nil},
		{"not needed", "ssh-open", "a jump host",
			"policy.waivers.ssh-open: must be removed, because the stack does not break this rule", nil},
		{"no reason for a warning", "etcd-unprotected", "",
			"policy.waivers.etcd-unprotected: must be set to the reason why the stack breaks this rule",
			[]func(*cluster.Config){unprotected}},
		{"white space for a warning", "etcd-unprotected", " \t",
			"policy.waivers.etcd-unprotected: must be set to the reason why the stack breaks this rule",
			[]func(*cluster.Config){unprotected}},
		{"no reason for an error", "api-open", "",
			"policy.waivers.api-open: must be set to the reason why the stack breaks this rule",
			[]func(*cluster.Config){func(c *cluster.Config) { c.API.AllowedCIDRs = cidrs("0.0.0.0/0") }}},
		{"not checked on devcloud", "etcd-unprotected", "a test",
			"policy.waivers.etcd-unprotected: must be removed, because the stack does not break this rule",
			[]func(*cluster.Config){unprotected, func(c *cluster.Config) { c.Devcloud = true }}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := config(t, append(row.changes, waive(row.rule, row.reason))...)
			warnings, errs := check(builtIn, stack(t, cluster.NewPlan(c)))
			assert.Empty(t, warnings)
			assert.Equal(t, "1 error:\n  "+row.want, errs.Error())
		})
	}
}

// TestRulesAreComplete checks all rules, also those of an organisation.
func TestRulesAreComplete(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+(-[a-z]+)+$`)
	seen := map[string]bool{}
	for _, rule := range Rules() {
		assert.Regexp(t, name, rule.ID)
		assert.False(t, seen[rule.ID], "%s: two rules have this ID", rule.ID)
		seen[rule.ID] = true
		assert.Contains(t, []Level{Error, Warning}, rule.Level, rule.ID)
		assert.NotEmpty(t, rule.When, rule.ID)
		assert.False(t, strings.HasSuffix(rule.When, "."), rule.ID)
		for _, sentence := range []string{rule.Reason, rule.Remedy} {
			assert.True(t, strings.HasSuffix(sentence, "."), "%s: %q must be a sentence", rule.ID, sentence)
		}
	}
}

// TestErrorsOfRules shows what a user reads.
func TestErrorsOfRules(t *testing.T) {
	_, errs := check(builtIn, stack(t, cluster.NewPlan(config(t, func(c *cluster.Config) {
		c.SSH.AllowedCIDRs = cidrs("0.0.0.0/0")
	}))))
	assert.Equal(t, field.Errors{{
		Path: "ssh.allowedCIDRs[0]",
		Message: "0.0.0.0/0 is open to the world. Everybody on the internet can attack the SSH server, or use a stolen " +
			"key. List only the networks of the operators in `ssh.allowedCIDRs`. Or set policy.waivers.ssh-open to a reason.",
	}}, errs)
}
