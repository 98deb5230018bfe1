package templates

import (
	"io/fs"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

func TestStripComments(t *testing.T) {
	for name, test := range map[string]struct{ from, want string }{
		"nothing":         {"", ""},
		"comments":        {"# one\na\n  # two\n\n\t\nb # three\n#\n", "a\nb # three\n"},
		"script":          {"#!/bin/sh\n# what it does\n\nset -eu\n", "#!/bin/sh\nset -eu\n"},
		"no script":       {"a\n#!/bin/sh\n", "a\n"},
		"here-document":   {"cat <<END\n# kept\n\nEND\n# not\n", "cat <<END\n# kept\n\nEND\n"},
		"quoted, indents": {"\tcat >x <<-'EOF'\n\t# kept\n\tEOF\n# not\n", "\tcat >x <<-'EOF'\n\t# kept\n\tEOF\n"},
		"shift":           {"a=$((1 << 24))\n# not\n", "a=$((1 << 24))\n"},
		"unit":            {"[Unit]\nDescription=etcd\nDocumentation=https://etcd.io\n", "[Unit]\nDescription=etcd\n"},
		"indentation":     {"a:\n  # not\n  - b\n", "a:\n  - b\n"},
		"last line":       {"a\n# not", "a\n"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, stripComments(test.from)) })
	}
}

// TestStripCommentsKeepsMeaning checks that stripComments does not change the meaning of the files in the trees. A
// YAML file has the same values without its comments. A script has the same commands, as bash prints them.
func TestStripCommentsKeepsMeaning(t *testing.T) {
	t.Parallel()
	commands := func(text string) string {
		out, err := exec.Command("bash", "-c", "eval \"script() {\n$1\n}\" && declare -f script", "-", text).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	documents := func(text string) (values []any) {
		for document := range strings.SplitSeq("\n"+text, "\n---\n") {
			var value any
			require.NoError(t, yaml.Unmarshal([]byte(document), &value))
			if value != nil {
				values = append(values, value)
			}
		}
		return values
	}
	seen := map[string]bool{}
	for _, m := range machines() {
		for _, system := range m.systems() {
			require.NoError(t, fs.WalkDir(systems, system, func(name string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() || strings.Contains(name, "{registry}") {
					return err
				}
				text, err := fs.ReadFile(systems, name)
				require.NoError(t, err)
				target, isTemplate := strings.CutSuffix(name, ".tmpl")
				if isTemplate {
					text, err = execute(name, text, m)
					require.NoError(t, err)
				}
				if seen[string(text)] {
					return nil
				}
				without := stripComments(string(text))
				switch {
				case strings.HasPrefix(string(text), "#!/bin/sh\n"):
					require.Equal(t, commands(string(text)), commands(without), name)
				case path.Ext(target) == ".yaml":
					require.Equal(t, documents(string(text)), documents(without), name)
				default:
					return nil
				}
				seen[string(text)] = true
				return nil
			}))
		}
	}
	require.Greater(t, len(seen), 50)
}
