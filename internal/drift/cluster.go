package drift

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/status"
)

// The times before the end of a certificate from which its end is a finding.
const (
	// renewable is the time in which `pulumi up` renews the certificates in the state.
	renewable = 90 * 24 * time.Hour
	// rotated is less than a tenth of a year. kubelet renews each of its certificates before that.
	rotated = 30 * 24 * time.Hour
)

// approval is the time in which node-approver approves a request.
const approval = 15 * time.Second

// kindOf maps steps of machines to what their notices are about. The others are units.
var kindOf = map[string]string{"calico-peers": "BGP session", "etcd": "backup", "node": "certificate request"}

// compareCluster compares the state and the plan with the status of the cluster.
func (r *Report) compareCluster(plan *cluster.Plan, stack status.Stack, observed status.Cluster) {
	r.unread(observed)
	if plan != nil && observed.Version != "" && observed.Version != plan.Kubernetes.Version {
		r.differs("", "Kubernetes API", "", "version", plan.Kubernetes.Version, observed.Version)
	}
	for _, check := range observed.FailingChecks {
		r.add(Finding{Kind: "Kubernetes API", Name: check, Text: "the check fails in /readyz"})
	}
	if observed.APIServers != nil {
		for _, m := range stack.Machines() {
			if m.Role == string(cluster.RoleControlPlane) && !slices.Contains(observed.APIServers, m.Address) {
				r.add(Finding{Machine: m.Name, Kind: "Kubernetes API", Text: "kube-apiserver does not serve"})
			}
		}
	}
	if observed.Nodes != nil {
		r.compareNodes(plan, stack, observed.Nodes)
	}
	for _, request := range observed.Requests {
		if request.Age >= approval {
			r.add(Finding{Kind: "certificate request", Name: request.Name, Text: fmt.Sprintf("is pending: %s, of %s",
				request.Signer, request.User)})
		}
	}
	r.compareCertificates(stack, observed)
	for _, machine := range slices.Sorted(maps.Keys(observed.Consoles)) {
		console := observed.Consoles[machine]
		if !console.Reported {
			r.Unknown = append(r.Unknown, machine+": its console has no report")
		}
		for _, step := range console.Unfinished {
			name, state, _ := strings.Cut(step, ": ")
			r.add(Finding{Machine: machine, Kind: "unit", Name: name, Text: "is " + state})
		}
		for _, step := range slices.Sorted(maps.Keys(console.Notices)) {
			r.add(Finding{Machine: machine, Kind: cmp.Or(kindOf[step], "unit"), Name: step, Text: console.Notices[step]})
		}
	}
}

// unread adds what could not be read. An unreachable API is a finding. Consoles are unknown, because some clouds have
// none. Members of etcd are unknown if no member is reachable, because the rules allow only nodes to connect.
func (r *Report) unread(observed status.Cluster) {
	etcd := slices.ContainsFunc(observed.Served, func(c status.Certificate) bool { return c.Name != status.APIName })
	var unreachable []string
	for _, u := range observed.Unread {
		switch {
		case u.What == status.Console:
			r.Unknown = append(r.Unknown, fmt.Sprintf("%s: cannot read its console: %s", u.Name, u.Reason))
		case u.What == status.EtcdServer && !etcd:
			unreachable = append(unreachable, u.Name)
		case u.What == status.API:
			r.add(Finding{Kind: string(u.What), Name: u.Name, Text: "cannot be read: " + u.Reason})
		default:
			r.add(Finding{Machine: u.Name, Kind: string(u.What), Text: "cannot be read: " + u.Reason})
		}
	}
	if unreachable != nil {
		r.Unknown = append(r.Unknown, "members of etcd are unreachable from this host, so the certificates that they use "+
			"are unknown: "+strings.Join(unreachable, ", "))
	}
}

// compareNodes compares the machines in the state with the nodes of the cluster.
func (r *Report) compareNodes(plan *cluster.Plan, stack status.Stack, nodes []status.Node) {
	byName, systems := map[string]status.Node{}, map[string]int{}
	for _, n := range nodes {
		byName[n.Name] = n
		systems[n.OSImage]++
	}
	var common string // the operating system of most nodes, because all machines have the same image
	for _, system := range slices.Sorted(maps.Keys(systems)) {
		if systems[system] > systems[common] {
			common = system
		}
	}
	for _, m := range stack.Machines() {
		n, exists := byName[m.Name]
		delete(byName, m.Name)
		found := func(text string) { r.add(Finding{Machine: m.Name, Kind: "node", Text: text}) }
		switch {
		case m.Role == string(cluster.RoleEtcd):
			continue
		case !exists:
			found("is not registered")
			continue
		case n.NotReady != "":
			found("is not Ready: " + n.NotReady)
		}
		if n.Cordoned {
			found("is cordoned: it accepts no new pods")
		}
		for _, problem := range n.Problems {
			found(problem)
		}
		if n.Instance != m.Instance {
			r.differs(m.Name, "node", "", "instance", m.Instance, n.Instance)
		}
		if n.OSImage != common {
			r.differs(m.Name, "node", "", "operating system", common, n.OSImage)
		}
		if plan != nil {
			r.compareNode(*plan, n)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		r.add(Finding{Machine: name, Kind: "node", Text: "is not in the state"})
	}
}

// compareNode compares a node with its machine in the plan, if there is one. Further labels and taints of a node are no
// difference, because controllers set them.
func (r *Report) compareNode(plan cluster.Plan, n status.Node) {
	i := slices.IndexFunc(plan.Machines, func(m cluster.Machine) bool { return m.ID == n.Name })
	if i < 0 {
		return
	}
	m := plan.Machines[i]
	if n.Kubelet != plan.Kubernetes.Version {
		r.differs(m.ID, "node", "", "version of kubelet", plan.Kubernetes.Version, n.Kubelet)
	}
	if want := "containerd://" + version(m, "containerd"); n.Runtime != want {
		r.differs(m.ID, "node", "", "container runtime", want, n.Runtime)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Labels)) {
		if n.Labels[key] != m.Labels[key] {
			r.differs(m.ID, "node", "", "label "+key, m.Labels[key], n.Labels[key])
		}
	}
	for _, t := range m.Taints {
		if text := t.Key + "=" + t.Value + ":" + t.Effect; !slices.Contains(n.Taints, text) {
			r.add(Finding{Machine: m.ID, Kind: "node", Text: "has no taint " + text})
		}
	}
}

// version returns the version of an artifact of a machine.
func version(m cluster.Machine, artifact string) string {
	i := slices.IndexFunc(m.Artifacts, func(a cluster.Artifact) bool { return a.Name == artifact })
	if i < 0 {
		return ""
	}
	return m.Artifacts[i].Version
}

// compareCertificates adds certificates that end soon, and servers that do not present a certificate of the state.
func (r *Report) compareCertificates(stack status.Stack, observed status.Cluster) {
	var all []string
	for _, c := range stack.Certificates() {
		all = append(all, c.PEM)
		r.ends("", c.Name, c.End, observed.Time, renewable)
	}
	for _, c := range observed.Served {
		if !slices.Contains(all, c.PEM) {
			r.add(Finding{Machine: strings.TrimPrefix(c.Name, status.APIName), Kind: "certificate", Name: "server",
				Text: fmt.Sprintf("is not in the state, and expires %s", c.End.Format(time.DateOnly))})
		}
	}
	for _, n := range observed.Nodes {
		r.ends(n.Name, "serving certificate of kubelet", n.ServingEnd, observed.Time, rotated)
		r.ends(n.Name, "client certificate of kubelet", n.ClientEnd, observed.Time, rotated)
	}
}

// ends adds a finding if a certificate ends within limit. An unknown end is zero.
func (r *Report) ends(machine, name string, end, now time.Time, limit time.Duration) {
	left := end.Sub(now)
	if end.IsZero() || left > limit {
		return
	}
	text := fmt.Sprintf("expires %s, in %d days", end.Format(time.DateOnly), int(left.Hours()/24))
	if left < 0 {
		text = "expired " + end.Format(time.DateOnly)
	}
	r.add(Finding{Machine: machine, Kind: "certificate", Name: name, Text: text})
}
