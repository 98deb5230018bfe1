package review

import (
	"regexp"
	"strings"
	"unicode"
)

// The comment has texts of others: names, reasons of waivers, errors. They must not format it or notify a user.

// code returns text as a code span, in which GitHub and GitLab interpret neither Markdown, HTML nor names of users.
func code(text string) string {
	return "`" + strings.ReplaceAll(printable(text), "`", "'") + "`"
}

// special matches words that Markdown, GitHub or GitLab interpret: Markdown, HTML, @user, #1, !1, URLs.
var special = regexp.MustCompile(`\S*([\\*_\[\]<>&!#~@|$%{}]|://|www\.)\S*`)

// safe returns text on one line, in which only code spans have a meaning. Each other word that would have one becomes a
// code span.
func safe(text string) string {
	text = printable(text)
	if strings.Count(text, "`")%2 != 0 {
		text = strings.ReplaceAll(text, "`", "'")
	}
	out := ""
	for i, part := range strings.Split(text, "`") {
		switch {
		case i%2 == 0:
			part = special.ReplaceAllStringFunc(part, code)
		case strings.TrimSpace(part) == "":
			continue
		default:
			part = code(part)
		}
		if strings.HasSuffix(out, "`") && strings.HasPrefix(part, "`") {
			out += " " // two code spans without a blank would be one
		}
		out += part
	}
	return out
}

// cell returns a safe text for a cell of a table, which ends at a |, even in code.
func cell(text string) string { return strings.ReplaceAll(safe(text), "|", `\|`) }

// block returns a line that cannot end a block of code.
func block(line string) string { return strings.ReplaceAll(printable(line), "```", "'''") }

// printable replaces all other characters, such as ends of lines and changes of the direction of writing, by blanks.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
