// Package parity compares a bridged provider with the sources of the Pulumi Go SDK that it serves.
package parity

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// members has the inputs of resources and functions, sorted, by their token. A list is written name[].
type members map[string][]string

// Test fails unless provider serves exactly the resources and functions that the SDK, a Go module, calls for, and
// every input that the SDK can send to each.
func Test(t *testing.T, sdk string, provider tfbridge.ProviderInfo) {
	want, got := used(t, sdk), served(provider)
	require.NotEmpty(t, want, "no token found in the sources of %s", sdk)
	for token, inputs := range want {
		if has, ok := got[token]; assert.True(t, ok, "%s is not served", token) {
			assert.Subset(t, has, inputs, token)
		}
	}
	for token := range got {
		assert.Contains(t, want, token, "the SDK does not know it")
	}
}

// Tokens are the tokens in the sources of the SDK, sorted.
func Tokens(t *testing.T, sdk string) []string {
	return slices.Sorted(maps.Keys(used(t, sdk)))
}

var (
	call     = regexp.MustCompile(`ctx\.(?:RegisterResource|Invoke)\("(\w+:\w+/[^"]+)", `)
	args     = regexp.MustCompile(`(?ms)^type \w+Args struct \{$(.*?)^\}$`)
	property = regexp.MustCompile("(?m)^\t\\w+ +(\\[\\])?.* `pulumi:\"(\\w+)\"`$")
)

// used reads the SDK: each of its files that makes a call declares one resource or function, and first of all types
// whose names end in Args the plain ones, which are what is sent.
func used(t *testing.T, sdk string) members {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", sdk).Output()
	require.NoError(t, err)
	found := members{}
	walk := func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		token := call.FindSubmatch(source)
		if token == nil {
			return nil
		}
		inputs := []string{}
		if fields := args.FindSubmatch(source); fields != nil {
			for _, name := range property.FindAllSubmatch(fields[1], -1) {
				inputs = append(inputs, string(name[2])+string(name[1]))
			}
		}
		slices.Sort(inputs)
		found[string(token[1])] = inputs
		return nil
	}
	require.NoError(t, filepath.WalkDir(strings.TrimSpace(string(dir)), walk))
	return found
}

// served asks the provider.
func served(provider tfbridge.ProviderInfo) members {
	found := members{}
	for name, resource := range provider.Resources {
		found[string(resource.Tok)] = inputs(provider.P.ResourcesMap().Get(name), resource.Fields)
	}
	for name, function := range provider.DataSources {
		found[string(function.Tok)] = inputs(provider.P.DataSourcesMap().Get(name), function.Fields)
	}
	return found
}

func inputs(resource shim.Resource, fields map[string]*tfbridge.SchemaInfo) []string {
	names := []string{}
	resource.Schema().Range(func(name string, schema shim.Schema) bool {
		if !schema.Optional() && !schema.Required() {
			return true
		}
		input := tfbridge.TerraformToPulumiNameV2(name, resource.Schema(), fields)
		list := schema.Type() == shim.TypeList || schema.Type() == shim.TypeSet
		if list && !tfbridge.IsMaxItemsOne(schema, fields[name]) {
			input += "[]"
		}
		names = append(names, input)
		return true
	})
	slices.Sort(names)
	return names
}
