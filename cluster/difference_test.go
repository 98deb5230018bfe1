package cluster

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// TestSinceFindsEachKey sets each key of a complete configuration to another value. Exactly this key differs, and the
// configuration without the difference is the earlier one.
func TestSinceFindsEachKey(t *testing.T) {
	text, err := yaml.YAMLToJSON([]byte(complete))
	require.NoError(t, err)
	earlier, err := Decode("prod", string(text))
	require.NoError(t, err)
	assert.Empty(t, earlier.Since(earlier))
	for _, key := range schema("", reflect.TypeFor[Config]()) {
		if strings.Contains(strings.TrimPrefix(key.path, "pools[]."), "[].") || key.path == "pools" {
			continue // a key of a list that differs as a whole
		}
		path := strings.Replace(strings.TrimSuffix(key.path, "[]"), "pools[].", "pools[0].", 1)
		now := earlier
		now.Pools = slices.Clone(earlier.Pools)
		value := at(reflect.ValueOf(&now).Elem(), key.path)
		if path == "pools[0].name" {
			value.SetString("b") // the addresses show that it is the same pool
		} else {
			change(value)
		}
		found := now.Since(earlier)
		if assert.Len(t, found, 1, path) {
			assert.Equal(t, path, found[0].Key)
			assert.Equal(t, earlier, found[0].Without, path)
		}
	}
}

// at returns the value of a key. Its path has [] for the first pool.
func at(object reflect.Value, path string) reflect.Value {
	name, rest, more := strings.Cut(path, ".")
	for i := range object.NumField() {
		switch tag := object.Type().Field(i).Tag.Get("mapstructure"); {
		case tag == ",squash":
			if v := at(object.Field(i), path); v.IsValid() {
				return v
			}
		case tag == strings.TrimSuffix(name, "[]"):
			v := object.Field(i)
			if strings.HasSuffix(name, "[]") {
				v = v.Index(0)
			}
			if more {
				return at(v, rest)
			}
			return v
		}
	}
	return reflect.Value{}
}

// change sets a value to another one: to zero, or to something that is not.
func change(v reflect.Value) {
	switch {
	case !v.IsZero():
		v.SetZero()
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(1)
	case v.CanFloat():
		v.SetFloat(1)
	case v.Kind() == reflect.String:
		v.SetString("a")
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	default: // an address
		v.Set(reflect.ValueOf(address(Defaults("").Network.PodCIDR, 1)))
	}
}

// TestPoolsThatComeAndGo checks that a pool is recognized by its name, also if its index changes.
func TestPoolsThatComeAndGo(t *testing.T) {
	pool := func(name string, maxUnavailable int) Pool {
		block := netip.MustParsePrefix(map[string]string{"a": "10.0.1.0/24", "b": "10.0.2.0/24", "c": "10.0.3.0/24"}[name])
		return Pool{Name: name, NodeGroup: NodeGroup{Group: Group{Addresses: block}}, MaxUnavailable: maxUnavailable}
	}
	earlier := Config{Pools: []Pool{pool("a", 1), pool("b", 1)}}
	now := Config{Pools: []Pool{pool("b", 2), pool("c", 1)}}
	keys := map[string]Config{}
	for _, d := range now.Since(earlier) {
		keys[d.Key] = d.Without
	}
	assert.Equal(t, map[string]Config{
		"pools[0].maxUnavailable": {Pools: []Pool{pool("b", 1), pool("c", 1)}},
		"pools[1]":                {Pools: []Pool{pool("b", 2)}},
		"pools":                   {Pools: []Pool{pool("b", 2), pool("c", 1), pool("a", 1)}},
	}, keys)
}

// TestRecord checks that a record has the whole configuration without secrets, and that new keys get their defaults.
func TestRecord(t *testing.T) {
	text, err := yaml.YAMLToJSON([]byte(complete))
	require.NoError(t, err)
	config, err := Decode("prod", string(text))
	require.NoError(t, err)
	config.Artifacts.Password, config.Tenancy.Reader.Password = "hunter2", ""
	for _, config := range []Config{config, NewPlan(config).Config} {
		record, err := config.Record()
		require.NoError(t, err)
		assert.NotContains(t, record, "hunter2")
		read, err := ReadRecord(record)
		require.NoError(t, err)
		assert.NotEmpty(t, read.Artifacts.Password)
		read.Artifacts.Password = config.Artifacts.Password
		assert.Equal(t, config, read)
		other := config
		other.Artifacts.Password = "hunter3"
		otherRecord, err := other.Record()
		require.NoError(t, err)
		assert.NotEqual(t, record, otherRecord)
	}
	read, err := ReadRecord(`{"Etcd": {"Version": "3.6.0"}}`)
	require.NoError(t, err)
	assert.Equal(t, "3.6.0", read.Etcd.Version)
	assert.Equal(t, Defaults("").Etcd.Volume, read.Etcd.Volume)
}
