package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The connection of the first request breaks. This happens when the address of the API moves to another control plane.
// The API does not answer the third request until the context ends.
func TestApplyReconnects(t *testing.T) {
	patches := 0
	ending, end := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodPatch:
			patches++
			if patches == 1 {
				connection, _, err := w.(http.Hijacker).Hijack()
				if assert.NoError(t, err) {
					connection.Close()
				}
				return
			}
			_, _ = io.Copy(w, r.Body)
			if patches == 3 {
				end()
				<-r.Context().Done()
			}
		case r.URL.Path == "/api":
			fmt.Fprint(w, `{"kind": "APIVersions", "versions": ["v1"]}`)
		case r.URL.Path == "/apis":
			fmt.Fprint(w, `{"kind": "APIGroupList", "apiVersion": "v1", "groups": []}`)
		case r.URL.Path == "/api/v1":
			fmt.Fprint(w, `{"kind": "APIResourceList", "groupVersion": "v1", "resources": [
				{"name": "configmaps", "kind": "ConfigMap", "namespaced": true, "verbs": ["patch"]}]}`)
		}
	}))
	defer server.Close()
	c, err := newCluster(fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "a",
		"contexts": [{"name": "a", "context": {"cluster": "a"}}],
		"clusters": [{"name": "a", "cluster": {"server": %q}}]}`, server.URL))
	require.NoError(t, err)
	object := parse(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}`)
	live, err := c.apply(t.Context(), object, false)
	require.NoError(t, err)
	assert.Equal(t, "a", live.GetName())
	assert.Equal(t, 2, patches)

	_, err = c.apply(ending, object, false)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 3, patches)
}
