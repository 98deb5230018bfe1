package fleet

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/readiness"
	"kubernetes-openstack/internal/status"
	"kubernetes-openstack/tests/browser"
)

// open opens the page of a list in Chromium.
func open(t *testing.T, r Report) (p *browser.Page, url string) {
	t.Helper()
	text, err := r.Page()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "fleet.html")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	p = browser.Open(t)
	url = "file://" + file
	p.Goto(url)
	return p, url
}

// texts returns the text of the cells of a column.
func texts(p *browser.Page, title string) (out []string) {
	index := slices.IndexFunc(columns, func(c column) bool { return c.Title == title })
	p.Eval(fmt.Sprintf("[...document.querySelector('tbody').rows].map(row => row.cells[%d].textContent)", index), &out)
	return out
}

// TestPage checks the page in one Chromium, because each start of Chromium needs seconds of a processor.
func TestPage(t *testing.T) {
	t.Parallel()
	p, url := open(t, report(t))
	assert.Equal(t, []string{url}, p.Requests, "the page requests nothing else")
	testSorts(t, p)
	testColours(t, p)
	testWithoutScripts(t, p, url)
}

// testSorts checks that a click on a title sorts the rows by it, and that unknown values stay last.
func testSorts(t *testing.T, p *browser.Page) {
	const find = "[...document.querySelectorAll('thead th')].find(head => head.textContent === %q)"
	click := func(title string) { p.Eval(fmt.Sprintf(find+".querySelector('button').click()", title), nil) }
	order := func(title string) (state string) {
		p.Eval(fmt.Sprintf(find+".ariaSort ?? ''", title), &state)
		return state
	}
	ready := []string{"3/4", "4/4", "4/4", "4/4", "4/4"}
	rest := []string{"", "", "", "?", "?"}
	click("Nodes")
	assert.Equal(t, "ascending", order("Nodes"))
	nodes := texts(p, "Nodes")
	assert.Equal(t, ready, nodes[:5])
	assert.ElementsMatch(t, rest, nodes[5:])
	click("Nodes")
	assert.Equal(t, "descending", order("Nodes"))
	nodes = texts(p, "Nodes")
	slices.Reverse(ready)
	assert.Equal(t, ready, nodes[:5])
	assert.ElementsMatch(t, rest, nodes[5:])
	click("Backup")
	assert.Empty(t, order("Nodes"))
	assert.Equal(t, []string{"25 min", "25 min", "25 min", "2 h"}, texts(p, "Backup")[:4], "by age, and not by text")
	click("Stack")
	names := texts(p, "Stack")
	assert.Len(t, names, 10)
	assert.Contains(t, names, strings.ReplaceAll(hostile, "\x1b", " "))
	assert.Equal(t, "dev", names[slices.Index(names, "empty")-1])
}

// testWithoutScripts checks that the page has all values without its script. Later pages of p have no scripts.
func testWithoutScripts(t *testing.T, p *browser.Page, url string) {
	var buttons int
	p.Eval("document.querySelectorAll('button').length", &buttons)
	assert.Equal(t, len(columns), buttons)
	p.Scripts(false)
	p.Goto(url)
	p.Eval("document.querySelectorAll('button').length", &buttons)
	assert.Zero(t, buttons)
	assert.Contains(t, texts(p, "API"), "not ready: etcd")
	var scopes []string
	p.Eval("[...document.querySelectorAll('th')].map(head => head.scope)", &scopes)
	assert.Equal(t, slices.Repeat([]string{"col"}, len(columns)), scopes[:len(columns)])
	assert.Equal(t, slices.Repeat([]string{"row"}, 10), scopes[len(columns):])
}

// testColours checks that each text has a contrast of at least 4.5 to 1 to its background, as WCAG requires, with light
// and with dark colours.
func testColours(t *testing.T, p *browser.Page) {
	for dark, backgroundBelow := range map[bool]bool{false: false, true: true} {
		p.Dark(dark)
		var colours []struct{ Class, Text, Background string }
		p.Eval(`[...document.querySelectorAll("h1, h2, p, caption, th, td, li, button")].map(element => {
			let behind = element;
			while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
			return { class: element.tagName + " " + element.className, text: getComputedStyle(element).color,
				background: getComputedStyle(behind).backgroundColor };
		})`, &colours)
		require.NotEmpty(t, colours)
		for _, c := range colours {
			text, background := luminance(t, c.Text), luminance(t, c.Background)
			contrast := (max(text, background) + 0.05) / (min(text, background) + 0.05)
			assert.GreaterOrEqual(t, contrast, 4.5, "dark: %v, %s: %s on %s", dark, c.Class, c.Text, c.Background)
			assert.Equal(t, backgroundBelow, background < text, c.Class)
		}
	}
}

// luminance returns the relative luminance of a colour: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	var channels [3]float64
	_, err := fmt.Sscanf(colour, "rgb(%g, %g, %g)", &channels[0], &channels[1], &channels[2])
	require.NoError(t, err, colour)
	for i, c := range channels {
		if c /= 255; c <= 0.04045 {
			channels[i] = c / 12.92
		} else {
			channels[i] = math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*channels[0] + 0.7152*channels[1] + 0.0722*channels[2]
}

// TestScreenshot writes the picture of the documentation to the file in SCREENSHOT. `make screenshot` sets it.
func TestScreenshot(t *testing.T) {
	file := os.Getenv("SCREENSHOT")
	if file == "" {
		t.Skip("run make screenshot")
	}
	var names []string
	for _, region := range []string{"east", "north", "south", "west"} {
		for _, use := range []string{"ci", "prod", "staging"} {
			names = append(names, region+"-"+use)
		}
	}
	reader := Reader{
		State: func(_ context.Context, stack string) ([]byte, error) {
			facts := summary()
			facts["region"], _, _ = strings.Cut(stack, "-")
			return state(t, stack, facts), nil
		},
		Cluster: func(_ context.Context, stack status.Stack) Facts {
			f := healthy(stack)
			switch stack.Name {
			case "north-ci":
				return unreach(f, "dial tcp 192.0.2.10:6443: i/o timeout")
			case "south-staging":
				f.Drift = 2
				f.Status.Consoles[stack.Name+"-worker-1"] = readiness.Summary{Reported: true, Ready: true,
					Notices: map[string]string{"calico-peers": "no BGP session with 10.0.0.1: no answer"}}
			case "west-prod":
				f.Status.Nodes[0].NotReady = "KubeletNotReady"
				f.Backup = now.Add(-3 * time.Hour)
			}
			return f
		},
		Parallel: 1, Timeout: time.Minute,
	}
	p, _ := open(t, Report{now, reader.List(t.Context(), names, func(Row) {})})
	p.Size(1600, 800)
	p.Dark(false)
	p.Screenshot(file)
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Less(t, info.Size(), int64(300_000))
}
