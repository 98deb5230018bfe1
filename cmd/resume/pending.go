package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"
)

// object is a part of the state. All fields are kept unchanged, including those that this Pulumi SDK does not
// support.
type object = map[string]any

// state is the output of `pulumi stack export`.
type state struct {
	export     []byte
	document   object
	deployment object
}

// create is a resource that OpenStack may have although it is not in the state. Its create began, and the engine did
// not record its end. Or its create failed.
type create struct {
	URN, Type string
	Inputs    inputs
	// Times is the number of interrupted or failed creates. Each may have left a resource in OpenStack.
	Times int
	// failed is true if the state has no pending operation.
	failed   bool
	resource object
}

// newCreate returns a create of a resource in the state's form.
func newCreate(r object) create {
	c := create{Times: 1, resource: r}
	c.URN, _ = r["urn"].(string)
	c.Type, _ = r["type"].(string)
	in, _ := r["inputs"].(object)
	c.Inputs = inputs(in)
	return c
}

// InOpenStack returns true if the resource exists in OpenStack. Components, providers and TLS resources exist
// only in the state. For a Kubernetes object that already exists, the next create updates it.
func (c create) InOpenStack() bool { return strings.HasPrefix(c.Type, "openstack:") }

func (c create) String() string { return c.Type + " " + urn.URN(c.URN).Name() }

// inputs are the inputs of a resource as the provider received them. Secrets are encrypted, and no code in
// this package needs one.
type inputs object

// text returns a text input, or "" if it is not set or not a text.
func (in inputs) text(key string) string {
	s, _ := in[key].(string)
	return s
}

// number returns a number input, or 0 if it is not set.
func (in inputs) number(key string) int {
	n, _ := in[key].(json.Number)
	i, _ := n.Int64()
	return int(i)
}

// first returns the first element of an input that is a list of objects.
func (in inputs) first(key string) inputs {
	list, _ := in[key].([]any)
	if len(list) == 0 {
		return nil
	}
	o, _ := list[0].(object)
	return inputs(o)
}

// decode decodes JSON without a loss of digits in numbers.
func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

func parse(export []byte) (*state, error) {
	s := &state{export: export}
	if err := decode(export, &s.document); err != nil {
		return nil, err
	}
	s.deployment, _ = s.document["deployment"].(object)
	if s.deployment == nil { // an empty stack, which has no resource yet
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

// interrupted returns true if there is something to resume. That is a pending operation, or a resource that
// an interrupted resume adopted and did not read.
func (s *state) interrupted() bool {
	for _, r := range s.list("resources") {
		typ, _ := r["type"].(string)
		if outputs, _ := r["outputs"].(object); finders[typ] != nil && len(outputs) == 0 && r["pendingReplacement"] != true {
			return true
		}
	}
	return len(s.list("pending_operations")) > 0
}

// creates returns the pending creates, with each URN once.
func (s *state) creates() ([]create, error) {
	var out []create
	index := map[string]int{}
	for _, op := range s.list("pending_operations") {
		if op["type"] != "creating" {
			continue // the resource has an ID, so the refresh reads how the operation ended
		}
		r, _ := op["resource"].(object)
		c := newCreate(r)
		if c.URN == "" || c.Type == "" {
			return nil, fmt.Errorf("a pending create has no URN or no type")
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

// deletes returns the resources whose deletes are pending.
func (s *state) deletes() []object {
	var out []object
	for _, op := range s.list("pending_operations") {
		if r, ok := op["resource"].(object); ok && op["type"] == "deleting" {
			out = append(out, r)
		}
	}
	return out
}

// failedInstances returns the instances whose create or update failed, and that the next `up` does not replace anyway.
func (s *state) failedInstances() []object {
	var out []object
	for _, r := range s.list("resources") {
		errs, _ := r["initErrors"].([]any)
		if r["type"] == instance && len(errs) > 0 && r["taint"] != true && r["delete"] != true {
			out = append(out, r)
		}
	}
	return out
}

// has returns true if a resource of this type and ID is in the state.
func (s *state) has(typ, id string) bool {
	for _, r := range s.list("resources") {
		if r["type"] == typ && r["id"] == id && r["pendingReplacement"] != true {
			return true
		}
	}
	return false
}

// project returns the ID of the OpenStack project with the stack's resources, or "" if the state has no resource
// there. Each resource of Neutron has the ID. Its name in the provider is tenantId.
func (s *state) project() string {
	for _, r := range s.list("resources") {
		outputs, _ := r["outputs"].(object)
		typ, _ := r["type"].(string)
		if id, _ := outputs["tenantId"].(string); id != "" && strings.HasPrefix(typ, "openstack:networking/") {
			return id
		}
	}
	return ""
}

// createdAt returns the time when the stack's first update began, or zero if the state does not contain it.
func (s *state) createdAt() time.Time {
	for _, r := range s.list("resources") {
		if r["type"] == "pulumi:pulumi:Stack" {
			text, _ := r["created"].(string)
			t, _ := time.Parse(time.RFC3339, text)
			return t
		}
	}
	return time.Time{}
}

// adopt adds a found resource to the state. If a live resource already has the URN, adopt adds it as a
// resource to delete, and returns true.
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
		case old["pendingReplacement"] == true: // deleted before its replacement was created
			resources[i] = r
			return true
		default:
			r["delete"] = true
			s.deployment["resources"] = append(resources, r)
			return false
		}
	}
	// append it at the end, because a create begins after the creates of all its dependencies
	s.deployment["resources"] = append(resources, r)
	return true
}

// clearPending removes the pending operations, because the state now contains the resources that they left.
func (s *state) clearPending() { delete(s.deployment, "pending_operations") }
