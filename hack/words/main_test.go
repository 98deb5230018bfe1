package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSentences(t *testing.T) {
	assert.Equal(t, []string{
		"Head",
		"One sentence, in Debian 12.1 and e.g. here.",
		"Another one has a link and URL .",
		"An item",
		"**Bold.**",
		"`command` begins this one.",
		"a cell.", "Two sentences.", "another `cell`",
		"After the table.",
	}, sentences(text))
}

const text = `# Head

One sentence, in Debian 12.1
and e.g. here. Another one has a [link](docs/page.md#say) and https://say.example.com/x .

    indented code

    more code. Of one block

- An item
- **Bold.** ` + "`command`" + ` begins this one.

` + "```sh\nfenced code\n\nmore code\n```" + `

| a cell. Two sentences. | another ` + "`cell`" + ` |
|---|---|

After the table.
`

func TestMeasure(t *testing.T) {
	var all []string
	for length := range 10 {
		all = append(all, strings.Repeat("word ", length+1))
	}
	assert.Equal(t, Measures{Sentences: 10, Words: 55, P90: 10}, measure(all))
	assert.Equal(t, 500.0, measure([]string{"Told tellers say", "essay"}).SayTell)
	assert.Zero(t, measure(nil))
}

// README and docs keep the limits of our style.
func TestDocs(t *testing.T) {
	files, err := markdown([]string{"../../README.md", "../../docs"})
	require.NoError(t, err)
	require.Contains(t, files, "../../docs/network.md")
	var all []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		all = append(all, sentences(string(text))...)
	}
	assert.Less(t, measure(all).P90, 28)
	assert.Less(t, measure(all).SayTell, 0.5)
}
