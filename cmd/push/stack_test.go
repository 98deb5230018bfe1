package main

import (
	"encoding/base64"
	"os"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/program"
)

// cloud is a mock that creates the declared resources, and records them in a state in the format of `pulumi
// stack export`.
type cloud struct {
	mu       sync.Mutex
	state    map[key]stateResource
	userData map[string]string
}

func (c *cloud) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if data := args.Inputs["userData"]; data.IsSecret() {
		c.userData[args.Name] = data.SecretValue().Element.StringValue()
	}
	id := "id of " + args.Name
	outputs := map[string]any{"certPem": "certificate " + args.Name, "certRequestPem": "request " + args.Name,
		"address": "203.0.113.10"}
	for _, output := range []string{"privateKeyPem", "privateKeyOpenssh", "publicKeyPem", "publicKeyOpenssh", "secret"} {
		outputs[output] = map[string]any{resource.SigKey: resource.SecretSig, "plaintext": `"PRIVATE ` + args.Name + `"`}
	}
	c.state[key{tokens.Type(args.TypeToken), args.Name}] = stateResource{ID: id, Outputs: outputs}
	return id, resource.NewPropertyMapFromMapRepl(outputs, nil, secret), nil
}

func (c *cloud) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) {
	panic("the program must call no provider function")
}

// TestUserData checks that push renders the same user-data as the program did when it created the stack.
func TestUserData(t *testing.T) {
	text, err := os.ReadFile("../../cluster/testdata/small.yaml")
	require.NoError(t, err)
	text = append(text, "policy: {waivers: {no-resolver: the DHCP agent resolves names}}\n"...)
	object, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	c := &cloud{state: map[key]stateResource{}, userData: map[string]string{}}
	s := stack{"dev", map[string]string{"kubernetes-openstack:cluster": string(object)}, c.state}
	mocks := pulumi.WithMocks("kubernetes-openstack", s.name, c)
	require.NoError(t, pulumi.RunErr(program.Run(nil, nil, openstack.Environment{}), mocks, func(info *pulumi.RunInfo) {
		info.Config, info.DryRun = s.config, true
	}))
	require.NotEmpty(t, c.userData)
	for machine, want := range c.userData {
		got, err := s.userData(machine)
		require.NoError(t, err)
		assert.Equal(t, want, got, machine)
		zipped, err := base64.StdEncoding.DecodeString(got)
		require.NoError(t, err)
		all, err := files(zipped)
		require.NoError(t, err)
		assert.Contains(t, all, "/usr/local/sbin/first-boot")
	}

	_, err = s.userData("dev-worker-9")
	assert.ErrorContains(t, err, "stack dev has no machine dev-worker-9 with known user-data")
	delete(c.state, key{"openstack:compute/keypair:Keypair", "dev"})
	_, err = s.userData("dev-worker-0")
	assert.ErrorContains(t, err,
		"openstack:compute/keypair:Keypair dev is not in the state of stack dev: run `pulumi up` first")
}
