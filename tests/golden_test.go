package tests

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// graph prints resources as a tree by parents. Each resource has its inputs, and the options that are set. It leaves
// out the measured durations.
func graph(resources []pulumi.MockResourceArgs) string {
	children := map[string][]pulumi.MockResourceArgs{}
	for _, r := range resources {
		parent := urnName(r.RegisterRPC.GetParent())
		if strings.Contains(parent, "pulumi:pulumi:Stack") {
			parent = ""
		}
		children[parent] = append(children[parent], r)
	}
	var out strings.Builder
	var print func(parent, indent string)
	print = func(parent, indent string) {
		list := children[parent]
		slices.SortFunc(list, func(a, b pulumi.MockResourceArgs) int {
			return strings.Compare(a.TypeToken+" "+a.Name, b.TypeToken+" "+b.Name)
		})
		for _, r := range list {
			fmt.Fprintf(&out, "%s%s %s%s\n", indent, r.TypeToken, r.Name, options(r))
			for _, key := range slices.Sorted(maps.Keys(r.Inputs)) {
				if key == "seconds" {
					continue
				}
				fmt.Fprintf(&out, "%s    %s: %s\n", indent, key, plain(r.Inputs[key]))
			}
			print(r.TypeToken+"::"+r.Name, indent+"  ")
		}
	}
	print("", "")
	return out.String()
}

// options prints the options that control the resource's life. after lists the dependencies that are not
// inputs.
func options(r pulumi.MockResourceArgs) string {
	rpc := r.RegisterRPC
	var out []string
	if rpc.GetProtect() {
		out = append(out, "protect")
	}
	if rpc.GetDeleteBeforeReplace() {
		out = append(out, "deleteBeforeReplace")
	}
	if rpc.GetRetainOnDelete() {
		out = append(out, "retainOnDelete")
	}
	if with := rpc.GetDeletedWith(); with != "" {
		out = append(out, "deletedWith="+urnName(with))
	}
	after := rpc.GetDependencies()
	for _, property := range rpc.GetPropertyDependencies() {
		after = slices.DeleteFunc(slices.Clone(after),
			func(urn string) bool { return slices.Contains(property.GetUrns(), urn) })
	}
	for _, urn := range slices.Sorted(slices.Values(after)) {
		out = append(out, "after="+urnName(urn))
	}
	if len(out) == 0 {
		return ""
	}
	return " [" + strings.Join(out, ", ") + "]"
}

// urnName returns the last type and the name of a URN.
func urnName(urn string) string {
	parts := strings.Split(urn, "::")
	if len(parts) < 4 {
		return ""
	}
	types := strings.Split(parts[2], "$")
	return types[len(types)-1] + "::" + parts[3]
}

// plain prints a value in YAML's flow style, with [secret] in place of secrets.
func plain(v resource.PropertyValue) string {
	switch {
	case v.IsSecret():
		return "[secret]"
	case v.IsArray():
		var items []string
		for _, item := range v.ArrayValue() {
			items = append(items, plain(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case v.IsObject():
		var items []string
		for _, key := range v.ObjectValue().StableKeys() {
			items = append(items, string(key)+": "+plain(v.ObjectValue()[key]))
		}
		return "{" + strings.Join(items, ", ") + "}"
	case v.IsOutput():
		return plain(v.OutputValue().Element)
	}
	return fmt.Sprint(v.V)
}

type writtenFile struct {
	Path        string `json:"path"`
	Permissions string `json:"permissions"`
	Content     string `json:"content"`
}

// userData returns an instance's user-data as cloud-init reads it.
func userData(t *testing.T, instance pulumi.MockResourceArgs) []byte {
	t.Helper()
	require.NotEmpty(t, instance.Name)
	encoded := instance.Inputs["userData"].SecretValue().Element.StringValue()
	zipped, err := base64.StdEncoding.DecodeString(encoded)
	require.NoError(t, err)
	reader, err := gzip.NewReader(bytes.NewReader(zipped))
	require.NoError(t, err)
	text, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(text, []byte("#cloud-config\n")))
	return text
}

// writtenFiles returns the files in an instance's user-data.
func writtenFiles(t *testing.T, instance pulumi.MockResourceArgs) []writtenFile {
	t.Helper()
	var config struct {
		WriteFiles []writtenFile `json:"write_files"`
	}
	require.NoError(t, yaml.Unmarshal(userData(t, instance), &config))
	return config.WriteFiles
}
