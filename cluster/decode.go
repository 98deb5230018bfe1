package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// Decode reads a stack's configuration (JSON, as Pulumi hands objects to programs) over the defaults. Its error is
// Errors: unknown keys, values of a wrong type and all that Validate finds, at once.
func Decode(stack, config string) (Config, error) {
	var raw map[string]any
	if err := json.Unmarshal([]byte(config), &raw); err != nil {
		return Config{}, Errors{{"cluster", "must be an object of keys and values"}}
	}
	c := Defaults(stack)
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:      &c,
		ErrorUnused: true,
		MatchName:   func(key, field string) bool { return key == field },
		DecodeHook:  mapstructure.DecodeHookFuncType(value),
	})
	if err != nil {
		return Config{}, err
	}
	var errs Errors
	for _, err := range flatten(decoder.Decode(raw)) {
		errs = append(errs, decodeErrors(err)...)
	}
	for _, err := range c.Validate() {
		if !errs.covers(err.Path) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return Config{}, errs
	}
	return c, nil
}

// value reads CIDRs, addresses, durations and whole numbers, and says in the user's terms what is wrong with one.
func value(from, to reflect.Type, data any) (any, error) {
	text, ok := data.(string)
	switch {
	case to == reflect.TypeFor[netip.Prefix]():
		prefix, err := netip.ParsePrefix(text)
		if !ok || err != nil || !prefix.Addr().Is4() {
			return nil, fmt.Errorf("must be an IPv4 CIDR such as 10.0.0.0/24, not %v", data)
		}
		if prefix != prefix.Masked() {
			return nil, fmt.Errorf("has bits set beyond its length: %s would be right", prefix.Masked())
		}
		return prefix, nil
	case to == reflect.TypeFor[netip.Addr]():
		addr, err := netip.ParseAddr(text)
		if !ok || err != nil || !addr.Is4() {
			return nil, fmt.Errorf("must be an IPv4 address such as 10.0.0.10, not %v", data)
		}
		return addr, nil
	case to == reflect.TypeFor[time.Duration]():
		duration, err := time.ParseDuration(text)
		if !ok || err != nil {
			return nil, fmt.Errorf("must be a duration such as 15m, not %v", data)
		}
		return duration, nil
	case to.Kind() == reflect.Int:
		if number, ok := data.(float64); ok && number != math.Trunc(number) {
			return nil, fmt.Errorf("must be a whole number, not %v", number)
		}
	}
	return data, nil
}

// flatten is every single error that err joins.
func flatten(err error) []error {
	var many interface{ Unwrap() []error }
	var one *mapstructure.DecodeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &one) && errors.Is(one, err):
		return []error{one}
	case errors.As(err, &many):
		var all []error
		for _, e := range many.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}

// decodeErrors puts one of the decoder's errors into the user's terms; unknown keys come several in one.
func decodeErrors(err error) Errors {
	var at *mapstructure.DecodeError
	if !errors.As(err, &at) {
		return Errors{{"cluster", err.Error()}}
	}
	var kind *mapstructure.UnconvertibleTypeError
	if errors.As(err, &kind) {
		if kind.Expected.Type() == reflect.TypeFor[Secret]() {
			return Errors{{at.Name(), "must be text: quote it"}}
		}
		return Errors{{at.Name(), fmt.Sprintf("must be %s, not %v", kindName(kind.Expected.Kind()), kind.Value)}}
	}
	keys, unknown := strings.CutPrefix(at.Unwrap().Error(), "has invalid keys: ")
	if !unknown {
		return Errors{{at.Name(), at.Unwrap().Error()}}
	}
	object := at.Name() + "."
	if at.Name() == reflect.TypeFor[Config]().String() { // so mapstructure names what is not inside of anything
		object = ""
	}
	var errs Errors
	for _, key := range strings.Split(keys, ", ") {
		errs.add(object+key, "unknown key")
	}
	return errs
}

// kindName says what a person would write there.
func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Int:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "a list"
	}
	return "an object of keys and values"
}
