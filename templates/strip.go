package templates

import (
	"regexp"
	"strings"
)

var heredoc = regexp.MustCompile(`<<-?['"]?(\w+)['"]?$`)

// stripComments returns a file without blank lines, comments and the Documentation= lines of units, because only
// readers of the repository need them. It keeps the first line of a script, and here-documents.
//
// In all formats of the trees, a line that starts with # is a comment. TestStripCommentsKeepsMeaning finds
// exceptions, such as a # in a YAML block of text.
func stripComments(content string) string {
	var out strings.Builder
	end := "" // delimiter of the current here-document
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
