// Package policy holds the rules that a stack follows, beyond a valid configuration. Each rule has a reason and a
// remedy. A stack that breaks a rule on purpose states its reason in policy.waivers.
//
// The package is pure. The program checks all rules before it declares any resource, so they also apply in a preview
// and in the tests of the program. Rules of an organisation are in organisation.go.
package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/field"
)

// Level is the effect of a broken rule.
type Level string

const (
	// Error ends `pulumi preview` and `pulumi up`. It is for access that strangers would get, and for machines that cannot
	// start.
	Error Level = "error"
	// Warning is only shown. It is for the data and the availability of a cluster in production. So no rule of this level
	// is checked on devcloud.
	Warning Level = "warning"
)

// Rule is one rule.
type Rule struct {
	// ID is the name of the rule in policy.waivers.
	ID    string
	Level Level
	// When states when a stack breaks the rule. It is the end of a sentence. Reason and Remedy are sentences.
	When, Reason, Remedy string
	// Check adds an error for each place where the stack breaks the rule: its path in the configuration, and what is wrong
	// there.
	Check func(s Stack, e *field.Errors)
}

// builtIn are the rules of this repository. Only they apply in its tests of single rules, so a rule of an organisation
// makes none of these tests fail.
var builtIn = slices.Concat(access, data, failures, images)

// Rules returns all rules, in the order of docs/policy.md.
func Rules() []Rule { return slices.Concat(builtIn, organisation) }

// Stack is all that a rule sees: the plan with its configuration, and what follows from them.
type Stack struct {
	cluster.Plan
	// Images are the images of the pods that the program declares, and those that nodes pull by themselves.
	Images []string
	// UserData has the user-data of the first machine of each group, by the group's name. It differs from the other
	// machines only in names, addresses and zones. Stand-ins replace all values that only other resources provide. Those
	// of private keys are in PEM.
	UserData map[string]string
}

// Check returns the places where the stack breaks a rule without a waiver, by the level of the rule. Each wrong waiver
// is an error too: a waiver without a reason, of a rule that does not exist, or of a rule that the stack follows.
func Check(s Stack) (warnings, errs field.Errors) { return check(Rules(), s) }

func check(rules []Rule, s Stack) (warnings, errs field.Errors) {
	unknown := maps.Clone(s.Policy.Waivers)
	for _, rule := range rules {
		broken := rule.broken(s)
		reason, waived := s.Policy.Waivers[rule.ID]
		delete(unknown, rule.ID)
		switch {
		case waived && len(broken) == 0:
			errs.Add(waiver(rule.ID), "must be removed, because the stack does not break this rule")
		case waived && strings.TrimSpace(reason) == "":
			errs.Add(waiver(rule.ID), "must be set to the reason why the stack breaks this rule")
		case waived:
		case rule.Level == Warning:
			warnings = append(warnings, broken...)
		default:
			errs = append(errs, broken...)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(unknown)) {
		errs.Add(waiver(id), "is not a rule: docs/policy.md lists all rules")
	}
	return warnings, errs
}

// broken returns the places where s breaks the rule, with the rule's reason and remedy.
func (r Rule) broken(s Stack) field.Errors {
	if r.Level == Warning && s.Devcloud {
		return nil
	}
	var broken field.Errors
	r.Check(s, &broken)
	for i := range broken {
		broken[i].Message += fmt.Sprintf(". %s %s Or set %s to a reason.", r.Reason, r.Remedy, waiver(r.ID))
	}
	return broken
}

// waiver returns the path of the waiver of a rule.
func waiver(id string) string { return "policy.waivers." + id }
