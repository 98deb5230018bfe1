package tests

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const benchmarks = "../docs/contributing/benchmarks.md"

// record prints the results of a benchmark, and writes them with the date and the commit to
// docs/contributing/benchmarks.md.
func record(b *testing.B, measured string) {
	b.Helper()
	b.Log("\n" + measured)
	commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	require.NoError(b, err)
	text, err := os.ReadFile(benchmarks)
	require.NoError(b, err)
	stamp := fmt.Sprintf("%s, commit %s, %d processors", time.Now().UTC().Format(time.DateOnly),
		strings.TrimSpace(string(commit)), runtime.NumCPU())
	require.NoError(b, os.WriteFile(benchmarks, []byte(withSection(string(text), b.Name(), stamp, measured)), 0o644))
}

// withSection replaces the section with this name in Markdown, or adds it at the end. The results are
// preformatted text, in which sentences continue on the next line.
func withSection(text, name, stamp, measured string) string {
	var lines strings.Builder
	for line := range strings.Lines(strings.Trim(measured, "\n")) {
		for len(line) > 120 {
			space := strings.LastIndex(line[:120], " ")
			lines.WriteString(line[:space] + "\n")
			line = line[space+1:]
		}
		lines.WriteString(line)
	}
	section := fmt.Sprintf("## %s\n\n%s\n\n```text\n%s\n```\n", name, stamp, &lines)
	old := regexp.MustCompile(`(?ms)^## ` + regexp.QuoteMeta(name) + "\n.*?^```text\n.*?^```\n")
	if at := old.FindStringIndex(text); at != nil {
		return text[:at[0]] + section + text[at[1]:]
	}
	return strings.TrimSpace(text) + "\n\n" + section
}

func TestWithSection(t *testing.T) {
	const title = "# Benchmarks\n"
	one := "\n## BenchmarkOne\n\nMonday\n\n```text\n1 s\n```\n"
	two := "\n## BenchmarkOneMore\n\nMonday\n\n```text\n2 s\n\n3 s\n```\n"
	replaced := "\n## BenchmarkOne\n\nTuesday\n\n```text\n$1 s\n```\n"
	assert.Equal(t, title+one, withSection(title, "BenchmarkOne", "Monday", "\n1 s\n"))
	assert.Equal(t, title+one+two, withSection(title+one, "BenchmarkOneMore", "Monday", "2 s\n\n3 s\n"))
	words := strings.TrimSpace(strings.Repeat("seconds ", 15)) // 119 characters
	assert.Contains(t, withSection(title, "BenchmarkOne", "Monday", words+" more\n4 s"), "\n"+words+"\nmore\n4 s\n")
	assert.Equal(t, title+replaced+two, withSection(title+one+two, "BenchmarkOne", "Tuesday", "$1 s"))
}
