package cluster

import (
	"fmt"
	"net/netip"
	"slices"
)

// Rule is one rule of a security group for packets to the machines of one role. Packets from machines are not limited.
//
// The source is a prefix, never a security group. Neutron treats a port's allowed address pairs, which include the pod
// CIDR, as members of the port's group. A security group as the source would therefore allow packets from every pod.
type Rule struct {
	// Name contains all that distinguishes the rule from others in Neutron: etcd-2379-from-10.0.0.32/28. Neutron refuses
	// a second rule with the same protocol, port and source. So the same rule must have the same name after a pool has
	// another name.
	Name string
	To   Role
	// Protocol is Neutron's name of the protocol (tcp, icmp, vrrp), or empty for any.
	Protocol string
	// Port is 0 for all. LastPort is the last port of a range, or 0.
	Port, LastPort int
	From           netip.Prefix
	// Reason is the description of a new rule in OpenStack. It has no effect on an existing rule.
	Reason string
}

// AddressPairs returns the allowed address pairs of the port of a machine: addresses from which it may send packets in
// addition to its own. Nodes send packets from addresses of pods and Services. With keepalived, a control plane also
// sends packets from the API's address.
func (c Config) AddressPairs(role Role) []string {
	var out []string
	if role == RoleControlPlane && c.API.LoadBalancer == Keepalived {
		out = append(out, c.API.Address.String()) // NewPlan sets it
	}
	for _, r := range c.ranges() {
		if role != RoleEtcd && r.path != machineRangePath {
			out = append(out, r.prefix.String())
		}
	}
	return out
}

// firstNodePort and lastNodePort are kube-apiserver's default of --service-node-port-range.
const firstNodePort, lastNodePort = 30000, 32767

// maxAddressPairs is the default of Neutron's limit max_allowed_address_pair.
const maxAddressPairs = 10

// rules returns all rules in the order of roles.
//
// Nodes accept all packets from other nodes, so BGP, the kubelet API and encapsulated packets need no separate rules.
// This is necessary for traffic to pods, because a security group cannot distinguish a pod from its node: kube-proxy
// forwards packets of clients outside the cluster to pods on other nodes with the source address of its own node. The
// API server also connects to webhooks from its node's address.
func (p Plan) rules() []Rule {
	var etcd, controlPlane, workers []netip.Prefix
	for _, g := range p.groups() {
		switch g.role {
		case RoleEtcd:
			etcd = append(etcd, g.Addresses)
		case RoleControlPlane:
			controlPlane = append(controlPlane, g.Addresses)
		case RoleWorker:
			workers = append(workers, g.Addresses)
		}
	}
	nodes := slices.Concat(controlPlane, workers)
	machines := []netip.Prefix{p.Network.CIDR}
	pods := []netip.Prefix{p.Network.PodCIDR}

	var out []Rule
	names := map[string]bool{}
	allow := func(to []Role, protocol string, port int, reason string, from []netip.Prefix) {
		for _, role := range to {
			for _, prefix := range from {
				if name := ruleName(role, protocol, port, prefix.Masked()); !names[name] {
					out = append(out, Rule{Name: name, To: role, Protocol: protocol, Port: port, From: prefix, Reason: reason})
					names[name] = true
				}
			}
		}
	}
	allow(Roles, "icmp", 0, "path MTU discovery and ping between machines", machines)
	allow(Roles, "tcp", SSHPort, "SSH from operators", p.SSH.AllowedCIDRs)
	allow([]Role{RoleEtcd}, "tcp", EtcdClientPort, "etcd clients: members, and the etcd-proxy on each node",
		slices.Concat(etcd, nodes))
	allow([]Role{RoleEtcd}, "tcp", EtcdPeerPort, "etcd peers", etcd)
	if p.Monitoring.Enabled {
		// Prometheus is a pod on a worker. Its packets have the address of the worker if Calico translates them.
		prometheus := pods
		if p.IPPool.NATOutgoing {
			prometheus = workers
		}
		allow([]Role{RoleEtcd}, "tcp", MetricsPort, "metrics of etcd and of its machine, for Prometheus", prometheus)
	}
	allow([]Role{RoleControlPlane}, "tcp", APIPort, "Kubernetes API for machines", machines)
	allow([]Role{RoleControlPlane}, "tcp", APIPort, "Kubernetes API for clients outside the cluster",
		p.API.AllowedCIDRs)
	if p.API.LoadBalancer == Keepalived {
		allow([]Role{RoleControlPlane}, "vrrp", 0, "keepalived: election of the machine with the API's address", controlPlane)
	}
	allow([]Role{RoleControlPlane, RoleWorker}, "", 0, "packets from pods on other nodes, not encapsulated", pods)
	allow([]Role{RoleControlPlane, RoleWorker}, "", 0,
		"packets between nodes: BGP, kubelet API, and packets from kube-proxy and the API server to pods", nodes)
	for _, peer := range p.BGPPeers {
		if peer.PeerSelector == "" {
			router := []netip.Prefix{netip.PrefixFrom(peer.PeerIP, 32)}
			allow(p.rolesOf(peer.Nodes), "tcp", BGPPort, "BGP from a router of the data centre", router)
		}
	}
	allow([]Role{RoleWorker}, "", 0, "clients of pods and Services outside the cluster", p.Network.AllowedCIDRs)
	if p.OpenStack.LoadBalancer == Octavia {
		for _, protocol := range []string{"tcp", "udp"} {
			out = append(out, Rule{
				Name: fmt.Sprintf("%s-%s-%d-%d-from-%s", RoleWorker, protocol, firstNodePort, lastNodePort, p.Network.CIDR),
				To:   RoleWorker, Protocol: protocol, Port: firstNodePort, LastPort: lastNodePort, From: p.Network.CIDR,
				Reason: "NodePorts for the load balancers of Octavia, whose amphorae have addresses of the subnet",
			})
		}
	}
	return out
}

// rolesOf returns the roles of some machines, in the order of Roles.
func (p Plan) rolesOf(ids []string) []Role {
	selected := map[string]bool{}
	for _, id := range ids {
		selected[id] = true
	}
	return slices.DeleteFunc(slices.Clone(Roles), func(role Role) bool {
		return !slices.ContainsFunc(p.WithRole(role), func(m Machine) bool { return selected[m.ID] })
	})
}

// ruleName builds a name such as etcd-2379-from-10.0.0.32/28.
func ruleName(to Role, protocol string, port int, from netip.Prefix) string {
	service := protocol
	switch {
	case port != 0:
		service = fmt.Sprint(port)
	case protocol == "":
		service = "any"
	}
	return fmt.Sprintf("%s-%s-from-%s", to, service, from)
}
