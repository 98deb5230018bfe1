package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"

	"kubernetes-openstack/internal/field"
)

// Decode reads a stack's configuration over the defaults. config is JSON, because Pulumi passes objects to programs as
// JSON. The error wraps field.Errors: unknown keys, values of a wrong type and all that validate finds, at once.
func Decode(stack, config string) (Config, error) {
	raw, err := decodeJSON(config)
	if err != nil {
		return Config{}, invalid(field.Errors{{Path: "cluster", Message: "must be an object of keys and values"}})
	}
	c := Defaults(stack)
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:      &c,
		ErrorUnused: true,
		MatchName:   func(key, field string) bool { return key == field },
		DecodeHook:  mapstructure.DecodeHookFuncValue(decodeOverDefaults),
	})
	if err != nil {
		return Config{}, err
	}
	var errs field.Errors
	for _, err := range flatten(decoder.Decode(raw)) {
		errs = append(errs, decodeErrors(err)...)
	}
	if errs = append(errs, c.validate(errs)...); len(errs) > 0 {
		return Config{}, invalid(errs)
	}
	return c, nil
}

// invalid returns the error of a stack's configuration.
func invalid(errs field.Errors) error { return fmt.Errorf("kubernetes-openstack:cluster has %w", errs) }

// decodeJSON decodes one JSON object. It keeps numbers as text, so decodeValue can report a number out of range at its
// path.
func decodeJSON(text string) (map[string]any, error) {
	if !json.Valid([]byte(text)) {
		return nil, errors.New("is not JSON")
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var object map[string]any
	err := decoder.Decode(&object)
	return object, err
}

// decodeOverDefaults is the decode hook for every value. The decoder writes only the keys that the user sets, so a pool
// keeps its defaults for all other keys.
func decodeOverDefaults(from, to reflect.Value) (any, error) {
	if to.Type() == reflect.TypeFor[Pool]() {
		to.Set(reflect.ValueOf(poolDefaults()))
	}
	return decodeValue(to.Type(), from.Interface())
}

// decodeValue parses CIDRs, addresses, durations and whole numbers, and reports values of a wrong type.
func decodeValue(to reflect.Type, data any) (any, error) {
	text, isText := data.(string)
	switch to {
	case reflect.TypeFor[netip.Prefix]():
		prefix, err := netip.ParsePrefix(text)
		if !isText || err != nil || !prefix.Addr().Is4() {
			return nil, wrongType("an IPv4 CIDR such as 10.0.0.0/24", data)
		}
		if prefix != prefix.Masked() {
			return nil, fmt.Errorf("has host bits set: use %s", prefix.Masked())
		}
		return prefix, nil
	case reflect.TypeFor[netip.Addr]():
		addr, err := netip.ParseAddr(text)
		if !isText || err != nil || !addr.Is4() {
			return nil, wrongType("an IPv4 address such as 10.0.0.10", data)
		}
		return addr, nil
	case reflect.TypeFor[time.Duration]():
		duration, err := time.ParseDuration(text)
		if !isText || err != nil {
			return nil, wrongType("a duration such as 15m", data)
		}
		return duration, nil
	case reflect.TypeFor[Secret]():
		if !isText {
			return nil, errors.New("must be a string in quotes") // without the value
		}
	}
	switch to.Kind() {
	case reflect.Int:
		number, isNumber := data.(json.Number)
		if !isNumber {
			return nil, wrongType("a number", data)
		}
		return wholeNumber(number)
	case reflect.Float64:
		number, isNumber := data.(json.Number)
		if !isNumber {
			return nil, wrongType("a number", data)
		}
		value, err := number.Float64()
		if err != nil {
			return nil, wrongType("a number below 1.8e308", data)
		}
		return value, nil
	case reflect.Bool:
		if _, isBool := data.(bool); !isBool {
			return nil, wrongType("true or false", data)
		}
	case reflect.String:
		if !isText {
			return nil, wrongType("a string in quotes", data)
		}
	case reflect.Slice:
		list, isList := data.([]any)
		if !isList {
			return nil, wrongObject(to, "a list of "+elements(to.Elem()), data)
		}
		if i := slices.Index(list, nil); i >= 0 && isObject(to.Elem()) {
			return nil, fmt.Errorf("item %d must be an object, not null", i)
		}
	case reflect.Map, reflect.Struct:
		object, isObject := data.(map[string]any)
		if !isObject {
			return nil, wrongObject(to, "an object of keys and values", data)
		}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if object[key] == nil && to.Kind() == reflect.Map { // in a struct, null means the default
				return nil, fmt.Errorf("%q must have a value, not null", key)
			}
		}
	}
	return data, nil
}

func wrongType(want string, data any) error {
	return fmt.Errorf("must be %s, not %s", want, describe(data))
}

// wrongObject is wrongType for lists and objects. It hides a text in the place of an object with a secret, because the
// text can be the secret.
func wrongObject(to reflect.Type, want string, data any) error {
	if holdsSecret(to) {
		return errors.New("must be " + want)
	}
	return wrongType(want, data)
}

func holdsSecret(t reflect.Type) bool {
	switch {
	case t == reflect.TypeFor[Secret]():
		return true
	case t.Kind() == reflect.Slice:
		return holdsSecret(t.Elem())
	case !isObject(t):
		return false
	}
	for i := range t.NumField() {
		if holdsSecret(t.Field(i).Type) {
			return true
		}
	}
	return false
}

// wholeNumber converts a JSON number such as 3, 3.0 or 3e2.
func wholeNumber(number json.Number) (int, error) {
	if n, err := number.Int64(); err == nil {
		return int(n), nil
	}
	f, err := number.Float64()
	switch {
	case f != math.Trunc(f):
		return 0, fmt.Errorf("must be a whole number, not %s", number)
	case err != nil || math.Abs(f) >= 1<<63:
		return 0, fmt.Errorf("must be a whole number of at most 64 bits, not %s", number)
	}
	return int(f), nil
}

// elements names the YAML values that a user writes in a list of elements of type t.
func elements(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[netip.Prefix]():
		return "IPv4 CIDRs"
	case t == reflect.TypeFor[netip.Addr]():
		return "IPv4 addresses"
	case t.Kind() == reflect.Struct:
		return "objects"
	}
	return "strings"
}

// describe shows a wrong value in an error. It hides the content of lists and objects, which may contain secrets.
func describe(data any) string {
	switch value := data.(type) {
	case string:
		return fmt.Sprintf("%q", value)
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return fmt.Sprint(data)
}

// flatten returns every single error that err joins.
func flatten(err error) []error {
	var joined interface{ Unwrap() []error }
	var single *mapstructure.DecodeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &single) && errors.Is(single, err):
		return []error{single}
	case errors.As(err, &joined):
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}

// renamedKeys contains the new key for the path of each old one.
var renamedKeys = map[string]string{
	"ssh.allow":     "allowedCIDRs",
	"network.allow": "allowedCIDRs",
	"api.allow":     "allowedCIDRs",
}

// keyWithoutDots matches the decoder's path of a key that has no dots.
var keyWithoutDots = regexp.MustCompile(`^(artifacts\.checksums|policy\.waivers)\[(.*)\]$`)

// decodeErrors converts one of the decoder's errors. The decoder reports all unknown keys of an object in one error.
func decodeErrors(err error) field.Errors {
	var decodeError *mapstructure.DecodeError
	if !errors.As(err, &decodeError) {
		return field.Errors{{Path: "cluster", Message: err.Error()}}
	}
	path, message := keyWithoutDots.ReplaceAllString(decodeError.Name(), "$1.$2"), decodeError.Unwrap().Error()
	keys, unknown := strings.CutPrefix(message, "has invalid keys: ")
	if !unknown {
		return field.Errors{{Path: path, Message: message}}
	}
	prefix := path + "."
	if path == reflect.TypeFor[Config]().String() { // mapstructure's name of the outermost object
		prefix = ""
	}
	var errs field.Errors
	for _, key := range strings.Split(keys, ", ") {
		if renamed := renamedKeys[prefix+key]; renamed != "" {
			errs.Add(prefix+key, "is renamed: use %s", renamed)
		} else {
			errs.Add(prefix+key, "unknown key: docs/configuration.md lists all keys")
		}
	}
	return errs
}
