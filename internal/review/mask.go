package review

import (
	"regexp"
	"strings"
)

// Pulumi masks the secrets of the configuration and of the state in its output. An error can have other secrets: a
// variable of the environment, or the answer of an API.
var (
	privateKey = regexp.MustCompile(`(?s)-----BEGIN [^-]*PRIVATE KEY-----.*?(-----END [^-]*PRIVATE KEY-----|$)`)
	userOfURL  = regexp.MustCompile(`(://)[^/\s@]+@`)
	scheme     = regexp.MustCompile(`(?i)\b(bearer|basic) +[^\s"']+`)
	// a key with a value, as in the environment, in JSON, YAML or a header of HTTP
	assignment = regexp.MustCompile(`(?i)([\w.-]*(?:passw|passphrase|secret|token|credential|authorization|` +
		`(?:api|private)-?key)[\w.-]*["']?(?: *= *|: *))("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;&}\]]+)`)
	// the first word after the path of a key in our own errors, and of a header after scheme
	ordinary = regexp.MustCompile(`^(must|is|has|was|does|cannot|unknown|(?i:bearer|basic)|\[masked)$`)
	// long numbers in hex, long texts in base64, and bootstrap tokens
	random = regexp.MustCompile(`\b[0-9a-f]{48,}\b|[\w+/-]{40,}=*|\b[a-z0-9]{6}\.[a-z0-9]{16}\b`)
	hex    = regexp.MustCompile(`^[0-9a-f]+$`)
)

const hidden = "[masked]"

// mask replaces all that can be a secret in the text of an error.
func mask(text string) string {
	text = privateKey.ReplaceAllLiteralString(text, hidden)
	text = userOfURL.ReplaceAllString(text, "${1}"+hidden+"@")
	text = scheme.ReplaceAllString(text, "$1 "+hidden)
	text = assignment.ReplaceAllStringFunc(text, func(match string) string {
		parts := assignment.FindStringSubmatch(match)
		if ordinary.MatchString(parts[2]) {
			return match
		}
		return parts[1] + hidden
	})
	return random.ReplaceAllStringFunc(text, func(match string) string {
		mixed := strings.ContainsAny(match, "0123456789") && strings.ToLower(match) != match &&
			strings.ToUpper(match) != match
		if mixed || hex.MatchString(match) || strings.Contains(match, ".") {
			return hidden
		}
		return match // such as a path
	})
}
