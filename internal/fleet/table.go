package fleet

import (
	"encoding/json"
	"strings"
	"text/tabwriter"
)

// Table returns the list as a table for a terminal, and a line for each value that needs attention.
func (r Report) Table() string {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	line := func(texts []string) {
		_, _ = table.Write([]byte(strings.Join(texts, "\t") + "\n")) // a strings.Builder has no errors
	}
	var titles []string
	for _, c := range columns {
		titles = append(titles, strings.ToUpper(c.Title))
	}
	line(titles)
	for _, row := range r.Rows {
		var texts []string
		for _, c := range r.cells(row) {
			if c.Text == "" {
				c.Text = "-"
			}
			texts = append(texts, c.Text)
		}
		line(texts)
	}
	_ = table.Flush()
	out.WriteString("\n" + r.summary() + "\n")
	for _, note := range r.notes() {
		out.WriteString("  " + note + "\n")
	}
	return out.String()
}

// JSON returns the list in JSON.
func (r Report) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}
