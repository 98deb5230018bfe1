// Package dashboards opens dashboards of Perses in a browser and finds panels without data or with an error.
package dashboards

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/tests/browser"
)

// Dashboard is a file of k8s/monitoring/dashboards.
type Dashboard struct {
	Kind     string
	Metadata struct{ Name, Project string }
	Spec     struct {
		Display struct{ Name string }
		Panels  map[string]any
	}
}

// All returns the dashboards in the folder.
func All(t testing.TB, folder string) (out []Dashboard) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var d Dashboard
		require.NoError(t, yaml.Unmarshal(text, &d), file)
		if d.Kind == "Dashboard" {
			out = append(out, d)
		}
	}
	require.NotEmpty(t, out, folder)
	return out
}

//go:embed record.js
var record string

//go:embed problems.js
var problems string

// width is the width of screenshots in pixels.
const width = 1400

// Browser returns a page for Open.
func Browser(t testing.TB) *browser.Page {
	t.Helper()
	page := browser.Open(t)
	page.Before(record)
	return page
}

// Open opens the dashboard on a server of Perses with the last 15 minutes, and waits until all panels are drawn. It
// returns a line for each panel without data or with an error. The page then has the height of the dashboard.
func (d Dashboard) Open(page *browser.Page, server string) (out []string) {
	page.Size(width, 4000) // Perses loads only visible panels
	page.Goto(fmt.Sprintf("%s/projects/%s/dashboards/%s?start=15m", server, d.Metadata.Project, d.Metadata.Name))
	page.Eval(fmt.Sprintf("(%s)(%d, 300000)", problems, len(d.Spec.Panels)), &out)
	var height int
	page.Eval(`Math.ceil(Math.max(...[...document.querySelectorAll('[data-testid=panel]')].map(
		(panel) => panel.getBoundingClientRect().bottom), 0)) + 16`, &height)
	page.Size(width, height)
	return out
}
