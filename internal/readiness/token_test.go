package readiness

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBootstrapToken checks in which states of the API a wait lets the instance join.
func TestBootstrapToken(t *testing.T) {
	t.Parallel()
	booting, ready := console("bootstrap: boot 1"), console("bootstrap: boot 1", "bootstrap: ready after 9 s")
	const created, deleted = "PATCH bootstrap-token-00001s", "DELETE bootstrap-token-00001s"
	for name, row := range map[string]struct {
		node     func(reads int) (int, string) // the API's answer to a read of the Node
		consoles []string
		etcd     bool
		refused  bool // the API does not accept tokens
		want     []string
		err      string
	}{
		"new machine": {
			node:     func(int) (int, string) { return http.StatusNotFound, "{}" },
			consoles: []string{booting, booting, booting, ready}, want: []string{created, deleted},
		},
		"replaced machine": {
			node:     func(int) (int, string) { return http.StatusOK, nodeJSON("dev-worker-0", "openstack:///old", "Unknown") },
			consoles: []string{booting, booting, ready}, want: []string{created, deleted},
		},
		"API that starts later": {
			node: func(reads int) (int, string) {
				if reads < 3 {
					return http.StatusServiceUnavailable, "etcd"
				}
				return http.StatusNotFound, "{}"
			},
			consoles: []string{booting, booting, booting, booting, ready}, want: []string{created, deleted},
		},
		"machine that is a node": {
			node:     func(int) (int, string) { return http.StatusOK, nodeJSON("dev-worker-0", "openstack:///uuid", "True") },
			consoles: []string{booting, booting, ready},
		},
		"rebuilt machine, whose Node is not deleted": {
			node: func(int) (int, string) {
				return http.StatusOK, nodeJSON("dev-worker-0", "openstack:///uuid", "Unknown")
			},
			consoles: []string{booting}, err: "dev-worker-0 is not ready after",
		},
		"rebuilt machine, whose Node an operator deletes": {
			node: func(reads int) (int, string) {
				if reads < 2 {
					return http.StatusOK, nodeJSON("dev-worker-0", "openstack:///uuid", "Unknown")
				}
				return http.StatusNotFound, "{}"
			},
			consoles: []string{booting, booting, booting, ready}, want: []string{created, deleted},
		},
		"machine that is ready": {
			node:     func(int) (int, string) { return http.StatusNotFound, "{}" },
			consoles: []string{ready},
		},
		"machine that does not become ready": { // the token expires
			node:     func(int) (int, string) { return http.StatusNotFound, "{}" },
			consoles: []string{booting}, want: []string{created}, err: "dev-worker-0 is not ready after",
		},
		"refused token": {
			node:     func(int) (int, string) { return http.StatusNotFound, "{}" },
			consoles: []string{booting}, refused: true,
			err: "\n  its instance cannot join the cluster: cannot create its bootstrap token: 403 Forbidden: no rights",
		},
		"member of etcd": {
			node:     func(int) (int, string) { return http.StatusNotFound, "{}" },
			consoles: []string{booting, booting, ready}, etcd: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if row.err != "" {
				timeout = 2 * time.Second
			}
			var changes []string
			reads, date := 0, time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", date.Format(http.TimeFormat)) // the API server's clock is not ours
				if r.Method == http.MethodGet {
					assert.Equal(t, "/api/v1/nodes/dev-worker-0", r.URL.Path)
					reads++
					code, text := row.node(reads)
					w.WriteHeader(code)
					fmt.Fprint(w, text)
					return
				}
				if row.refused {
					http.Error(w, "no rights", http.StatusForbidden)
					return
				}
				secret, found := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/kube-system/secrets/")
				assert.True(t, found, r.URL.Path)
				changes = append(changes, r.Method+" "+secret)
				if r.Method == http.MethodPatch {
					body, err := io.ReadAll(r.Body)
					assert.NoError(t, err)
					var manifest struct{ Data map[string][]byte }
					assert.NoError(t, json.Unmarshal(body, &manifest))
					assert.Equal(t, date.Add(timeout).Format(time.RFC3339), string(manifest.Data["expiration"]))
					assert.Contains(t, string(manifest.Data["auth-extra-groups"]), ":dev-worker-0:")
				}
			}))
			t.Cleanup(api.Close)
			machine := Machine{Name: "dev-worker-0", ID: "uuid", Node: !row.etcd, Timeout: timeout,
				Kubeconfig: kubeconfigOf(api.URL), Seed: "00001s.seed"}
			err := cloudOf(t, &nova{status: "ACTIVE", consoles: row.consoles}).Machine(t.Context(), machine,
				func(string) error { return nil })
			if row.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, row.err)
			}
			assert.True(t, slices.Equal(row.want, changes), changes)
		})
	}
}
