package review

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// outsideCode returns text without its code spans. All runs of backticks must be single, so each pair is a code span.
func outsideCode(t *testing.T, text string) string {
	t.Helper()
	assert.NotContains(t, text, "``", "two backticks begin another code span")
	assert.Zero(t, strings.Count(text, "`")%2, "a code span does not end: %s", text)
	return regexp.MustCompile("`[^`]*`").ReplaceAllString(text, "")
}

func TestSafeTexts(t *testing.T) {
	for text, want := range map[string]string{
		"a plain sentence, with (+1.50) EUR.": "a plain sentence, with (+1.50) EUR.",
		"set `protect: true` first":           "set `protect: true` first",
		"<img src=x> # Title":                 "`<img` `src=x>` `#` Title",
		"ask @org/team, see #12":              "ask `@org/team,` see `#12`",
		"`a`@org":                             "`a` `@org`",
		"@org`a`":                             "`@org` `a`",
		"a`@org":                              "`a'@org`",
		"`` @org ``":                          " `@org` ",
		"\\` @org `":                          "`\\` ` @org `",
		"[a](https://example.com)":            "`[a](https://example.com)`",
		"a\r\n/close\u2028\u202eb":            "a  /close  b",
		"_a_ *b* ~c~ &lt; \\":                 "`_a_` `*b*` `~c~` `&lt;` `\\`",
	} {
		assert.Equal(t, want, safe(text), text)
		assert.NotRegexp(t, `[<>@#*_\[\]\\\r\n]`, outsideCode(t, safe(text)), text)
	}
	assert.Equal(t, "`a\\|b`", cell("a|b"))
	assert.Equal(t, "`a'@org b`", code("a`@org\nb"))
	assert.Equal(t, "''' @org", block("``` @org"))
}

func TestMask(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"error: OS_PASSWORD=hunter2 is wrong", "error: OS_PASSWORD=[masked] is wrong"},
		{`{"password": "hunter2 or \"more", "user": "me"}`, `{"password": [masked], "user": "me"}`},
		{"PULUMI_CONFIG_PASSPHRASE: hunter2", "PULUMI_CONFIG_PASSPHRASE: [masked]"},
		{"X-Auth-Token: hunter2", "X-Auth-Token: [masked]"},
		{"Authorization: Bearer hunter2", "Authorization: Bearer [masked]"},
		{"GET https://me:hunter2@example.com/v3: 401", "GET https://[masked]@example.com/v3: 401"},
		{"a\n-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nb", "a\n[masked]\nb"},
		{`key: -----BEGIN PRIVATE KEY-----\nhunter2`, "key: [masked]"},
		{"--token abcdef.0123456789abcdef", "--token [masked]"},
		{"key " + strings.Repeat("0f", 32) + " is wrong", "key [masked] is wrong"},
		{"got gAAAAABnO1yqZ3k-Xb_" + strings.Repeat("aB3-", 20) + "c.", "got [masked]."},
	} {
		assert.Equal(t, row.want, mask(row.text))
	}
	for _, text := range []string{
		"image 6d1f4d10-5f0c-4a7b-9f5e-0a1b2c3d4e5f of project 0123456789abcdef01234567",
		"tenancy.reader.password: must be set to a password",
		"openstack.credential: cannot be empty",
		"open /home/me/kubernetes-openstack/internal/readiness/testdata/snapshot",
	} {
		assert.Equal(t, text, mask(text))
	}
}
