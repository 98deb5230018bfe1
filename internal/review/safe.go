package review

import "strings"

// OneLine returns a text of others on one line, without what can be a secret, and without characters that a terminal
// interprets.
func OneLine(text string) string { return strings.Join(strings.Fields(printable(mask(text))), " ") }
