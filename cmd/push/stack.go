package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/program"
)

// stack is the configuration and the state of a stack, with secrets in plain text.
type stack struct {
	name      string
	config    map[string]string
	resources map[key]stateResource
}

// key is the type and name of a resource, which are unique in the program.
type key struct {
	typ  tokens.Type
	name string
}

// stateResource is a resource in the format of `pulumi stack export`.
type stateResource struct {
	URN     resource.URN
	ID      string
	Delete  bool
	Outputs map[string]any
}

func readStack(ctx context.Context, name string) (stack, error) {
	var config map[string]struct{ Value string }
	var export struct {
		Deployment struct{ Resources []stateResource }
	}
	for _, command := range []struct {
		args []string
		into any
	}{
		{[]string{"config", "--json", "--show-secrets", "--stack", name}, &config},
		{[]string{"stack", "export", "--show-secrets", "--stack", name}, &export},
	} {
		text, err := output(exec.CommandContext(ctx, "pulumi", command.args...), nil)
		if err != nil {
			return stack{}, err
		}
		if err := json.Unmarshal(text, command.into); err != nil {
			return stack{}, fmt.Errorf("pulumi %s: %w", command.args[0], err)
		}
	}
	s := stack{name, map[string]string{}, map[key]stateResource{}}
	for name, entry := range config {
		s.config[name] = entry.Value
	}
	for _, r := range export.Deployment.Resources {
		if !r.Delete {
			s.resources[key{r.URN.Type(), r.URN.Name()}] = r
		}
	}
	return s, nil
}

// userData runs the program with the resources of the state, and returns the user-data that it declares for a
// machine.
func (s stack) userData(machine string) (string, error) {
	m := &monitor{stack: s, machine: machine}
	mocks := pulumi.WithMocks("kubernetes-openstack", s.name, m)
	err := pulumi.RunErr(program.Run(nil, nil, openstack.Environment{}), mocks, func(info *pulumi.RunInfo) {
		info.Config, info.DryRun = s.config, true
	})
	if err == nil && m.userData == "" {
		err = fmt.Errorf("stack %s has no machine %s with known user-data: `pulumi stack output machines` lists the machines",
			s.name, machine)
	}
	return m.userData, err
}

// monitor is a mock of the engine, which answers the program's requests from the state.
type monitor struct {
	stack
	machine string

	mu       sync.Mutex
	userData string
}

func (m *monitor) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	r, known := m.resources[key{tokens.Type(args.TypeToken), args.Name}]
	if !known {
		return "", nil, fmt.Errorf("%s %s is not in the state of stack %s: run `pulumi up` first", args.TypeToken, args.Name,
			m.name)
	}
	if data := args.Inputs["userData"]; args.Name == m.machine && data.IsSecret() &&
		data.SecretValue().Element.IsString() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.userData = data.SecretValue().Element.StringValue()
	}
	return r.ID, resource.NewPropertyMapFromMapRepl(r.Outputs, nil, secret), nil
}

// secret decodes a secret of the state: an object whose plaintext is JSON. It returns false for any other
// value.
func secret(v any) (resource.PropertyValue, bool) {
	object, _ := v.(map[string]any)
	text, isText := object["plaintext"].(string)
	var plain any
	if object[resource.SigKey] != resource.SecretSig || !isText || json.Unmarshal([]byte(text), &plain) != nil {
		return resource.PropertyValue{}, false
	}
	return resource.MakeSecret(resource.NewPropertyValueRepl(plain, nil, secret)), true
}

func (m *monitor) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	return nil, fmt.Errorf("push does not support the provider function %s, which the program calls: use `pulumi up`",
		args.Token)
}
