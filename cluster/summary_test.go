package cluster

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSummary checks that a summary is the same after it was in a state, which has JSON.
func TestSummary(t *testing.T) {
	object := valid(t)
	set(object, "region", "east")
	set(object, "etcd.backup", map[string]any{"container": "test-etcd", "interval": "30m"})
	set(object, "prices", map[string]any{"currency": "EUR", "flavors": map[string]any{"large": 240.5}, "floatingIP": 3})
	plan := NewPlan(decoded(t, object))
	output, err := plan.Summary().Output()
	require.NoError(t, err)
	text, err := json.Marshal(output)
	require.NoError(t, err)
	var read any
	require.NoError(t, json.Unmarshal(text, &read))
	s, err := ReadSummary(read)
	require.NoError(t, err)
	assert.Equal(t, Summary{
		Region: "east", Versions: Versions{"1.36.3", "3.6.14", "3.28.5"}, BackupInterval: 30 * time.Minute,
		Prices: Prices{Currency: "EUR", Flavors: map[string]float64{"large": 240.5}, FloatingIP: 3},
	}, s)

	s, err = ReadSummary(nil) // of an older program
	require.NoError(t, err)
	assert.Empty(t, s)
	plan.Etcd.Backup.Container = ""
	assert.Zero(t, plan.Summary().BackupInterval)
}
