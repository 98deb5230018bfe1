// Package tests tests the whole program: under mocks, and with the real engine on a real OpenStack (build tag
// e2e).
package tests

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/internal/bootstraptoken"
	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/program"
	"kubernetes-openstack/tests/golden"
)

// crypters caches one crypter for each salt, because the derivation of a key takes a million rounds of
// SHA-256.
var crypters sync.Map

// cachedCrypter returns the crypter of a stack's file with this salt. The passphrase is devcloud.
func cachedCrypter(encryptionSalt string) (config.Crypter, error) {
	cached, _ := crypters.LoadOrStore(encryptionSalt, sync.OnceValues(func() (config.Crypter, error) {
		salt, err := base64.StdEncoding.DecodeString(strings.Split(encryptionSalt, ":")[1])
		return config.NewSymmetricCrypterFromPassphrase("devcloud", salt), err
	}))
	return cached.(func() (config.Crypter, error))()
}

// stackConfig returns the configuration that Pulumi passes to the program for a stack's file: objects as
// JSON, and all values decrypted.
func stackConfig(t testing.TB, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var stack struct {
		Config         config.Map
		EncryptionSalt string
	}
	require.NoError(t, yaml.Unmarshal(text, &stack))
	var crypter config.Decrypter = config.NopDecrypter
	if stack.EncryptionSalt != "" {
		crypter, err = cachedCrypter(stack.EncryptionSalt)
		require.NoError(t, err)
	}
	decrypted, err := stack.Config.Decrypt(crypter)
	require.NoError(t, err)
	passed := map[string]string{}
	for key, value := range decrypted {
		passed[key.String()] = value
	}
	return passed
}

// edited returns the configuration of a stack's file, after edit has changed its text.
func edited(t testing.TB, file string, edit func(string) string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	copied := t.TempDir() + "/stack.yaml"
	require.NoError(t, os.WriteFile(copied, []byte(edit(string(text))), 0o600))
	return stackConfig(t, copied)
}

// replaced returns an edit that replaces old, which must occur exactly once, with new.
func replaced(t testing.TB, old, new string) func(string) string {
	return func(text string) string {
		require.Equal(t, 1, strings.Count(text, old), old)
		return strings.Replace(text, old, new, 1)
	}
}

// ran caches the results of run by stack and configuration. Tests must not change the results.
var ran sync.Map

// run runs the program under mocks like an `up` whose machines are ready at once, and returns the declared
// resources.
func run(t *testing.T, stack string, config map[string]string) (*recorder, error) {
	t.Helper()
	cached, _ := ran.LoadOrStore(fmt.Sprint(stack, config), sync.OnceValues(func() (*recorder, error) {
		r := &recorder{}
		return r, runWith(r, stack, config, &watcher{}, false)
	}))
	return cached.(func() (*recorder, error))()
}

func runWith(r *recorder, stack string, config map[string]string, w *watcher, preview bool) error {
	return runIn(openstack.Environment{}, r, stack, config, w, preview)
}

func runIn(environment openstack.Environment, r pulumi.MockResourceMonitor, stack string, config map[string]string,
	w *watcher, preview bool) error {
	return pulumi.RunErr(program.Run(w, w.Tenants, environment), pulumi.WithMocks("kubernetes-openstack", stack, r),
		func(info *pulumi.RunInfo) { info.Config, info.DryRun = config, preview })
}

// recorder is a mock of the cloud. It records the declared resources, and returns IDs and keys that contain
// the names of their resources.
type recorder struct {
	// renamed is the output of the provider teardown: former IDs of machines.
	renamed map[string]any

	mu        sync.Mutex
	resources []pulumi.MockResourceArgs
}

func (r *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resources = append(r.resources, args)
	short := args.TypeToken[strings.LastIndex(args.TypeToken, ":")+1:]
	out := args.Inputs.Copy()
	secret := func(s string) resource.PropertyValue { return resource.MakeSecret(resource.NewStringProperty(s)) }
	switch short {
	case "PrivateKey":
		out["privateKeyPem"] = secret("PRIVATE KEY " + args.Name)
		out["privateKeyOpenssh"] = secret("PRIVATE KEY " + args.Name)
		out["publicKeyPem"] = resource.NewStringProperty("public key " + args.Name)
		out["publicKeyOpenssh"] = resource.NewStringProperty("ssh-ed25519 " + args.Name)
	case "SelfSignedCert", "LocallySignedCert":
		out["certPem"] = resource.NewStringProperty("certificate " + args.Name)
	case "CertRequest":
		out["certRequestPem"] = resource.NewStringProperty("request " + args.Name)
	case "ApplicationCredential":
		out["secret"] = resource.MakeSecret(resource.NewStringProperty("secret of " + args.Name))
	case "teardown":
		if r.renamed != nil {
			out["renamed"] = resource.NewObjectProperty(resource.NewPropertyMapFromMap(r.renamed))
		}
	case "SecGroup":
		out["tenantId"] = resource.NewStringProperty("project")
	case "LoadBalancer":
		out["vipPortId"] = resource.NewStringProperty("Port/" + args.Name)
	case "FloatingIp":
		out["address"] = resource.NewStringProperty("203.0.113.10")
	}
	return short + "/" + args.Name, out, nil
}

// Call panics, because the program must not look up anything: a preview must need no network.
func (r *recorder) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	panic("the program calls " + args.Token)
}

func (r *recorder) named(token, name string) pulumi.MockResourceArgs {
	for _, res := range r.resources {
		if res.TypeToken == token && res.Name == name {
			return res
		}
	}
	return pulumi.MockResourceArgs{}
}

// stacks returns the configurations of three clusters: the development cluster, a cluster in its own network,
// and the production example.
func stacks(t *testing.T) map[string]map[string]string {
	t.Helper()
	return map[string]map[string]string{
		"dev":    stackConfig(t, "../Pulumi.dev.yaml"),
		"tenant": edited(t, "../Pulumi.dev.yaml", patched(t, "tenant.yaml")),
		"prod":   stackConfig(t, "../examples/Pulumi.prod.yaml"),
	}
}

// TestResourceGraph checks the whole resource graph of the development cluster, of a cluster in its own
// network, and of the documented production stack. The graph is the same in a preview, which sends no request
// to the cloud.
func TestResourceGraph(t *testing.T) {
	t.Parallel()
	for stack, config := range stacks(t) {
		t.Run(stack, func(t *testing.T) {
			t.Parallel()
			r, err := run(t, stack, config)
			require.NoError(t, err)
			golden.Check(t, stack+".golden", graph(r.resources))

			preview, w := &recorder{}, &watcher{}
			require.NoError(t, runWith(preview, stack, config, w, true))
			const project = "    project: project\n" // a preview does not need the project, because it needs no cloud
			assert.Equal(t, strings.Replace(graph(r.resources), project, "", 1), graph(preview.resources))
			assert.Empty(t, w.calls)
		})
	}
}

// TestOctavia checks that Octavia has the API's address, and that no machine may use it.
func TestOctavia(t *testing.T) {
	t.Parallel()
	r, err := run(t, "prod",
		edited(t, "../examples/Pulumi.prod.yaml", replaced(t, "loadBalancer: keepalived", "loadBalancer: octavia")))
	require.NoError(t, err)
	var endpoint []pulumi.MockResourceArgs
	for _, res := range r.resources {
		if strings.Contains(res.RegisterRPC.GetParent(), "infra:Endpoint::") ||
			strings.HasSuffix(res.TypeToken, ":Endpoint") {
			endpoint = append(endpoint, res)
		}
		assert.NotContains(t, plain(res.Inputs["allowedAddressPairs"]), "10.20.0.10", res.Name)
		assert.NotContains(t, plain(res.Inputs["protocol"]), "vrrp", res.Name)
	}
	golden.Check(t, "octavia.golden", graph(endpoint))
	for _, f := range writtenFiles(t, r.named("openstack:compute/instance:Instance", "prod-control-plane-0")) {
		assert.NotContains(t, f.Path, "keepalived")
	}
}

// TestUserDataHasOnlyTheRolesSecrets checks the secrets in user-data. A worker runs pods of other people, so it
// gets certificates of authorities, but no key.
func TestUserDataHasOnlyTheRolesSecrets(t *testing.T) {
	t.Parallel()
	r, err := run(t, "dev", stackConfig(t, "../Pulumi.dev.yaml"))
	require.NoError(t, err)
	const instance = "openstack:compute/instance:Instance"
	for name, want := range map[string][]string{
		"dev-worker-0": nil,
		"dev-etcd-0":   {"dev-etcd-0-server", "dev-etcd-0-peer", "dev-etcd-root"},
		"dev-control-plane-1": {
			"dev-service-account", "dev-kubernetes-node-ca", "dev-control-plane-1-apiserver", "dev-apiserver-kubelet-client",
			"dev-etcd-apiserver", "dev-front-proxy-client", "dev-controller-manager", "dev-scheduler",
			"dev-node-approver", "dev-admin", "dev-etcd-calico", "dev-etcd-calico-node", "dev-control-plane-1-keystone-auth",
			"dev-tenant-sync",
		},
	} {
		files := writtenFiles(t, r.named(instance, name))
		var keys []string
		for _, f := range files {
			if key, ok := strings.CutPrefix(f.Content, "PRIVATE KEY "); ok {
				keys = append(keys, strings.TrimSpace(key))
				assert.Equal(t, "0600", f.Permissions, f.Path)
			}
			if f.Path == "/etc/kubernetes/pki/client-ca.crt" {
				assert.Equal(t, "certificate dev-kubernetes-cacertificate dev-kubernetes-node-ca", f.Content)
			}
		}
		assert.ElementsMatch(t, want, keys, name)
	}
}

// TestDerivedSecrets checks that each node has its own seed of bootstrap tokens, and a worker no secret of other roles.
func TestDerivedSecrets(t *testing.T) {
	t.Parallel()
	r, err := run(t, "dev", stackConfig(t, "../Pulumi.dev.yaml"))
	require.NoError(t, err)
	digest := func(key string) string {
		sum := sha256.Sum256([]byte("PRIVATE KEY " + key))
		return hex.EncodeToString(sum[:])
	}
	encryption, err := hex.DecodeString(digest("dev-encryption"))
	require.NoError(t, err)
	all, seeds := map[string]string{}, map[string]string{}
	for _, name := range []string{"dev-worker-0", "dev-worker-1", "dev-control-plane-0", "dev-etcd-0"} {
		for _, f := range writtenFiles(t, r.named("openstack:compute/instance:Instance", name)) {
			all[name] += f.Content
			if f.Path == "/etc/kubernetes/bootstrap-seed" {
				assert.Equal(t, "0600", f.Permissions)
				seeds[name] = strings.TrimSpace(f.Content)
			}
		}
	}
	want := map[string]string{}
	for name, address := range map[string]string{
		"dev-worker-0": "10.0.0.64", "dev-worker-1": "10.0.0.65", "dev-control-plane-0": "10.0.0.32",
	} {
		want[name] = string(bootstraptoken.NewSeed(digest("dev-bootstrap"), name, netip.MustParseAddr(address)))
	}
	assert.Equal(t, want, seeds)
	assert.Contains(t, all["dev-control-plane-0"], base64.StdEncoding.EncodeToString(encryption))
	assert.NotContains(t, all["dev-worker-0"], base64.StdEncoding.EncodeToString(encryption))
	for _, text := range all {
		assert.NotContains(t, text, digest("dev-bootstrap"), "it is the key of all seeds")
	}
}

// TestConfigurationErrors checks that the program reports all errors of a configuration before it declares
// any resource.
func TestConfigurationErrors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../cluster/testdata/ten-mistakes.yaml")
	require.NoError(t, err)
	object, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	want, err := os.ReadFile("../cluster/testdata/ten-mistakes.txt")
	require.NoError(t, err)

	r, err := run(t, "dev", map[string]string{"kubernetes-openstack:cluster": string(object)})
	require.Error(t, err)
	assert.Contains(t, err.Error(), strings.TrimSpace(string(want)))
	assert.Empty(t, r.resources)

	_, err = run(t, "dev", nil)
	assert.ErrorContains(t, err, "kubernetes-openstack:cluster is not set in Pulumi.dev.yaml")
}

// TestPasswordOfAPeer checks that the user-data of control planes has the password of a BGP peer once, and that the
// user-data of other machines does not have it.
func TestPasswordOfAPeer(t *testing.T) {
	t.Parallel()
	text, markers := markedConfig(t)
	r := markedRun(t, text)
	password := markers["bgp.peers[0].password"]
	require.NotEmpty(t, password)
	for name, times := range map[string]int{"dev-control-plane-0": 1, "dev-worker-0": 0, "dev-etcd-0": 0} {
		var all string
		for _, f := range writtenFiles(t, r.named("openstack:compute/instance:Instance", name)) {
			all += f.Content
		}
		assert.Equal(t, times, strings.Count(all, base64.StdEncoding.EncodeToString([]byte(password))), name)
		assert.NotContains(t, all, password, name)
	}
}

func TestUnknownKeyBesideTheCluster(t *testing.T) {
	t.Setenv(pulumi.EnvConfig, `{"kubernetes-openstack:clutser": "{}"}`)
	err := runWith(&recorder{}, "dev", nil, &watcher{}, false)
	assert.ErrorContains(t, err, "kubernetes-openstack:clutser: unknown key")
}
