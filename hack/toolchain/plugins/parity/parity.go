// Package parity compares a bridged provider with the source files of the Pulumi Go SDK that calls it.
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

// tokenInputs are the sorted inputs of each resource and function, by its token. A list is written name[].
type tokenInputs map[string][]string

// Test fails unless the provider has exactly the resources and functions of the SDK, and every input that the SDK can
// send. sdk is the path of a Go module.
func Test(t *testing.T, sdk string, provider tfbridge.ProviderInfo) {
	want, got := inSDK(t, sdk), inProvider(provider)
	require.NotEmpty(t, want, "no token found in the source files of %s", sdk)
	for token, inputs := range want {
		if provided, ok := got[token]; assert.True(t, ok, "%s is not in the provider", token) {
			assert.Subset(t, provided, inputs, token)
		}
	}
	for token := range got {
		assert.Contains(t, want, token, "%s is not in the SDK", token)
	}
}

// Tokens returns the sorted tokens in the source files of the SDK.
func Tokens(t *testing.T, sdk string) []string {
	return slices.Sorted(maps.Keys(inSDK(t, sdk)))
}

var (
	call     = regexp.MustCompile(`ctx\.(?:RegisterResource|Invoke)\("(\w+:\w+/[^"]+)", `)
	args     = regexp.MustCompile(`(?ms)^type \w+Args struct \{$(.*?)^\}$`)
	property = regexp.MustCompile("(?m)^\t\\w+ +(\\[\\])?.* `pulumi:\"(\\w+)\"`$")
)

// inSDK reads the inputs from the source files of the SDK. Each file with a call declares one resource or function. The
// first of its types whose name ends in Args has the inputs that the SDK sends.
func inSDK(t *testing.T, sdk string) tokenInputs {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", sdk).Output()
	require.NoError(t, err)
	found := tokenInputs{}
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

// inProvider reads the inputs from the schema of the provider.
func inProvider(provider tfbridge.ProviderInfo) tokenInputs {
	found := tokenInputs{}
	for name, resource := range provider.Resources {
		found[string(resource.Tok)] = inputs(provider.P.ResourcesMap().Get(name), resource.Fields)
	}
	for name, function := range provider.DataSources {
		found[string(function.Tok)] = inputs(provider.P.DataSourcesMap().Get(name), function.Fields)
	}
	return found
}

// inputs returns the sorted inputs of a resource or function.
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
