// Package review turns the output of `pulumi preview --json` into one comment for a pull request. It is pure.
package review

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/changes"
)

// Result is what a change does, in ascending severity. It is also the exit code.
type Result int

// The results.
const (
	// Unchanged means that there are no changes.
	Unchanged Result = 0
	// Changed means that there are changes, but that all machines stay.
	Changed Result = 2
	// RemovesMachines means that machines are replaced or removed.
	RemovesMachines Result = 3
	// Refused means that the preview failed, or that the stack breaks a rule.
	Refused Result = 4
)

func (r Result) String() string {
	return map[Result]string{Unchanged: "no change", Changed: "changes",
		RemovesMachines: "**replaces or removes machines**", Refused: "**refused**"}[r]
}

// Review is what a reader must know about the preview of one stack.
type Review struct {
	Result Result

	stack string
	// project is the ID of the OpenStack project. It is "" for a new stack.
	project string
	// quota is what is left in the project, or nil if it is unknown.
	quota *Quota
	// errors are lines of the preview's errors, and of the program's standard error.
	errors []string
	// changes are the numbers of resources by kind and operation.
	changes map[string]map[string]int
	// machines are the changes of instances. table has the other machines that change, too. It is empty without a plan.
	machines []machine
	table    changes.Table
	// lost is the data that the change deletes.
	lost []string
	// total and change are the resources of the stack. total is empty without a plan.
	total, change usage
	prices        cluster.Prices
	// violations are the broken rules of package policy, and waivers those with a reason.
	violations, waivers []string
	// notes are sentences: the end of life of versions, and what the review does not know.
	notes []string
}

// machine is the change of one instance.
type machine struct{ name, op string }

// operations of steps that change something, in the order of the table.
var operations = []string{"create", "update", "replace", "delete"}

// kinds are the kinds of resources, in the order of the table. The first prefix of a type counts.
var kinds = []struct{ prefix, noun string }{
	{instanceType, "machine"},
	{volumeType, "volume of etcd"},
	{containerType, "container of backups"},
	{"openstack:networking/port:", "port"},
	{"openstack:networking/secGroupRule:", "rule of a security group"},
	{"openstack:", "other resource of OpenStack"},
	{"kubernetes:", "object in the cluster"},
	{"tls:", "key or certificate"},
	{"", "other"},
}

// New reads the preview of a stack. It returns an error if preview is not the output of `pulumi preview --json`. today
// is for the end of life of versions.
func New(stack string, preview []byte, today time.Time) (Review, error) {
	r := Review{stack: stack, changes: map[string]map[string]int{}, change: usage{}}
	if len(bytes.TrimSpace(preview)) == 0 { // for example, because the passphrase is wrong
		r.Result, r.errors = Refused, []string{"pulumi has printed no preview. Its error is in the log of this command."}
		return r, nil
	}
	d, err := parse(preview)
	if err != nil {
		return r, err
	}
	for _, diagnostic := range d.Diagnostics {
		switch diagnostic.Severity {
		case "error":
			r.Result = Refused
			fallthrough
		case "info#err": // the standard error of the program, such as an error of the compiler
			for line := range strings.SplitSeq(mask(strings.TrimSpace(diagnostic.Message)), "\n") {
				r.errors = append(r.errors, block(line))
			}
		}
	}
	for _, s := range d.Steps {
		r.add(s)
		if old := s.OldState; old != nil && old.Type == providerType { // a preview does not log in, so it has no new one
			r.project = old.text("project")
		}
	}
	plan, err := d.plan(stack)
	if err != nil && r.Result != Refused {
		r.notes = append(r.notes, "Lost data, quota, cost and rules are incomplete, because a secret in the configuration "+
			"hides a value: "+strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if plan == nil {
		return r, nil
	}
	r.total, r.prices = usageOf(*plan), plan.Prices
	for _, program := range programs(*plan) {
		if note := program.endOfLife(today); note != "" {
			r.notes = append(r.notes, note)
		}
	}
	if restore := plan.Etcd.Restore; restore != "" && slices.ContainsFunc(r.machines, changesEtcd(*plan)) {
		r.lost = append(r.lost, fmt.Sprintf("all data of etcd: the snapshot %s replaces it", code(restore)))
	}
	warnings, errs, err := checkPolicy(*plan)
	if err != nil {
		return r, err
	}
	for _, violation := range errs {
		r.violations = append(r.violations, fmt.Sprintf("error: %s: %s", code(violation.Path), violation.Message))
	}
	for _, violation := range warnings {
		r.violations = append(r.violations, fmt.Sprintf("warning: %s: %s", code(violation.Path), violation.Message))
	}
	if len(errs) > 0 {
		r.Result = Refused
	}
	for _, rule := range slices.Sorted(maps.Keys(plan.Policy.Waivers)) {
		r.waivers = append(r.waivers, fmt.Sprintf("%s: %s", code(rule), plan.Policy.Waivers[rule]))
	}
	return r, nil
}

// add adds the change of one resource.
func (r *Review) add(s step) {
	state := s.state()
	if !slices.Contains(operations, s.Op) || !state.Custom || strings.HasPrefix(state.Type, "pulumi:") {
		return
	}
	if state.Type == rolloutType { // only a record in the state
		r.table = state.changes()
		return
	}
	r.Result = max(r.Result, Changed)
	for _, kind := range kinds {
		if strings.HasPrefix(state.Type, kind.prefix) {
			if r.changes[kind.noun] == nil {
				r.changes[kind.noun] = map[string]int{}
			}
			r.changes[kind.noun][s.Op]++
			break
		}
	}
	r.change.add(s.NewState, 1)
	if s.Op == "update" || s.deletes() {
		r.change.add(s.OldState, -1)
	}
	switch {
	case state.Type == instanceType:
		r.machines = append(r.machines, machine{s.name(), s.Op})
		if s.deletes() {
			r.Result = max(r.Result, RemovesMachines)
		}
	case state.Type == volumeType && s.deletes():
		r.lost = append(r.lost, fmt.Sprintf("%s: the volume of a member of etcd, %d GiB", code(s.name()),
			s.OldState.number("size")))
	case state.Type == containerType && s.deletes():
		r.lost = append(r.lost, fmt.Sprintf("%s: the container with all backups of etcd", code(s.name())))
	case state.Type == leftoversType && s.Op == "delete" && s.OldState.text("onDestroy") == cluster.Delete:
		r.lost = append(r.lost, "all volumes and snapshots of claims in the cluster")
	}
}

// changesEtcd returns a function that is true for a replaced member of etcd. An update changes only its metadata.
func changesEtcd(plan cluster.Plan) func(machine) bool {
	return func(m machine) bool {
		isMember := func(member cluster.Machine) bool { return member.ID == m.name }
		return m.op != "create" && m.op != "update" && slices.ContainsFunc(plan.WithRole(cluster.RoleEtcd), isMember)
	}
}
