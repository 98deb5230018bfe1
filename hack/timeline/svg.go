package main

import (
	"cmp"
	"fmt"
	"html"
	"slices"
	"strings"
)

// Sizes in pixels. Bars shorter than shortest seconds are counted and not drawn.
const (
	width     = 1000
	row       = 15
	top       = 90
	character = 7 // more than the average width, which depends on the font
	shortest  = 1
)

const style = `<style>
text { font: 11px sans-serif; fill: #222 }
.bar { opacity: .55 } .grid { stroke: #8884 } .busy { fill: #8886 }
.pulumi { fill: #4b8bf5 } .machine { fill: #f0a030 } .test { fill: #3fa55b } .build { fill: #b06fd8 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
</style>
`

// svg returns the picture as SVG. It is readable on a light and on a dark page.
func (r run) svg() string {
	x := func(at float64) float64 { return at / max(1, r.end) * width }
	drawn, short := []step{}, 0
	for _, s := range r.steps {
		if s.end == 0 {
			s.end = r.end
		}
		if s.end-s.begin < shortest {
			short++
			continue
		}
		drawn = append(drawn, s)
	}
	slices.SortStableFunc(drawn,
		func(a, b step) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(b.end, a.end)) })
	height := top + len(drawn)*row + 25
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d">`+"\n%s",
		width, height, style)
	fmt.Fprintf(&b, `<text x="2" y="14">%s</text>`+"\n", html.EscapeString(r.title))
	// fits returns true if a label that begins at x does not leave the picture.
	fits := func(x float64, label string) bool { return x+float64(len(label)*character) <= width }
	every := grid(r.end)
	for at := 0.0; at <= r.end; at += every {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1[1]f" y1="30" y2="%d"/>`+"\n", x(at), height-20)
		if label := fmt.Sprintf("%.0f s", at); fits(x(at), label) {
			fmt.Fprintf(&b, `<text x="%.1f" y="28">%s</text>`+"\n", x(at), label)
		}
	}
	b.WriteString(`<polygon class="busy" points="0,80`)
	for _, s := range r.busy {
		fmt.Fprintf(&b, " %.1f,%.1f", x(s.at), 80-50*s.share)
	}
	fmt.Fprintf(&b, " %.1f,80\"><title>processors, 0 to 100 %%</title></polygon>\n", x(r.end))
	for i, s := range drawn {
		y := top + i*row
		fmt.Fprintf(&b, `<rect class="bar %s" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n", s.kind, x(s.begin), y,
			x(s.end)-x(s.begin), row-3)
		label, anchor, at := fmt.Sprintf("%s %.0f s", s.name, s.end-s.begin), "start", x(s.begin)+3
		if at > width*.6 {
			anchor, at = "end", x(s.end)-3
		} else if !fits(at, label) {
			anchor, at = "end", width-3
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="%s">%s</text>`+"\n", at, y+10, anchor, html.EscapeString(label))
	}
	fmt.Fprintf(&b, `<text x="2" y="%d">grey: processors, 0 to 100 %%; %d steps of less than %d s are not drawn</text>`+
		"\n</svg>\n", height-6, short, shortest)
	return b.String()
}

// grid returns the number of seconds between two vertical lines.
func grid(end float64) float64 {
	for _, every := range []float64{5, 10, 30, 60, 300} {
		if end/every <= 20 {
			return every
		}
	}
	return 600
}
