package fleet

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the parts of the page
	"encoding/base64"
	"html/template"
	"strings"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var page = template.Must(template.New("page").Parse(pageHTML))

// Page returns the list as one HTML file. Its policy allows only its own script and style, and no requests, whatever
// the names of the stacks are.
func (r Report) Page() ([]byte, error) {
	type classed struct {
		cell
		Class string
	}
	type row struct {
		Stack string
		Cells []classed
	}
	data := struct {
		Policy        template.HTMLAttr
		CSS           template.CSS
		JS            template.JS
		Time, Summary string
		Columns       []column
		Rows          []row
		Notes         []string
	}{
		Policy: template.HTMLAttr(`content="default-src 'none'; base-uri 'none'; form-action 'none'; style-src ` +
			hash(pageCSS) + `; script-src ` + hash(pageJS) + `"`),
		CSS: template.CSS(pageCSS), JS: template.JS(pageJS),
		Time: r.Time.UTC().Format("2006-01-02T15:04:05Z"), Summary: r.summary(), Columns: columns, Notes: r.notes(),
	}
	for _, each := range r.Rows {
		line := row{Stack: each.Stack}
		for i, c := range r.cells(each)[1:] {
			class := string(c.Level)
			if columns[i+1].Number {
				class = strings.TrimSpace("number " + class)
			}
			line.Cells = append(line.Cells, classed{c, class})
		}
		data.Rows = append(data.Rows, line)
	}
	var out bytes.Buffer
	err := page.Execute(&out, data)
	return out.Bytes(), err
}

// hash returns the source of a Content-Security-Policy that allows one inline text.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
