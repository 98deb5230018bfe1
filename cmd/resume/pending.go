package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"
)

// object is a piece of the state. All of it is kept as it came, also what this Pulumi SDK does not know.
type object = map[string]any

// state is what `pulumi stack export` gives.
type state struct {
	document   object
	deployment object
}

// create is a resource whose create was begun and not seen to end.
type create struct {
	URN, Type string
	Inputs    inputs
	// Times that it was interrupted: each may have left one in OpenStack.
	Times    int
	resource object
}

// Outside tells whether the resource is anything in OpenStack: components, providers and TLS resources are in the state
// alone, and an object of Kubernetes that is there already is what its next create makes of it.
func (c create) Outside() bool { return strings.HasPrefix(c.Type, "openstack:") }

func (c create) String() string { return c.Type + " " + urn.URN(c.URN).Name() }

// inputs of a resource, as the provider had them. Secrets among them are encrypted, and nothing here asks for one.
type inputs object

// text of an input; "" if it is not set, or no text.
func (in inputs) text(key string) string {
	s, _ := in[key].(string)
	return s
}

// number of an input; 0 if it is not set.
func (in inputs) number(key string) int {
	n, _ := in[key].(json.Number)
	i, _ := n.Int64()
	return int(i)
}

// first of an input that is a list of objects.
func (in inputs) first(key string) inputs {
	list, _ := in[key].([]any)
	if len(list) == 0 {
		return nil
	}
	o, _ := list[0].(object)
	return inputs(o)
}

func parse(export []byte) (*state, error) {
	decoder := json.NewDecoder(bytes.NewReader(export))
	decoder.UseNumber()
	s := &state{}
	if err := decoder.Decode(&s.document); err != nil {
		return nil, err
	}
	s.deployment, _ = s.document["deployment"].(object)
	if s.deployment == nil { // a stack that never got as far as a first resource
		s.deployment = object{}
	}
	return s, nil
}

func (s *state) list(key string) []object {
	var out []object
	list, _ := s.deployment[key].([]any)
	for _, o := range list {
		if o, ok := o.(object); ok {
			out = append(out, o)
		}
	}
	return out
}

// interrupted tells whether there is anything to resume: a pending operation, or what an interrupted resume adopted and
// did not read.
func (s *state) interrupted() bool {
	for _, r := range s.list("resources") {
		typ, _ := r["type"].(string)
		if outputs, _ := r["outputs"].(object); finders[typ] != nil && len(outputs) == 0 && r["pendingReplacement"] != true {
			return true
		}
	}
	return len(s.list("pending_operations")) > 0
}

// creates are the pending ones, each URN once.
func (s *state) creates() ([]create, error) {
	var out []create
	index := map[string]int{}
	for _, op := range s.list("pending_operations") {
		if op["type"] != "creating" {
			continue // of what has an ID: the refresh sees how it ended
		}
		r, _ := op["resource"].(object)
		c := create{Times: 1, resource: r}
		c.URN, _ = r["urn"].(string)
		c.Type, _ = r["type"].(string)
		in, _ := r["inputs"].(object)
		c.Inputs = inputs(in)
		if c.URN == "" || c.Type == "" {
			return nil, fmt.Errorf("a pending create without a URN or type")
		}
		if i, ok := index[c.URN]; ok {
			out[i].Times++
			continue
		}
		index[c.URN] = len(out)
		out = append(out, c)
	}
	return out, nil
}

// taintFailed has the next up replace each instance whose create or update failed, and tells which.
func (s *state) taintFailed() []string {
	var out []string
	for _, r := range s.list("resources") {
		errs, _ := r["initErrors"].([]any)
		if r["type"] != "openstack:compute/instance:Instance" || len(errs) == 0 || r["taint"] == true || r["delete"] == true {
			continue
		}
		r["taint"] = true
		name, _ := r["urn"].(string)
		out = append(out, urn.URN(name).Name())
	}
	return out
}

// has tells whether a resource of this type and ID is in the state.
func (s *state) has(typ, id string) bool {
	for _, r := range s.list("resources") {
		if r["type"] == typ && r["id"] == id && r["pendingReplacement"] != true {
			return true
		}
	}
	return false
}

// born is when the stack's first update began; zero if the state does not tell.
func (s *state) born() time.Time {
	for _, r := range s.list("resources") {
		if r["type"] == "pulumi:pulumi:Stack" {
			text, _ := r["created"].(string)
			t, _ := time.Parse(time.RFC3339, text)
			return t
		}
	}
	return time.Time{}
}

// adopt puts what was found into the state: as the resource, or as one to delete if a live one has the URN.
func (s *state) adopt(c create, f candidate) (live bool) {
	r := object{}
	for k, v := range c.resource {
		r[k] = v
	}
	r["id"] = f.ID
	if f.Redo != "" {
		r["taint"] = true
	}
	resources, _ := s.deployment["resources"].([]any)
	for i, old := range s.list("resources") {
		switch {
		case old["urn"] != c.URN || old["delete"] == true:
		case old["pendingReplacement"] == true: // deleted to make room for this one
			resources[i] = r
			return true
		default:
			r["delete"] = true
			s.deployment["resources"] = append(resources, r)
			return false
		}
	}
	// last: a create begins after all that it depends on
	s.deployment["resources"] = append(resources, r)
	return true
}

// settle drops the pending operations: what they left is in the state by now.
func (s *state) settle() { delete(s.deployment, "pending_operations") }
