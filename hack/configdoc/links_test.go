package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	codeBlock   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	heading     = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor = regexp.MustCompile(`[^\pL\pN_ -]`)
	link        = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// anchors returns the anchors that GitHub creates for the headings of a Markdown text.
func anchors(text string) []string {
	var all []string
	for _, match := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		name := strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-")
		anchor := name
		for i := 1; slices.Contains(all, anchor); i++ {
			anchor = fmt.Sprintf("%s-%d", name, i)
		}
		all = append(all, anchor)
	}
	return all
}

// brokenLinks returns the links of a Markdown file to files and headings that do not exist.
func brokenLinks(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var broken []string
	for _, match := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(string(text), ""), -1) {
		file, anchor, _ := strings.Cut(match[1], "#")
		if strings.Contains(file, ":") {
			continue // a URL
		}
		target := path
		if file != "" {
			target = filepath.Join(filepath.Dir(path), file)
		}
		if _, err := os.Stat(target); err != nil {
			broken = append(broken, match[1])
		} else if anchor != "" {
			content, err := os.ReadFile(target)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(anchors(string(content)), anchor) {
				broken = append(broken, match[1])
			}
		}
	}
	return broken, nil
}

func TestLinksOfDocumentsResolve(t *testing.T) {
	for _, path := range documentsAndExamples(t) {
		if filepath.Ext(path) == ".md" {
			broken, err := brokenLinks(path)
			require.NoError(t, err)
			assert.Empty(t, broken, path)
		}
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	write("b.md", "# The `first`: head_1\n\n## Twice\n\n## Twice\n\n```sh\n# no heading\n```\n")
	broken, err := brokenLinks(write("a.md", "# A\n[b](b.md), [head](b.md#the-first-head_1), ![b](b.md#twice-1), "+
		"[a](#a), [URL](https://example.com/#x), [c](c.md), [d](b.md#no-heading), [e](b.md#twice-2), [f](#b)\n"))
	require.NoError(t, err)
	assert.Equal(t, []string{"c.md", "b.md#no-heading", "b.md#twice-2", "#b"}, broken)
}
