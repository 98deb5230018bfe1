package status

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNewestBackup(t *testing.T) {
	names := []string{"prod-20270131T110000Z.db", "prod-20270131T120000Z.db", "prod-20270131T120000Z.db.old",
		"prod-20280131T120000Z.db", "prod-2-20270131T130000Z.db", "prod-manual.db"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/prod-etcd" {
			http.NotFound(w, r)
			return
		}
		assert.Equal(t, "prod-", r.URL.Query().Get("prefix"))
		assert.Equal(t, "/", r.URL.Query().Get("delimiter"))
		page := []map[string]any{}
		for _, name := range names {
			if name > r.URL.Query().Get("marker") && len(page) < 2 { // several pages
				page = append(page, map[string]any{"name": name, "bytes": 1, "last_modified": "2027-01-31T12:00:00.000000"})
			}
		}
		w.Header().Set("Content-Type", "application/json")
		assert.NoError(t, json.NewEncoder(w).Encode(page))
	}))
	defer server.Close()
	swift := &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{}, Endpoint: server.URL + "/"}
	now := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
	at, err := NewestBackup(t.Context(), swift, "prod-etcd", "prod", now)
	require.NoError(t, err)
	assert.Equal(t, time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC), at)

	names = names[5:]
	at, err = NewestBackup(t.Context(), swift, "prod-etcd", "prod", now)
	require.NoError(t, err)
	assert.Zero(t, at)
	_, err = NewestBackup(t.Context(), swift, "other", "prod", now)
	assert.Error(t, err)
}
