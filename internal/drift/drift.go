// Package drift compares a stack with its cloud and its cluster. Find is pure.
//
// The base of the comparison with OpenStack are lists of all resources of a kind, and not `pulumi refresh
// --preview-only`. The lists also have resources that belong to the cluster but are not in the state, such as a rule of
// a security group that somebody has added. They need about 15 requests and neither the lock of the stack nor plugins.
package drift

import (
	"cmp"
	"slices"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/status"
)

// Finding is one difference.
type Finding struct {
	// Machine is the name of the machine, or "" for the cluster.
	Machine string `json:"machine"`
	// Kind is the kind of the thing that differs, such as port, and Name is its name if it is not the machine's.
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
	// Field differs. It is "" if the whole thing does.
	Field string `json:"field,omitempty"`
	// Want is the value in the state or the plan, and Got is the current value.
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
	// Text describes the difference.
	Text string `json:"text"`
}

// Report is the result of a comparison.
type Report struct {
	Stack    string    `json:"stack"`
	Findings []Finding `json:"findings"`
	// Unknown lists the parts that this run could not compare. Nothing may be wrong with them: some clouds have no
	// consoles, and members of etcd are reachable only from the network of the machines.
	Unknown []string `json:"unknown"`
}

// Find returns all differences, sorted by machine, and those of the cluster first. Without a plan, it does not compare
// versions, labels and taints.
func Find(plan *cluster.Plan, stack status.Stack, cloud Cloud, observed status.Cluster) Report {
	r := &Report{Stack: stack.Name, Findings: []Finding{}, Unknown: []string{}}
	r.compareCloud(stack, cloud)
	r.compareCluster(plan, stack, observed)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Field, b.Field))
	})
	return *r
}

func (r *Report) add(f Finding) { r.Findings = append(r.Findings, f) }

// differs adds a finding about a field.
func (r *Report) differs(machine, kind, name, field, want, got string) {
	r.add(Finding{machine, kind, name, field, want, got,
		field + " is " + cmp.Or(got, "empty") + ", not " + cmp.Or(want, "empty")})
}
