package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
)

const configKey = "kubernetes-openstack:cluster"

// merge returns base with the changes, as a copy. A null deletes a key. Objects in lists are merged by their position.
func merge(base, change any) any {
	switch change := change.(type) {
	case map[string]any:
		old, _ := base.(map[string]any)
		out := maps.Clone(old)
		if out == nil {
			out = map[string]any{}
		}
		for key, value := range change {
			if value == nil {
				delete(out, key)
			} else {
				out[key] = merge(out[key], value)
			}
		}
		return out
	case []any:
		old, _ := base.([]any)
		var out []any
		for i, item := range change {
			if _, isObject := item.(map[string]any); isObject && i < len(old) {
				item = merge(old[i], item)
			}
			out = append(out, item)
		}
		return out
	}
	return change
}

// decrypt replaces the secrets of a stack file by text.
func decrypt(value any) any {
	switch value := value.(type) {
	case map[string]any:
		if _, secret := value["secure"].(string); secret && len(value) == 1 {
			return "secret"
		}
		out := map[string]any{}
		for key, item := range value {
			out[key] = decrypt(item)
		}
		return out
	case []any:
		out := slices.Clone(value)
		for i, item := range out {
			out[i] = decrypt(item)
		}
		return out
	}
	return value
}

// decode decodes and plans a configuration as the program does.
func decode(object any) (cluster.Config, error) {
	text, err := json.Marshal(decrypt(object))
	if err != nil {
		return cluster.Config{}, err
	}
	c, err := cluster.Decode("test", string(text))
	if err == nil {
		cluster.NewPlan(c)
	}
	return c, err
}

// configKeys returns the keys at the top of the configuration.
func configKeys() []string {
	var keys []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[cluster.Config]()) {
		keys = append(keys, field.Tag.Get("mapstructure"))
	}
	return keys
}

// Kinds of YAML.
const (
	stackFile  = "stack file"
	fragment   = "part of the configuration"
	kubernetes = "object of Kubernetes"
	other      = "other YAML"
)

// checkYAML checks a text and returns its kind.
func checkYAML(text string) (string, error) {
	kind := ""
	for document := range strings.SplitSeq(text, "\n---\n") {
		var object any
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			return "", err
		}
		found, err := checkObject(object)
		if err != nil {
			return "", err
		}
		if kind != "" && kind != found {
			return "", fmt.Errorf("documents: must be of one kind, got %s and %s", kind, found)
		}
		kind = found
	}
	return kind, nil
}

func checkObject(value any) (string, error) {
	object, _ := value.(map[string]any)
	config, _ := object["config"].(map[string]any)
	switch {
	case config[configKey] != nil:
		for key := range object {
			if key != "config" && key != "encryptionsalt" {
				return "", fmt.Errorf("%s: unknown key of a stack file", key)
			}
		}
		_, err := decode(config[configKey])
		return stackFile, err
	case object[configKey] != nil:
		return fragment, checkFragment(object[configKey])
	case object["apiVersion"] != nil || object["kind"] != nil:
		for _, key := range []string{"apiVersion", "kind"} {
			if text, ok := object[key].(string); !ok || text == "" {
				return "", fmt.Errorf("%s: must be text, got %v", key, object[key])
			}
		}
		return kubernetes, nil
	case slices.ContainsFunc(configKeys(), func(key string) bool { return key != "name" && object[key] != nil }):
		return fragment, checkFragment(object)
	}
	return other, nil
}

// checkFragment merges part of a configuration onto complete ones. It must be valid in one kind of network.
func checkFragment(part any) error {
	var base, change any
	if err := errors.Join(yaml.Unmarshal([]byte(tenantObject), &base),
		yaml.Unmarshal([]byte(providerChange), &change)); err != nil {
		return err
	}
	_, tenant := decode(merge(base, part))
	_, provider := decode(merge(merge(base, change), part))
	if tenant != nil && provider != nil {
		return fmt.Errorf("in a tenant network: %w", tenant)
	}
	return nil
}

// Block is a piece of YAML and its place.
type Block struct{ Place, Text string }

var (
	fence    = regexp.MustCompile("^ *```+ *([a-z]*)")
	indented = regexp.MustCompile(`^    ([A-Za-z:-]+):( |$)`)
)

// blocks returns the fenced YAML of a Markdown file. Indented code with keys of the configuration is an error, because
// nothing marks it as YAML.
func blocks(file, text string) ([]Block, error) {
	var found []Block
	keys := append(configKeys(), "config", configKey)
	language, before := "", ""
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		match := fence.FindStringSubmatch(line)
		switch {
		case match != nil && !fenced:
			fenced, language = true, match[1]
			if language == "yaml" || language == "yml" {
				found = append(found, Block{Place: fmt.Sprintf("%s:%d", file, i+1)})
			}
		case match != nil:
			fenced, language = false, ""
		case language == "yaml" || language == "yml":
			found[len(found)-1].Text += line + "\n"
		case !fenced && before == "":
			if key := indented.FindStringSubmatch(line); key != nil && slices.Contains(keys, key[1]) {
				return nil, fmt.Errorf("%s:%d: put this YAML between lines of ```yaml and ```", file, i+1)
			}
		}
		before = line
	}
	if fenced {
		return nil, fmt.Errorf("%s: the last code block must end with ```", file)
	}
	return found, nil
}

// documentsAndExamples returns the paths of all documents, and of the files that are examples.
func documentsAndExamples(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"*.md", "Pulumi.dev.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		paths = append(paths, files...)
	}
	for _, folder := range []string{"docs", "examples"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				paths = append(paths, path)
			}
			return err
		})
		require.NoError(t, err)
	}
	return paths
}

// allYAML returns the YAML of all documents and examples.
func allYAML(t *testing.T) []Block {
	t.Helper()
	var all []Block
	for _, path := range documentsAndExamples(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		name, err := filepath.Rel(root, path)
		require.NoError(t, err)
		switch filepath.Ext(path) {
		case ".md":
			found, err := blocks(name, string(text))
			require.NoError(t, err)
			all = append(all, found...)
		case ".yaml", ".yml":
			if strings.HasPrefix(name, "examples/ci/") || strings.HasPrefix(name, "examples/fleet/") {
				continue // these have their own tests
			}
			all = append(all, Block{name, string(bytes.TrimPrefix(text, []byte("---\n")))})
		}
	}
	return all
}

func TestYAMLOfDocumentsAndExamplesIsValid(t *testing.T) {
	kinds := map[string][]string{}
	for _, block := range allYAML(t) {
		t.Run(block.Place, func(t *testing.T) {
			kind, err := checkYAML(block.Text)
			require.NoError(t, err)
			t.Log(kind)
			kinds[kind] = append(kinds[kind], block.Place)
		})
	}
	assert.ElementsMatch(t, kinds[stackFile], []string{"Pulumi.dev.yaml", "examples/Pulumi.keystone.yaml",
		"examples/Pulumi.prod.yaml", "examples/Pulumi.route-reflectors.yaml", "examples/Pulumi.tenant-network.yaml"})
	assert.NotEmpty(t, kinds[fragment])
	assert.NotEmpty(t, kinds[kubernetes])
}

// The production example shows keys that it does not use in comments.
func TestProductionExampleHasEveryKey(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "examples/Pulumi.prod.yaml"))
	require.NoError(t, err)
	for path := range keys(t) {
		assert.Regexp(t, "[ {]"+path[strings.LastIndex(path, ".")+1:]+":", string(text), path)
	}
}

func TestInvalidYAMLIsFound(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"unknown key", "pools: [{name: a, colour: red}]", "pools[0].colour: unknown key"},
		{"unknown key at the top", "storage: {topology: true}\ncolour: red", "colour: unknown key"},
		{"invalid value", "api: {loadBalancer: haproxy}", "api.loadBalancer: must be keepalived or octavia"},
		{"below the key", configKey + ": {etcd: {count: 4}}", "etcd.count: must be odd"},
		{"incomplete stack file", "config: {\"" + configKey + "\": {region: a}}", "network.cidr: must be set"},
		{"key of a stack file", "config: {\"" + configKey + "\": {region: a}}\ncolour: red", "colour: unknown key"},
		{"key twice", "a: 1\na: 2", "already set"},
		{"no YAML", "a: [", "did not find expected"},
		{"second document", "apiVersion: v1\nkind: Pod\n---\nkind: Pod", "apiVersion: must be text"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := checkYAML(row.text)
			assert.ErrorContains(t, err, row.want)
		})
	}
}

func TestBlocks(t *testing.T) {
	found, err := blocks("a.md", "text\n\n```yaml\na: 1\n```\n\n```sh\nls\n```\n\n    server:\n      b: 1\n")
	require.NoError(t, err)
	assert.Equal(t, []Block{{"a.md:3", "a: 1\n"}}, found)
	_, err = blocks("a.md", "text\n\n    pools:\n      - name: a\n")
	assert.EqualError(t, err, "a.md:3: put this YAML between lines of ```yaml and ```")
	_, err = blocks("a.md", "```yaml\na: 1\n")
	assert.ErrorContains(t, err, "must end with")
}
