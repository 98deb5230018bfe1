package drift

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"kubernetes-openstack/internal/status"
)

// compareCloud compares the state with OpenStack: resources that OpenStack lacks, fields that differ, and resources
// that belong to the cluster but are not in the state.
func (r *Report) compareCloud(stack status.Stack, cloud Cloud) {
	machines := map[string]bool{}
	for _, m := range stack.Machines() {
		machines[m.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(cloud.Unread)) {
		r.add(Finding{Kind: "OpenStack API", Name: name, Text: "cannot be read: " + cloud.Unread[name]})
	}
	known := map[string]map[string]bool{} // IDs by list, because two kinds can have the same list
	for _, k := range kinds {
		if known[k.list] == nil {
			known[k.list] = map[string]bool{}
		}
		for _, resource := range stack.OfType(k.typ) {
			known[k.list][resource.ID] = true
		}
	}
	groups := map[string]string{} // names of the cluster's security groups
	for _, group := range stack.OfType("openstack:networking/secGroup:SecGroup") {
		groups[group.ID] = group.Name
	}
	done := map[string]bool{}
	for _, k := range kinds {
		list, read := cloud.Lists[k.list]
		if !read {
			continue
		}
		byID := map[string]object{}
		for _, o := range list {
			byID[k.idOf(o)] = o
		}
		names := map[string]bool{}
		for _, resource := range stack.OfType(k.typ) {
			names[resource.Text("name")] = true
			machine, name := "", resource.Name
			if machines[resource.Name] {
				machine, name = resource.Name, ""
			}
			if o, exists := byID[resource.ID]; exists {
				r.compareFields(k, resource, o, machine, name)
			} else if k.personal && cloud.ownerOf(resource.ID) != cloud.User {
				r.Unknown = append(r.Unknown, fmt.Sprintf("%s %s: OpenStack shows it only to its owner, and the credentials "+
					"are of user %s", k.noun, name, cloud.User))
			} else {
				r.add(Finding{Machine: machine, Kind: k.noun, Name: name,
					Text: "OpenStack has no " + k.noun + " " + resource.ID})
			}
		}
		if done[k.list] {
			continue
		}
		done[k.list] = true
		for _, o := range list {
			id, name := k.idOf(o), text(o["name"])
			group := groups[text(o["security_group_id"])]
			ours := belongs(o, stack.Cluster()) || name != "" && names[name] || group != ""
			if known[k.list][id] || !ours || k.ignore != nil && k.ignore(o) {
				continue
			}
			if group != "" {
				name = group + " " + describeRule(o)
			}
			machine := ""
			if machines[name] {
				machine, name = name, ""
			}
			r.add(Finding{Machine: machine, Kind: k.noun, Name: name,
				Text: "belongs to no resource of the stack: " + id})
		}
	}
}

func (k kind) idOf(o object) string { return text(o[cmp.Or(k.id, "id")]) }

// describeRule returns a rule as a text such as "tcp 22 from 0.0.0.0/0".
func describeRule(o object) string {
	ports := ""
	if first := text(o["port_range_min"]); first != "" {
		ports = " " + first
		if last := text(o["port_range_max"]); last != first {
			ports += "-" + last
		}
	}
	from := cmp.Or(text(o["remote_ip_prefix"]), text(o["remote_group_id"]), "everywhere")
	return cmp.Or(text(o["protocol"]), "all protocols") + ports + " from " + from
}

// compareFields adds a finding for each field that differs.
func (r *Report) compareFields(k kind, resource status.Resource, o object, machine, name string) {
	for _, field := range k.fields {
		input, path, renamed := strings.Cut(field, ">")
		if !renamed {
			path = snake(input)
		}
		want, declared := resource.Inputs[input]
		if !declared {
			want = resource.Outputs[input] // for example the ID of a flavor with a name
		}
		got, known := lookup(o, path)
		if _, isList := got.([]any); want == nil && !isList || !known {
			continue
		}
		if !same(want, got) {
			r.differs(machine, k.noun, name, input, show(want), show(shaped(want, got)))
		}
	}
}

// lookup returns a field of an object. It returns false if the object has no such field. For example, the image of an
// instance that boots from a volume is "", and has no ID.
func lookup(o object, path string) (any, bool) {
	if value, known := o[path]; known { // names of Nova's extensions contain colons and dots
		return value, true
	}
	first, rest, nested := strings.Cut(path, ".")
	value, known := o[first]
	if inner, isObject := value.(object); isObject && nested {
		return lookup(inner, rest)
	}
	return nil, nested && known && value == nil // for example a router without a gateway
}

// snake returns the name in OpenStack of an input.
func snake(input string) string {
	var b strings.Builder
	for _, c := range input {
		if unicode.IsUpper(c) {
			b.WriteRune('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// defaults is a key of the provider in the state, with the names of the inputs that it has set.
const defaults = "__defaults"

// same returns true if OpenStack has the declared value. Further keys of an object, which OpenStack has set, are no
// difference. The order of lists has no meaning.
func same(want, got any) bool {
	switch want := want.(type) {
	case object:
		got, isObject := got.(object)
		for key, value := range want {
			if key != defaults && (!isObject || !same(value, got[key]) && !same(value, got[snake(key)])) {
				return false
			}
		}
		return true
	case []any:
		list, _ := got.([]any)
		rest := slices.Clone(list)
		for _, value := range want {
			i := slices.IndexFunc(rest, func(other any) bool { return same(value, other) })
			if i < 0 {
				return false
			}
			rest = slices.Delete(rest, i, i+1)
		}
		return len(rest) == 0
	case nil:
		list, isList := got.([]any)
		return got == nil || isList && len(list) == 0
	}
	return strings.EqualFold(text(want), text(got))
}

// shaped returns only those parts of got that want has, for a short text.
func shaped(want, got any) any {
	wanted, isObject := want.(object)
	if list, isList := want.([]any); isList {
		items, _ := got.([]any)
		var out []any
		for _, item := range items {
			if len(list) > 0 {
				item = shaped(list[0], item)
			}
			out = append(out, item)
		}
		return out
	}
	all, _ := got.(object)
	if !isObject || all == nil {
		return got
	}
	out := object{}
	for key := range wanted {
		if value, known := all[key]; known {
			out[key] = value
		} else if value, known := all[snake(key)]; known {
			out[key] = value
		}
	}
	return out
}

// text returns a simple value as text.
func text(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case float64: // all numbers in JSON
		return strconv.FormatFloat(value, 'f', -1, 64)
	}
	return fmt.Sprint(value)
}

// show returns any value as a short text. Lists are sorted.
func show(value any) string {
	switch value := value.(type) {
	case []any:
		var items []string
		for _, item := range value {
			items = append(items, show(item))
		}
		slices.Sort(items)
		return "[" + strings.Join(items, ", ") + "]"
	case object:
		value = maps.Clone(value)
		delete(value, defaults)
		encoded, _ := json.Marshal(value) // it was decoded from JSON
		return string(encoded)
	}
	return text(value)
}
