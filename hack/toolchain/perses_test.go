//go:build e2e

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/progress"
	"kubernetes-openstack/tests/dashboards"
)

// Perses accepts all dashboards and draws them with its plugins. The test finds a panel without data, and one with an
// error. `make e2e-inspection` runs it.
func TestPersesDrawsDashboards(t *testing.T) {
	const folder = "../../k8s/monitoring/dashboards"
	var empty, failing string // the queries with these texts have no result, or an error
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		query := r.FormValue("query")
		if failing != "" && strings.Contains(query, failing) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status": "error", "errorType": "bad_data", "error": "the query fails"}`)
			return
		}
		var data any = []string{"default", "kube-system"} // the values of a label
		if query != "" {
			result := []any{}
			if empty == "" || !strings.Contains(query, empty) {
				result = append(result, map[string]any{"metric": map[string]string{"instance": "dev-etcd-0"}, "values": samples(r)})
			}
			data = map[string]any{"resultType": "matrix", "result": result}
		}
		assert.NoError(t, json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data}))
	}))
	t.Cleanup(source.Close)
	server := startPerses(t, source.URL, folder)
	page := dashboards.Browser(t)
	for _, d := range dashboards.All(t, folder) {
		empty, failing = "", ""
		assert.Empty(t, d.Open(page, server), d.Metadata.Name)
		if d.Metadata.Name == "cluster" {
			empty, failing = "node_load5", "node_memory_MemAvailable_bytes"
			assert.ElementsMatch(t, []string{"Load: No data", "Memory: the query fails"}, d.Open(page, server))
			empty, failing = "count(up == 0)", ""
			assert.Equal(t, []string{"Targets that are down: No data"}, d.Open(page, server))
		}
	}
}

// samples returns a value for each step of a range query.
func samples(r *http.Request) (out [][2]any) {
	number := func(name string) float64 {
		n, _ := strconv.ParseFloat(r.FormValue(name), 64)
		return n
	}
	for at := number("start"); at <= number("end"); at += number("step") {
		out = append(out, [2]any{at, "0.5"})
	}
	return out
}

// startPerses starts Perses from its image with the dashboards of a folder and a Prometheus. It returns its URL.
func startPerses(t *testing.T, prometheus, folder string) string {
	t.Helper()
	require.NoError(t, perses.ensure(".", progress.New(os.Stderr, "toolchain")))
	version, err := perses.programs[0].expand(".", "{version}")
	require.NoError(t, err)
	root, work := unpack(t, "docker.io/persesdev/perses@v"+version), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(work, "plugins"), 0o755))
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		write(t, filepath.Join(work, "dashboards", filepath.Base(file)),
			strings.ReplaceAll(string(text), "http://prometheus.monitoring.svc.cluster.local:9090", prometheus))
	}
	write(t, filepath.Join(work, "config.yaml"), fmt.Sprintf(`security: {readonly: true}
database: {file: {folder: %[1]s/database, extension: yaml}}
provisioning: {folders: [%[1]s/dashboards]}
plugin: {path: %[1]s/plugins, archive_paths: [%[2]s/etc/perses/plugins-archive]}
`, work, root))
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, root+perses.images[0].entrypoint[0], "--config="+filepath.Join(work, "config.yaml"),
		"--web.listen-address=127.0.0.1:0")
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	started := regexp.MustCompile(`started on \S*:(\d+)`)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		t.Log(lines.Text())
		if match := started.FindStringSubmatch(lines.Text()); match != nil {
			go func() { // otherwise Perses would wait for a reader
				for lines.Scan() {
				}
			}()
			url := "http://127.0.0.1:" + match[1]
			require.Eventually(t, func() bool { // it reads the folders in this order after its start
				response, err := http.Get(url + "/api/v1/projects/cluster/dashboards/tenants")
				return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
			}, 3*time.Minute, 50*time.Millisecond)
			return url
		}
	}
	require.FailNow(t, "Perses must start")
	return ""
}
