package templates

import (
	"regexp"
	"strings"
)

var heredoc = regexp.MustCompile(`<<-?['"]?(\w+)['"]?$`)

// lean is a file of the trees without blank lines, comments and units' Documentation=: only readers of the tree need
// them. It keeps a script's first line and here-documents.
//
// A # begins a comment in every format that the trees have. TestLeanMeansTheSame finds where it does not, such as in a
// block of text in YAML.
func lean(content string) string {
	var out strings.Builder
	end := "" // of the here-document
	for i, line := range strings.SplitAfter(content, "\n") {
		text := strings.TrimSpace(line)
		switch begins := heredoc.FindStringSubmatch(text); {
		case end != "":
			if text == end {
				end = ""
			}
		case text == "", strings.HasPrefix(line, "Documentation="),
			strings.HasPrefix(text, "#") && !(i == 0 && strings.HasPrefix(text, "#!")):
			continue
		case begins != nil:
			end = begins[1]
		}
		out.WriteString(line)
	}
	return out.String()
}
