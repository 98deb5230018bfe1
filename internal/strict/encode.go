package strict

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"
)

// encoded is a text that is complete in the format of its file.
type encoded string

// isData reports whether the values in a file need an encoder. name can end in .tmpl.
func isData(name string) bool {
	base := strings.TrimSuffix(path.Base(name), ".tmpl")
	return slices.Contains([]string{".yaml", ".toml", ".json"}, path.Ext(base)) ||
		base == "cloud.conf" || base == "bootstrap-kubelet.conf" // the formats of git and YAML
}

// toYAML returns a text as YAML: without quotes if YAML reads the same text, so "true" and "123" get quotes.
func toYAML(value any) (encoded, error) {
	if v := reflect.ValueOf(value); !v.IsValid() || v.IsZero() {
		return "", errors.New("the value is not set")
	}
	text := fmt.Sprint(value)
	var plain map[string]any
	err := yaml.Unmarshal([]byte("key: "+text+"\n"), &plain)
	if err == nil && len(plain) == 1 && plain["key"] == text {
		return encoded(text), nil
	}
	return quote(text)
}

// quote returns a text in double quotes, for JSON, TOML, YAML and the format of git. It can be empty.
func quote(value any) (encoded, error) {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // only JSON's other escapes exist in all formats
	if err := encoder.Encode(fmt.Sprint(value)); err != nil {
		return "", err
	}
	var text strings.Builder
	for _, r := range strings.TrimSuffix(out.String(), "\n") {
		if unicode.IsPrint(r) || r > 0xffff {
			text.WriteRune(r)
		} else {
			fmt.Fprintf(&text, `\u%04x`, r)
		}
	}
	return encoded(text.String()), nil
}
