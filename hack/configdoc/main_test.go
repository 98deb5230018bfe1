package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/field"
)

const root = "../.."

func TestDocumentIsCurrent(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, document))
	require.NoError(t, err)
	want, err := generate(root, text)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(text), "%s is stale: run go generate ./cluster", document)
}

// keys returns all keys by their path.
func keys(t *testing.T) map[string]Key {
	t.Helper()
	comments, err := readComments(filepath.Join(root, source))
	require.NoError(t, err)
	sections, err := collect(comments, cluster.Defaults(""))
	require.NoError(t, err)
	all := map[string]Key{}
	for _, section := range sections {
		for _, key := range section.Keys {
			require.NotContains(t, all, key.Path)
			all[key.Path] = key
		}
	}
	require.Greater(t, len(all), 90)
	return all
}

// Objects are configurations that contain every required key, one of each kind of network.
const (
	tenantObject = `
image: {id: 11111111-1111-1111-1111-111111111111}
network:
  cidr: 10.0.0.0/24
  external: {id: 22222222-2222-2222-2222-222222222222, name: public}
bgp:
  peers: [{address: 192.0.2.1, asNumber: 65001}]
openstack: {authURL: "https://keystone.example.com:5000/v3"}
dns:
  stubDomains: [{domain: lab.example, servers: [192.0.2.53]}]
storage:
  classes: [{name: a, default: true}]
tenancy: {enabled: true, reader: {username: reader, password: secret}}
api: {floatingIP: true}
etcd: {flavor: small, addresses: 10.0.0.16/28, backup: {container: a}}
controlPlane:
  count: 2
  flavor: medium
  addresses: 10.0.0.32/28
  zones: [az1]
  taints: [{key: example.com/a, effect: PreferNoSchedule}]
pools:
  - name: a
    count: 2
    flavor: large
    addresses: 10.0.0.64/26
    zones: [az1]
    taints: [{key: example.com/a, effect: NoSchedule}]
artifacts:
  mirror: https://mirror.example.com
  username: machines
  password: secret
`
	providerChange = `
network: {mode: provider, networkID: 33333333-3333-3333-3333-333333333333,
  subnetID: 44444444-4444-4444-4444-444444444444, external: null}
api: {floatingIP: false, address: 10.0.0.10}
`
)

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &out))
	return out
}

// objects returns new copies.
func objects(t *testing.T) map[string]map[string]any {
	t.Helper()
	return map[string]map[string]any{
		"tenant":   object(t, tenantObject),
		"provider": merge(object(t, tenantObject), object(t, providerChange)).(map[string]any),
	}
}

// at returns an object that contains only the value at a path.
func at(path string, value any) map[string]any {
	head, rest, more := strings.Cut(path, ".")
	if more {
		value = at(rest, value)
	}
	if name, list := strings.CutSuffix(head, "[]"); list {
		return map[string]any{name: []any{value}}
	}
	return map[string]any{head: value}
}

// errorAt returns the first error at the path, at an object around it or at a key inside it.
func errorAt(err error, path string) error {
	path = strings.ReplaceAll(path, "[]", "[0]")
	var errs field.Errors
	if errors.As(err, &errs) {
		for _, e := range errs {
			if e.Path == path || strings.HasPrefix(e.Path, path+".") ||
				strings.HasPrefix(path, e.Path+".") || strings.HasPrefix(path, e.Path+"[") {
				return e
			}
		}
	}
	return nil
}

// alternatives are keys that exclude each other.
var alternatives = map[string]string{"image.id": "image.name", "image.name": "image.id"}

// companions are keys without which a key is not valid.
var companions = map[string]map[string]any{
	"proxy.noProxy":                            at("proxy.https", "http://proxy.example.com:3128"),
	"etcd.rootVolume.type":                     at("etcd.rootVolume.size", 40),
	"controlPlane.rootVolume.type":             at("controlPlane.rootVolume.size", 40),
	"pools[].rootVolume.type":                  at("pools[].rootVolume.size", 40),
	"openstack.applicationCredential.id":       at("openstack.applicationCredential.secret", "secret"),
	"openstack.applicationCredential.secret":   at("openstack.applicationCredential.id", strings.Repeat("0", 32)),
	"etcd.backup.applicationCredential.id":     at("etcd.backup.applicationCredential.secret", "secret"),
	"etcd.backup.applicationCredential.secret": at("etcd.backup.applicationCredential.id", strings.Repeat("0", 32)),
	"monitoring.storageClass":                  at("storage.classes", []any{map[string]any{"name": "ssd"}}),
	"etcd.volume.zones":                        at("etcd.zones", []any{"az1"}),
}

func TestObjectsAreValid(t *testing.T) {
	for name, base := range objects(t) {
		_, err := decode(base)
		assert.NoError(t, err, name)
	}
}

func TestExamplesAreValid(t *testing.T) {
	for path, key := range keys(t) {
		if strings.HasSuffix(path, ".caCertificate") || path == "monitoring.alertmanager" {
			continue // a file does not fit into a table
		}
		t.Run(path, func(t *testing.T) {
			var value any
			require.NoError(t, yaml.UnmarshalStrict([]byte(key.Example), &value), key.Example)
			var errs []error
			for _, base := range objects(t) {
				base = merge(base, at(alternatives[path], nil)).(map[string]any)
				base = merge(base, companions[path]).(map[string]any)
				changed := merge(base, at(path, value)).(map[string]any)
				if _, err := decode(changed); err != nil {
					errs = append(errs, err)
				}
			}
			assert.Less(t, len(errs), 2, "%s is invalid in both kinds of network: %v", key.Example, errs)
		})
	}
}

func TestRequiredKeysAreRequired(t *testing.T) {
	for path, key := range keys(t) {
		if key.FromCode {
			continue
		}
		t.Run(path, func(t *testing.T) {
			var errs []string
			for name, base := range objects(t) {
				without := merge(base, at(path, nil)).(map[string]any)
				if alternative := alternatives[path]; alternative != "" {
					without = merge(without, at(alternative, nil)).(map[string]any)
				}
				if _, err := decode(without); err != nil {
					require.Error(t, errorAt(err, path), "of %s: %s", path, err)
					errs = append(errs, name)
				}
			}
			switch {
			case key.Default == "required":
				assert.Len(t, errs, 2, "not required, only in: %s", errs)
			case strings.Contains(key.Default, "required"):
				assert.NotEmpty(t, errs, "not required")
			default:
				assert.Empty(t, errs, "required, but its default is: %s", key.Default)
			}
		})
	}
}

// Each default that the code derives is compared with a plan.
func TestDerivedDefaults(t *testing.T) {
	all := keys(t)
	plans := map[string]cluster.Plan{}
	for name, base := range objects(t) {
		c, err := decode(base)
		require.NoError(t, err)
		plans[name] = cluster.NewPlan(c)
	}
	tenant, provider := plans["tenant"], plans["provider"]
	class := tenant.StorageClasses[0]
	octavia := tenant.OpenStack
	octavia.LoadBalancer = cluster.Octavia
	noClasses := tenant.Config
	noClasses.Storage.Classes = nil
	only := cluster.NewPlan(noClasses).StorageClasses
	require.Len(t, only, 1)
	require.Equal(t, "10.0.0.10", tenant.API.Address.String(), "the tenth address")
	require.Equal(t, "test", tenant.Name, "the name of the stack")
	both := tenant.Config
	both.BGP.Peers = slices.Clone(both.BGP.Peers)
	both.BGP.Peers[0].Export = []string{cluster.ExportPods, cluster.ExportServices}
	require.Equal(t, tenant.BGPPeers, cluster.NewPlan(both).BGPPeers)
	mapping, err := os.ReadFile(filepath.Join(root, "internal/tenancy/mapping.go"))
	require.NoError(t, err)
	list := func(items []string) string { return "`[" + strings.Join(items, ", ") + "]`" }
	roles := list(tenant.OpenStack.CredentialRoles()) + ", with Octavia " + list(octavia.CredentialRoles())
	derived := map[string]string{
		"name":        "name of the stack",
		"api.address": "tenth address of `network.cidr`; required in a provider network",
		"calico.natOutgoing": fmt.Sprintf("`%v` in a tenant network, `%v` in a provider network",
			tenant.IPPool.NATOutgoing, provider.IPPool.NATOutgoing),
		"bgp.peers[].keepOriginalNextHop":        fmt.Sprintf("`%v`", tenant.BGPPeers[0].KeepOriginalNextHop),
		"bgp.peers[].export":                     list(both.BGP.Peers[0].Export),
		"openstack.roles":                        roles,
		"storage.classes":                        fmt.Sprintf("`[{name: %s, default: %v}]`", only[0].Name, only[0].Default),
		"storage.classes[].fileSystem":           "`" + class.FileSystem + "`",
		"storage.classes[].volumeBindingMode":    "`" + class.VolumeBindingMode + "`",
		"storage.classes[].allowVolumeExpansion": fmt.Sprintf("`%v`", *class.AllowVolumeExpansion),
		"storage.classes[].reclaimPolicy":        "`" + class.ReclaimPolicy + "`",
		"etcd.backup.roles":                      list(tenant.Etcd.Backup.CredentialRoles()),
		"pools[].maxUnavailable":                 fmt.Sprintf("`%d`", tenant.WithRole(cluster.RoleWorker)[0].MaxUnavailable),
		"tenancy.roles":                          rolesIn(t, string(mapping)),
	}
	for path, want := range derived {
		assert.Equal(t, want, all[path].Default, path)
	}
	for path, key := range all {
		if _, ok := derived[path]; !ok && !key.FromCode {
			assert.Regexp(t, "^(none|required)", key.Default, "%s: the default needs a row in this test", path)
		}
	}
}

// rolesIn returns the default of tenancy.roles, a variable that package tenancy does not export.
func rolesIn(t *testing.T, source string) string {
	t.Helper()
	line := regexp.MustCompile(`(?m)^var defaultRoles = .*\{(.*)\}$`).FindStringSubmatch(source)
	require.NotNil(t, line)
	return "`{" + strings.ToLower(strings.ReplaceAll(line[1], `"`, "")) + "}`"
}

func TestCommentsWithoutTextAreErrors(t *testing.T) {
	comments, err := readComments(filepath.Join(root, source))
	require.NoError(t, err)
	broken := maps.Clone(comments)
	broken["SSH.AllowedCIDRs"] = Comment{Meaning: "Networks.", Default: "none"}
	broken["Calico.Version"] = Comment{Meaning: "Version.", Default: "`3.28.5`"}
	_, err = collect(broken, cluster.Defaults(""))
	assert.EqualError(t, err, "ssh.allowedCIDRs: the comment of SSH.AllowedCIDRs must have a line `Example:`\n"+
		"Calico.Version: remove its line `Default:`, because Defaults sets the value")
}

func TestInsertNeedsMarkers(t *testing.T) {
	_, err := insert([]byte("# Configuration\n"), "")
	assert.ErrorContains(t, err, "must contain the lines")
	text, err := insert([]byte("before\n"+begin+"old\n"+end+"after\n"), "new\n")
	require.NoError(t, err)
	assert.Equal(t, "before\n"+begin+"\nnew\n\n"+end+"after\n", string(text))
}
