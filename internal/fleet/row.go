// Package fleet lists many clusters: from the states of their stacks, and from what the clusters report. It sends no
// request by itself.
package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/review"
	"kubernetes-openstack/internal/status"
)

// Row is what a reader must know about one cluster. A field is nil if it is unknown or does not exist.
type Row struct {
	Stack  string `json:"stack"`
	Region string `json:"region,omitempty"`
	// Versions are those of the last `up`. Running are the versions of the API server and of the kubelets.
	Versions cluster.Versions `json:"versions"`
	Running  []string         `json:"running,omitempty"`
	// API is Ready, or the reason why it is not.
	API   string `json:"api"`
	Nodes *Count `json:"nodes,omitempty"`
	Etcd  *Count `json:"etcd,omitempty"`
	// BGP counts the nodes with all their BGP sessions.
	BGP         *Count       `json:"bgp,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	Backup      *Backup      `json:"backup,omitempty"`
	Updated     *time.Time   `json:"updated,omitempty"`
	// Drift is the number of differences.
	Drift *int  `json:"drift,omitempty"`
	Cost  *Cost `json:"cost,omitempty"`
	// Unknown maps what could not be read to the reason.
	Unknown map[Part]string `json:"unknown,omitempty"`
}

// Ready is the state of an API that serves. Others begin with one of these words, and have a reason.
const (
	Ready       = "ready"
	notReady    = "not ready: "
	unreachable = "unreachable: "
	notKnown    = "unknown: "
)

// Count is a number of machines. Unknown are those of the planned machines that do not report whether they are ready.
type Count struct {
	Ready   int `json:"ready"`
	Planned int `json:"planned"`
	Unknown int `json:"unknown,omitempty"`
}

// Certificate is the certificate that ends first.
type Certificate struct {
	Name string    `json:"name"`
	End  time.Time `json:"end"`
}

// Backup is the newest snapshot of etcd. Time is nil if there is none.
type Backup struct {
	Time *time.Time `json:"time"`
	// MaxAge is the age in seconds above which a snapshot is missing.
	MaxAge float64 `json:"maxAgeSeconds"`
}

// Cost is the cost per month. Unpriced are the units without a price.
type Cost struct {
	PerMonth float64  `json:"perMonth"`
	Currency string   `json:"currency,omitempty"`
	Unpriced []string `json:"unpriced,omitempty"`
}

// Part is a part of a row that can be unknown.
type Part string

// The parts.
const (
	StatePart  Part = "state"
	NodesPart  Part = "nodes"
	EtcdPart   Part = "etcd"
	BGPPart    Part = "bgp"
	BackupPart Part = "backup"
	DriftPart  Part = "drift"
)

// parts are those that the state does not have, in the order of the columns.
var parts = []Part{NodesPart, EtcdPart, BGPPart, BackupPart, DriftPart}

// Facts are what was read about a cluster beside its state. Unknown maps what could not be read to the reason.
type Facts struct {
	Status status.Cluster
	// Backup is the time of the newest snapshot, or zero without snapshots.
	Backup time.Time
	// Drift is the number of differences.
	Drift   int
	Unknown map[Part]string
}

// unreadable returns the row of a stack whose state cannot be read.
func unreadable(stack string, err error) Row {
	reason := oneLine(err.Error())
	return Row{Stack: oneLine(stack), API: notKnown + reason, Unknown: map[Part]string{StatePart: reason}}
}

// fromState returns the row of a stack with the fields that need only its state.
func fromState(stack status.Stack) Row {
	summary, err := cluster.ReadSummary(stack.Outputs["cluster"])
	row := Row{Stack: oneLine(stack.Name), Region: summary.Region, Versions: summary.Versions, Unknown: map[Part]string{}}
	if err != nil {
		row.Unknown[StatePart] = oneLine("output cluster: " + err.Error())
	}
	if !stack.Updated.IsZero() {
		row.Updated = &stack.Updated
	}
	for _, r := range stack.OfType(status.InstanceType) {
		if region, _ := r.Outputs["region"].(string); row.Region == "" {
			row.Region = region
		}
	}
	if len(summary.Prices.Flavors)+len(summary.Prices.Volumes) > 0 {
		sum, unpriced := review.Cost(stack.Resources, summary.Prices)
		row.Cost = &Cost{PerMonth: sum, Currency: summary.Prices.Currency, Unpriced: unpriced}
	}
	if summary.BackupInterval > 0 {
		// a member prints a notice at the same age
		row.Backup = &Backup{MaxAge: (summary.BackupInterval * 3 / 2).Seconds()}
	}
	row.endsFirst(stack.Certificates())
	switch {
	case len(stack.Machines()) == 0:
		row.API, row.Backup = "the stack has no machines", nil
	case stack.Kubeconfig() == "":
		const reason = "the state has no kubeconfig that this host can decrypt"
		row.API = notKnown + reason
		for _, part := range parts {
			row.Unknown[part] = reason
		}
	}
	return row
}

// add adds what was read about the cluster.
func (r *Row) add(stack status.Stack, f Facts) {
	maps.Copy(r.Unknown, f.Unknown)
	machines := stack.Machines()
	r.endsFirst(f.Status.Served)
	reason := r.addAPI(f.Status)
	if reason == "" {
		r.addNodes(machines, f.Status)
	} else {
		r.Unknown[NodesPart] = reason
	}
	r.addConsoles(machines, f)
	if _, unknown := f.Unknown[BackupPart]; !unknown && r.Backup != nil && !f.Backup.IsZero() {
		r.Backup.Time = &f.Backup
	}
	if _, unknown := f.Unknown[DriftPart]; !unknown {
		r.Drift = &f.Drift
	}
	for part, reason := range r.Unknown {
		r.Unknown[part] = oneLine(reason)
	}
}

// addAPI adds the state of the API. It returns the reason why the nodes are unknown, or "".
func (r *Row) addAPI(s status.Cluster) (reason string) {
	r.API = Ready
	if len(s.FailingChecks) > 0 {
		r.API = oneLine(notReady + strings.Join(s.FailingChecks, ", "))
	}
	for _, unread := range s.Unread {
		switch {
		case unread.What != status.API:
		case unread.Name == "":
			r.API, reason = unreachable+oneLine(unread.Reason), unread.Reason
		case unread.Name == "nodes":
			reason = unread.Reason
		case unread.Name == "/readyz" && r.API == Ready:
			r.API = notKnown + oneLine(unread.Reason)
		}
	}
	return reason
}

// addNodes adds the nodes and their versions.
func (r *Row) addNodes(machines []status.Machine, s status.Cluster) {
	r.Nodes = &Count{}
	versions := map[string]bool{s.Version: true}
	for _, m := range machines {
		if m.Role == string(cluster.RoleEtcd) {
			continue
		}
		r.Nodes.Planned++
		for _, n := range s.Nodes {
			if n.Name == m.Name {
				versions[n.Kubelet] = true
				r.endsFirst([]status.Certificate{{Name: n.Name, End: n.ServingEnd}, {Name: n.Name, End: n.ClientEnd}})
				if n.NotReady == "" && n.Instance == m.Instance {
					r.Nodes.Ready++
				}
			}
		}
	}
	delete(versions, "") // could not be read
	r.Running = slices.Sorted(maps.Keys(versions))
}

// addConsoles adds what the machines report on their consoles. A machine without a report is unknown.
func (r *Row) addConsoles(machines []status.Machine, f Facts) {
	etcd, nodes := &Count{}, &Count{}
	for _, m := range machines {
		console := f.Status.Consoles[m.Name]
		count, healthy := nodes, console.Notices["calico-peers"] == ""
		if m.Role == string(cluster.RoleEtcd) {
			count, healthy = etcd, console.Ready
		}
		count.Planned++
		switch {
		case !console.Reported:
			count.Unknown++
		case healthy:
			count.Ready++
		}
	}
	for part, count := range map[Part]*Count{EtcdPart: etcd, BGPPart: nodes} {
		if _, unknown := r.Unknown[part]; count.Unknown > 0 && !unknown {
			r.Unknown[part] = fmt.Sprintf("%d of %d machines have no report on their consoles", count.Unknown, count.Planned)
		}
	}
	if etcd.Unknown < etcd.Planned {
		r.Etcd = etcd
	}
	if nodes.Unknown < nodes.Planned {
		r.BGP = nodes
	}
}

// endsFirst keeps the certificate that ends first.
func (r *Row) endsFirst(certificates []status.Certificate) {
	for _, c := range certificates {
		if !c.End.IsZero() && (r.Certificate == nil || c.End.Before(r.Certificate.End)) {
			r.Certificate = &Certificate{c.Name, c.End}
		}
	}
}

// runs returns the planned version of Kubernetes, and the others that run.
func (r *Row) runs() (text string, differs bool) {
	text = r.Versions.Kubernetes
	var others []string
	for _, version := range r.Running {
		if version != text {
			others = append(others, version)
		}
	}
	switch {
	case text == "": // the last `up` was with an older program
		return strings.Join(others, ", "), false
	case len(others) > 0:
		return fmt.Sprintf("%s, runs %s", text, strings.Join(others, ", ")), true
	}
	return text, false
}

// maxReason is the maximum number of characters of a reason.
const maxReason = 300

// oneLine returns a short text of others on one line, without secrets.
func oneLine(text string) string {
	text = review.OneLine(text)
	if runes := []rune(text); len(runes) > maxReason {
		return string(runes[:maxReason-1]) + "…"
	}
	return text
}
