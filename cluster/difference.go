package cluster

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// Record returns the configuration as the text that ReadRecord reads. Instead of secrets, it has their digests. A weak
// password can be guessed from its digest.
func (c Config) Record() (string, error) {
	text, err := json.Marshal(c)
	return string(text), err
}

// MarshalJSON returns a digest, which differs if the text differs.
func (s Secret) MarshalJSON() ([]byte, error) {
	if s == "" {
		return json.Marshal("")
	}
	return json.Marshal(fmt.Sprintf("%x", sha256.Sum256([]byte(s))))
}

// ReadRecord reads the text of Record. A key that an earlier program did not have gets its default.
func ReadRecord(record string) (Config, error) {
	c := Defaults("")
	err := json.Unmarshal([]byte(record), &c)
	return c, err
}

// Difference is a key with another value than in an earlier configuration.
type Difference struct {
	// Key is its path in the user's YAML: etcd.version, pools[0].count, pools[1] for a new pool, and pools for a removed
	// one.
	Key string
	// Without is the configuration with the earlier value of this key. It can be invalid.
	Without Config
}

// Since returns the differences to an earlier configuration, in the order of the fields. A pool is the same one if it
// has the same name or, after a change of its name, the same addresses.
func (c Config) Since(earlier Config) (out []Difference) {
	pools := slices.Clone(c.Pools)
	with := func(key string, pools []Pool) {
		without := c
		without.Pools = slices.Clone(pools)
		out = append(out, Difference{key, without})
	}
	differences("", reflect.ValueOf(&earlier).Elem(), reflect.ValueOf(&c).Elem(), func(key string) { with(key, pools) })
	var same []int // indexes of earlier pools
	for i := range pools {
		path := fmt.Sprintf("pools[%d]", i)
		before := earlierPool(earlier.Pools, pools, i)
		if before < 0 {
			with(path, slices.Delete(slices.Clone(pools), i, i+1))
			continue
		}
		same = append(same, before)
		differences(path+".", reflect.ValueOf(&earlier.Pools[before]).Elem(), reflect.ValueOf(&pools[i]).Elem(),
			func(key string) { with(key, pools) })
	}
	for i, pool := range earlier.Pools {
		if !slices.Contains(same, i) {
			with("pools", append(slices.Clone(pools), pool))
		}
	}
	return out
}

// earlierPool returns the index of pools[i] in earlier, or -1.
func earlierPool(earlier, pools []Pool, i int) int {
	named := func(name string) func(Pool) bool { return func(p Pool) bool { return p.Name == name } }
	if same := slices.IndexFunc(earlier, named(pools[i].Name)); same >= 0 {
		return same
	}
	return slices.IndexFunc(earlier, func(p Pool) bool {
		return p.Addresses == pools[i].Addresses && !slices.ContainsFunc(pools, named(p.Name))
	})
}

// differences sets each key of now that differs from earlier to the earlier value, calls add with its path, and sets it
// back. It leaves out pools.
func differences(prefix string, earlier, now reflect.Value, add func(key string)) {
	for i := range now.NumField() {
		name := now.Type().Field(i).Tag.Get("mapstructure")
		switch e, n := earlier.Field(i), now.Field(i); {
		case name == ",squash":
			differences(prefix, e, n, add)
		case isObject(n.Type()):
			differences(prefix+name+".", e, n, add)
		case name == "-", n.Type() == reflect.TypeFor[[]Pool]():
		case !reflect.DeepEqual(e.Interface(), n.Interface()):
			value := reflect.New(n.Type()).Elem()
			value.Set(n)
			n.Set(e)
			add(prefix + name)
			n.Set(value)
		}
	}
}
