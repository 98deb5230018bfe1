package cluster

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"kubernetes-openstack/internal/field"
)

// checker applies the rules of kinds to the values of a Config.
type checker struct {
	// known are earlier errors. A value that has one is not checked again.
	known, errs field.Errors
	// hosts are the addresses of other hosts, also those in URLs. networks are the networks of other hosts.
	hosts, networks []place
}

// place is a range of addresses, or one address, and its path in the user's YAML.
type place struct {
	path   string
	prefix netip.Prefix
}

// checkValues checks each value without the other values. It removes wrong values from c, so that a mistake does not
// result in further errors.
func (c *Config) checkValues(known field.Errors) checker {
	ch := checker{known: known}
	ch.object("", reflect.ValueOf(c).Elem())
	return ch
}

// object checks the values of an object, in the order of its fields. A field of the type bool needs no rule.
func (ch *checker) object(prefix string, object reflect.Value) {
	for i := range object.NumField() {
		f, v := object.Type().Field(i), object.Field(i)
		name, kind := f.Tag.Get("mapstructure"), f.Tag.Get("kind")
		path := prefix + name
		switch {
		case name == ",squash":
			ch.object(prefix, v)
		case isObject(v.Type()):
			ch.object(path+".", v)
		case v.Kind() == reflect.Slice && isObject(v.Type().Elem()):
			for j := range v.Len() {
				ch.object(fmt.Sprintf("%s[%d].", path, j), v.Index(j))
			}
		case kind == "":
		case v.Kind() == reflect.Slice:
			ch.list(path, kind, v, f.Tag.Get("repeats") != "")
		case v.Kind() == reflect.Map:
			ch.dictionary(path, f.Tag.Get("keys"), kind, v)
		default:
			if !ch.value(path, kind, v) {
				v.SetZero()
			}
		}
	}
}

// list checks the items of a list. No item may be in a list twice, unless repeats is true.
func (ch *checker) list(path, kind string, list reflect.Value, repeats bool) {
	first := map[any]string{}
	for i := range list.Len() {
		item, itemPath := list.Index(i), fmt.Sprintf("%s[%d]", path, i)
		same := item.Interface()
		if kind == "nameserver" {
			same = strings.TrimSuffix(item.String(), ":53") // the default
		}
		other, duplicate := first[same]
		switch valid := ch.value(itemPath, kind, item); {
		case !valid:
			item.SetZero()
		case duplicate && !repeats:
			ch.errs.Add(itemPath, "must be removed: it is the same as %s, %v", other, item)
			item.SetZero()
		case !item.IsZero(): // a known error leaves a zero item
			first[same] = itemPath
		}
	}
}

// dictionary checks the keys and the values of a map.
func (ch *checker) dictionary(path, keyKind, kind string, dictionary reflect.Value) {
	keys := dictionary.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		entry := path + "." + key.String()
		if keyKind != "artifact" && keyKind != "rule" { // other keys can have dots
			entry = fmt.Sprintf("%s[%s]", path, key.String())
		}
		if !ch.value(entry, keyKind, key) || !ch.value(entry, kind, dictionary.MapIndex(key)) {
			dictionary.SetMapIndex(key, reflect.Value{})
		}
	}
}

// value reports whether a value follows the rule of its kind. If not, it adds an error.
func (ch *checker) value(path, tag string, v reflect.Value) bool {
	if ch.known.Covers(path) {
		return true
	}
	tag, optional := strings.CutPrefix(tag, "optional ")
	words := strings.Fields(tag)
	kind, args := kinds[words[0]], words[1:]
	if v.IsZero() && !v.CanInt() && !v.CanFloat() {
		if !optional {
			ch.errs.Add(path, "must be set to %s", kind.want(args))
		}
		return optional
	}
	plain := v.Interface()
	if _, secret := plain.(Secret); v.Kind() == reflect.String && !secret {
		plain = v.String()
	}
	if problem := kind.problem(plain, args); problem != "" {
		ch.errs.Add(path, "%s", problem)
		return false
	}
	ch.collect(path, words[0], plain)
	return true
}

// collect keeps a value that must not be an address of the cluster.
func (ch *checker) collect(path, kind string, value any) {
	switch kind {
	case "address":
		a := value.(netip.Addr)
		ch.hosts = append(ch.hosts, place{path, netip.PrefixFrom(a, a.BitLen())})
	case "url", "operatorURL":
		if a, ok := hostAddress(value.(string)); ok {
			ch.hosts = append(ch.hosts, place{path, netip.PrefixFrom(a, a.BitLen())})
		}
	case "host":
		if a, err := netip.ParseAddr(value.(string)); err == nil {
			ch.hosts = append(ch.hosts, place{path, netip.PrefixFrom(a, a.BitLen())})
		}
	case "nameserver":
		if a, ok := nameserverAddress(value.(string)); ok {
			ch.hosts = append(ch.hosts, place{path, netip.PrefixFrom(a, a.BitLen())})
		}
	case "network":
		ch.networks = append(ch.networks, place{path, value.(netip.Prefix)})
	}
}

// isObject returns true for structs with keys.
func isObject(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[netip.Prefix]() && t != reflect.TypeFor[netip.Addr]()
}
