package templates

import (
	"encoding/json"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
)

// TestHostileTextsInFiles checks each file in YAML, TOML or JSON with hostile texts in the place of all texts of the
// Plan, the machine and the inputs. The file must have the same structure as with a plain text, and the same texts.
func TestHostileTextsInFiles(t *testing.T) {
	const plain = "plain-text"
	seen := map[string]bool{}
	for _, role := range []string{"control-plane", "worker", "devcloud", "etcd-backup"} {
		for _, system := range machines()[role].systems() {
			require.NoError(t, fs.WalkDir(systems, system, func(name string, entry fs.DirEntry, err error) error {
				target, isTemplate := strings.CutSuffix(name, ".tmpl")
				if err != nil || entry.IsDir() || !isTemplate || !isData(target) {
					return err
				}
				seen[target] = true
				text, err := fs.ReadFile(systems, name)
				require.NoError(t, err)
				render := func(with string) any {
					v := machines()[role]
					v.Taints = []cluster.Taint{{Key: plain, Value: plain, Effect: plain}}
					var input any = &v
					if strings.Contains(name, "{registry}") {
						input = &registryMirror{}
					}
					replaceTexts(reflect.ValueOf(input).Elem(), with)
					out, err := execute(name, text, reflect.ValueOf(input).Elem().Interface())
					require.NoError(t, err, name)
					return contentOf(t, target, string(out))
				}
				want := render(plain)
				for _, hostile := range []string{"true", "null", "~", "123", "1e3", "a: b", "a #b", "- a", "'", `"`, `\`, "a\nb: c",
					"\n---\n", "{{.}}", "[a]", " "} {
					require.Equal(t, replaced(want, plain, hostile), render(hostile), "%s: %q", name, hostile)
				}
				return nil
			}))
		}
	}
	require.GreaterOrEqual(t, len(seen), 15)
}

func isData(target string) bool {
	return slices.Contains([]string{".yaml", ".toml", ".json"}, path.Ext(target))
}

// replaceTexts sets all texts in v. A text of a type of its own, such as a role, keeps its value.
func replaceTexts(v reflect.Value, with string) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(with)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; v.Field(i).CanSet() && name != "EncryptionKey" {
				replaceTexts(v.Field(i), with)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			replaceTexts(v.Index(i), with)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			replaceTexts(v.Elem(), with)
		}
	case reflect.Map:
		if texts, ok := v.Interface().(map[string]string); ok && len(texts) > 0 {
			v.Set(reflect.ValueOf(map[string]string{with: with}))
		}
	}
}

// contentOf returns the content of a file.
func contentOf(t *testing.T, name, text string) any {
	t.Helper()
	var out any
	switch path.Ext(name) {
	case ".json":
		require.NoError(t, json.Unmarshal([]byte(text), &out), name)
	case ".toml":
		object := map[string]any{}
		_, err := toml.Decode(text, &object)
		require.NoError(t, err, name)
		out = object
	default:
		var documents []any
		for document := range strings.SplitSeq("\n"+text, "\n---\n") {
			var object any
			require.NoError(t, yaml.UnmarshalStrict([]byte(document), &object), "%s:\n%s", name, text)
			documents = append(documents, object)
		}
		out = documents
	}
	return out
}

// replaced returns a copy of a content with another text in the place of plain.
func replaced(content any, plain, with string) any {
	switch content := content.(type) {
	case string:
		return strings.ReplaceAll(content, plain, with)
	case []any:
		out := make([]any, len(content))
		for i, item := range content {
			out[i] = replaced(item, plain, with)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for key, item := range content {
			out[strings.ReplaceAll(key, plain, with)] = replaced(item, plain, with)
		}
		return out
	}
	return content
}
