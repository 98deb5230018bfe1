package policy

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	document = "../docs/policy.md"
	begin    = "<!-- begin of the generated rules: UPDATE_GOLDEN=1 go test ./policy -run TestDocument -->\n"
	end      = "<!-- end of the generated rules -->\n"
)

// table returns all rules as a table in Markdown.
func table() string {
	out := "| rule | level | broken if | reason | remedy |\n|---|---|---|---|---|\n"
	for _, r := range Rules() {
		out += fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", r.ID, r.Level, r.When, r.Reason, r.Remedy)
	}
	return out
}

// TestDocument checks that the document has all rules, and the example of organisation_test.go. If UPDATE_GOLDEN is
// set, it writes the rules instead.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	require.True(t, found && closed, "%s must have the lines\n%s%s", document, begin, end)
	want := "\n" + table() + "\n"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(document, []byte(before+begin+want+end+after), 0o644))
		return
	}
	assert.Equal(t, want, old, "run with UPDATE_GOLDEN=1 if the change is intended")

	source, err := os.ReadFile("organisation_test.go")
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(source), "// example of docs/policy.md\n")
	example, _, found = strings.Cut(example, "// end of the example\n")
	require.True(t, found)
	assert.Contains(t, string(text), "```go\n"+strings.TrimSpace(example)+"\n```\n")
}
