package templates

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
		parsed, err := parseStrict("test", text)
		require.NoError(t, err, text)
		var out strings.Builder
		if err := parsed.Execute(&out, values); strings.HasSuffix(want, " is not set") {
			assert.ErrorContains(t, err, want, text)
		} else if assert.NoError(t, err, text) {
			assert.Equal(t, want, out.String(), text)
		}
	}
}
