package cluster

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPrices(t *testing.T) {
	object := valid(t)
	set(object, "prices", map[string]any{"currency": "EUR", "flavors": map[string]any{"large": 240.5},
		"volumes": map[string]any{"default": 0, "ssd": 1}, "floatingIP": 3})
	assert.Equal(t, Prices{"EUR", map[string]float64{"large": 240.5}, map[string]float64{"default": 0, "ssd": 1}, 3},
		decoded(t, object).Prices)
}
