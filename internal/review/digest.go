package review

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/changes"
	"kubernetes-openstack/internal/field"
	"kubernetes-openstack/k8s"
	"kubernetes-openstack/policy"
)

// digest is the output of `pulumi preview --json`, in which secrets are masked.
type digest struct {
	Config      map[string]string
	Steps       []step
	Diagnostics []struct{ Severity, Message string }
}

// step is the change of one resource. A new resource has no OldState, and a deleted one has no NewState.
type step struct {
	Op, URN            string
	OldState, NewState *state
}

type state struct {
	Type                   string
	Custom, RetainOnDelete bool
	Inputs                 map[string]any
}

// Types of resources.
const (
	instanceType  = "openstack:compute/instance:Instance"
	volumeType    = "openstack:blockstorage/volume:Volume"
	containerType = "openstack:objectstorage/container:Container"
	leftoversType = "teardown:index:Leftovers"
	rolloutType   = "teardown:index:Rollout"
	providerType  = "pulumi:providers:teardown"
)

// name returns the name of the resource, such as prod-etcd-0.
func (s step) name() string { return s.URN[strings.LastIndex(s.URN, ":")+1:] }

// state returns the newest state of the resource.
func (s step) state() state { return *cmp.Or(s.NewState, s.OldState, &state{}) }

// deletes returns true if the step deletes the resource in OpenStack.
func (s step) deletes() bool {
	return (s.Op == "delete" || s.Op == "replace") && s.OldState != nil && !s.OldState.RetainOnDelete
}

// text returns an input that is a text.
func (s state) text(key string) string {
	text, _ := s.Inputs[key].(string)
	return text
}

// number returns an input that is a number.
func (s state) number(key string) int {
	number, _ := s.Inputs[key].(float64)
	return int(number)
}

// changes returns the table of the changes. It is empty in a preview without changes, and in that of a destroy.
func (s state) changes() (table changes.Table) {
	text, err := json.Marshal(s.Inputs["changes"])
	if err != nil || json.Unmarshal(text, &table) != nil {
		return changes.Table{} // of another version of the program
	}
	return table
}

// parse reads a preview.
func parse(preview []byte) (digest, error) {
	var d digest
	if err := json.Unmarshal(preview, &d); err != nil {
		return d, fmt.Errorf("must be the output of `pulumi preview --json`: %w", err)
	}
	if len(d.Steps) == 0 && len(d.Diagnostics) == 0 { // a preview has at least the step of the stack
		return d, errors.New("must be the output of `pulumi preview --json`, not JSON without steps")
	}
	return d, nil
}

// plan returns the plan of the stack. It is nil in the preview of a destroy. It is nil with an error if the
// configuration is invalid. A masked secret is invalid at most keys.
func (d digest) plan(stack string) (*cluster.Plan, error) {
	for _, s := range d.Steps {
		if s.Op == "delete" && s.state().Type == "pulumi:pulumi:Stack" {
			return nil, nil
		}
	}
	config, err := cluster.Decode(stack, d.Config["kubernetes-openstack:cluster"])
	if err != nil {
		return nil, err
	}
	plan := cluster.NewPlan(config)
	return &plan, nil
}

// checkPolicy returns what the rules of package policy find.
func checkPolicy(plan cluster.Plan) (warnings, errs field.Errors, err error) {
	images, err := k8s.Images(plan)
	if err != nil {
		return nil, nil, err
	}
	stack, err := policy.NewStack(plan, images)
	if err != nil {
		return nil, nil, err
	}
	warnings, errs = policy.Check(stack)
	return warnings, errs, nil
}
