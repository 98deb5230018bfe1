package strict

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// TestStrict checks that a template fails exactly if it prints a value that is not set.
func TestStrict(t *testing.T) {
	values := struct {
		Text, Empty string
		Zero        int
		No          bool
		Address     netip.Addr
		List        []string
		Nil         *struct{}
	}{Text: "text", List: []string{"a", ""}}
	for text, want := range map[string]string{
		"{{.Text}}": "text",
		"{{.No}}":   "false",
		"{{if or .Empty .Zero .Nil}}{{.Empty}}{{else}}{{.Text}}{{end}}": "text",
		`{{printf "%q" .Empty}}`:               `""`,
		"{{$x := .Empty}}{{$x = .Text}}{{$x}}": "text",

		"{{.Empty}}":                         "<required \".Empty\">: error calling required: .Empty is not set",
		"{{.Zero}}":                          ".Zero is not set",
		"{{.Address}}":                       ".Address is not set",
		"{{.Nil}}":                           ".Nil is not set",
		"{{range .List}}{{.}}{{end}}":        ". is not set",
		"{{if .Text}}{{.Empty}}{{end}}":      ".Empty is not set",
		"{{with .Text}}{{$.Empty}}{{end}}":   "$.Empty is not set",
		"{{if .No}}{{else}}{{.Zero}}{{end}}": ".Zero is not set",
		`{{define "other"}}{{.Empty}}{{end}}{{template "other" .}}`: ".Empty is not set",
	} {
		parsed, err := Parse("test", text, nil)
		require.NoError(t, err, text)
		var out strings.Builder
		if err := parsed.Execute(&out, values); strings.HasSuffix(want, " is not set") {
			assert.ErrorContains(t, err, want, text)
		} else if assert.NoError(t, err, text) {
			assert.Equal(t, want, out.String(), text)
		}
	}
}

// TestTextsNeedAnEncoder checks the files whose formats have types.
func TestTextsNeedAnEncoder(t *testing.T) {
	render := func(name, text string) (string, error) {
		parsed, err := Parse(name, text, nil)
		require.NoError(t, err)
		var out strings.Builder
		err = parsed.Execute(&out, map[string]any{"Text": "true", "Number": 1, "Address": netip.MustParseAddr("10.0.0.1")})
		return out.String(), err
	}
	const file = "folder/etc/a"
	for _, extension := range []string{".yaml", ".toml.tmpl", ".json.tmpl"} {
		for _, text := range []string{"{{.Text}}", `{{printf "a %s" .Text}}`, "{{if true}}{{.Text}}{{end}}",
			`{{define "a"}}{{.}}{{end}}{{template "a" .Text}}`} {
			_, err := render(file+extension, text)
			assert.ErrorContains(t, err, "is a text without an encoder: use yaml or quote", text)
		}
		text, err := render(file+extension, "{{.Number}} {{.Address}} {{quote .Text}} {{yaml .Text}}")
		require.NoError(t, err)
		assert.Equal(t, `1 10.0.0.1 "true" "true"`, text)
	}
	text, err := render(file+".service.tmpl", "{{.Text}}")
	require.NoError(t, err)
	assert.Equal(t, "true", text)
	_, err = render(file+".yaml", "{{yaml .Missing}}")
	assert.ErrorContains(t, err, "is not set")
}

// hostile are texts that a format reads as another type, as syntax or not at all.
var hostile = []string{
	"true", "no", "null", "~", "123", "0x7f", "0o17", "1_000", "1e3", "1e400", ".inf", ".nan", "12:30:45", "2026-12-01",
	"a: b", "a:", "a #b", "#a", "- a", "-", "? a", "[a", "{a}",
	"&a", "*a", "!a", "|", ">", "%a", "@a", "`a", "'", `"`, `\`,
	"a'b", `a"b`, `a\b`, "a\nb", "a\n---\nb", "\n", "\t", " a", "a ", "\x00", "\x1b", "\x7f", "\u0085", "\u2028",
	"\ufeff", "größe", "😀", "<&>", "{{.}}", "$(a)", "<<", "=",
}

// TestHostileTexts checks that each format reads the same text that the encoder got.
func TestHostileTexts(t *testing.T) {
	for _, text := range append(hostile, "plain", "nova", "http://192.0.2.1:5000/v3", "all()", "a == 'b'") {
		quoted, err := quote(text)
		require.NoError(t, err)
		inYAML, err := toYAML(text)
		require.NoError(t, err)
		var fromJSON string
		require.NoError(t, json.Unmarshal([]byte(quoted), &fromJSON), "%q", text)
		assert.Equal(t, text, fromJSON)
		var fromTOML map[string]string
		require.NoError(t, toml.Unmarshal([]byte("key = "+quoted), &fromTOML), "%q", text)
		assert.Equal(t, text, fromTOML["key"])
		for _, value := range []encoded{quoted, inYAML} {
			var object map[string]any
			require.NoError(t, yaml.UnmarshalStrict([]byte("a: "+value+"\nb:\n  - "+value+"\n  - x\n"), &object), "%q", text)
			assert.Equal(t, map[string]any{"a": text, "b": []any{text, "x"}}, object)
		}
		empty, err := quote("")
		require.NoError(t, err)
		assert.Equal(t, encoded(`""`), empty)
	}
	for text, want := range map[string]encoded{"nova": "nova", "all()": "all()", "a == 'b'": "a == 'b'", "true": `"true"`,
		"topology.kubernetes.io/zone in {'nova', 'az2'}": "topology.kubernetes.io/zone in {'nova', 'az2'}"} {
		got, err := toYAML(text)
		require.NoError(t, err)
		assert.Equal(t, want, got, "no other quotes than necessary, because a changed byte replaces machines")
	}
}
