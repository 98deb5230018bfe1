// Command words measures the language of Markdown files: how long the sentences are, and how often the text uses
// forms of say and tell. Without arguments it reads README.md and docs.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	paths := os.Args[1:]
	if len(paths) == 0 {
		paths = []string{"README.md", "docs"}
	}
	if err := run(paths); err != nil {
		fmt.Fprintln(os.Stderr, "words:", err)
		os.Exit(1)
	}
}

func run(paths []string) error {
	files, err := markdown(paths)
	if err != nil {
		return err
	}
	var all []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		found := sentences(string(text))
		fmt.Printf("%-28s %s\n", file, measure(found))
		all = append(all, found...)
	}
	fmt.Printf("%-28s %s\n", "all", measure(all))
	return nil
}

// markdown lists the given files, and the Markdown files of the given folders.
func markdown(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && strings.HasSuffix(file, ".md") {
				files = append(files, file)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Measures of a list of sentences.
type Measures struct {
	Sentences, Words int
	P90              int     // words of the shortest sentence among the longest tenth
	SayTell          float64 // forms of say and tell in 1,000 words
}

func (m Measures) String() string {
	return fmt.Sprintf("%4d sentences, %5d words; longest tenth from %2d words; say/tell %.2f per 1,000 words",
		m.Sentences, m.Words, m.P90, m.SayTell)
}

var (
	word    = regexp.MustCompile(`\S*[\pL\pN]\S*`)
	sayTell = regexp.MustCompile(`(?i)\b(say|says|said|saying|tell|tells|told|telling)\b`)
)

func measure(sentences []string) Measures {
	if len(sentences) == 0 {
		return Measures{}
	}
	var lengths []int
	m := Measures{Sentences: len(sentences)}
	forms := 0
	for _, sentence := range sentences {
		length := len(word.FindAllString(sentence, -1))
		lengths = append(lengths, length)
		m.Words += length
		forms += len(sayTell.FindAllString(sentence, -1))
	}
	slices.Sort(lengths)
	m.P90 = lengths[len(lengths)*9/10]
	m.SayTell = 1000 * float64(forms) / float64(m.Words)
	return m
}

var (
	fenced    = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	indented  = regexp.MustCompile(`(?m)(^|\n\n)(( {4}.*)?\n)* {4}.*$`)
	separator = regexp.MustCompile(`(?m)^\|[-:| ]+\|$`)
	link      = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	address   = regexp.MustCompile(`https?://[^\s)>]+`)
	block     = regexp.MustCompile(`(?m)^#+ |^ *([-*]|\d+\.) |^$|^\||\|$| \| `)
	end       = regexp.MustCompile("([.!?][*)`\"]*)\\s+([^\\p{Ll}])")
)

// sentences splits Markdown without its code blocks, separators of tables and URLs: each heading, list item, table cell
// and paragraph is a block, and inside a block a sentence ends at . ! or ? before white space and no lower-case letter.
func sentences(text string) []string {
	text = fenced.ReplaceAllString(text, "")
	text = indented.ReplaceAllString(text, "")
	text = separator.ReplaceAllString(text, "")
	text = link.ReplaceAllString(text, "$1")
	text = address.ReplaceAllString(text, "URL")
	var all []string
	for _, b := range block.Split(text, -1) {
		for _, sentence := range strings.Split(end.ReplaceAllString(b, "$1\x00$2"), "\x00") {
			if word.MatchString(sentence) {
				all = append(all, strings.Join(strings.Fields(sentence), " "))
			}
		}
	}
	return all
}
