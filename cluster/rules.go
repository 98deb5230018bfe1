package cluster

import (
	"fmt"
	"net/netip"
)

// Rule lets packets into the machines of one role. Nothing limits what leaves a machine.
//
// Sources are prefixes, never security groups: a port's allowed address pairs, here the whole pod CIDR, count as
// members of its group, so that a group as a source would let every pod in.
type Rule struct {
	// Name is unique and stable: etcd-2379-from-control-plane.
	Name string
	To   Role
	// Protocol as Neutron names it (tcp, icmp, vrrp); empty for any.
	Protocol string
	// Port is 0 for all.
	Port int
	From netip.Prefix
	// Reason is the rule's description in OpenStack.
	Reason string
}

// source is where packets come from.
type source struct {
	name   string
	prefix netip.Prefix
}

// rules is the table of what is open, in the order of roles.
func (c Config) rules() []Rule {
	var etcd, controlPlane, workers []source
	for _, g := range c.groups() {
		s := source{g.name, g.Addresses}
		switch g.role {
		case RoleEtcd:
			etcd = append(etcd, s)
		case RoleControlPlane:
			controlPlane = append(controlPlane, s)
		case RoleWorker:
			workers = append(workers, s)
		}
	}
	nodes := append(append([]source{}, controlPlane...), workers...)
	machines := []source{{"machines", c.Network.CIDR}}
	pods := []source{{"pods", c.Network.PodCIDR}}
	operators := numbered("operator", c.SSH.Allow)
	clients := numbered("client", c.API.Allow)

	var out []Rule
	open := func(to []Role, protocol string, port int, reason string, from ...[]source) {
		for _, role := range to {
			for _, sources := range from {
				for _, s := range sources {
					out = append(out, Rule{ruleName(role, protocol, port, s.name), role, protocol, port, s.prefix, reason})
				}
			}
		}
	}
	open(Roles, "icmp", 0, "path MTU discovery, and ping between the machines", machines)
	open(Roles, "tcp", SSHPort, "operators' SSH", operators)
	open([]Role{RoleEtcd}, "tcp", EtcdClientPort, "etcd clients: API servers, and the etcd-proxy on every node", etcd, nodes)
	open([]Role{RoleEtcd}, "tcp", EtcdPeerPort, "etcd members among themselves", etcd)
	open([]Role{RoleControlPlane}, "tcp", APIPort, "Kubernetes API for the machines", machines)
	open([]Role{RoleControlPlane}, "tcp", APIPort, "Kubernetes API for clients outside of the cluster", clients)
	if c.API.LoadBalancer == Keepalived {
		open([]Role{RoleControlPlane}, "vrrp", 0, "keepalived: who holds the API's address", controlPlane)
	}
	open([]Role{RoleControlPlane, RoleWorker}, "tcp", KubeletPort, "kubelet API: logs, exec and metrics", controlPlane)
	open([]Role{RoleControlPlane, RoleWorker}, "tcp", BGPPort, "BGP between the nodes' BIRDs", nodes)
	open([]Role{RoleControlPlane, RoleWorker}, "", 0, "pods of other nodes, whose packets are not encapsulated", pods)
	return out
}

func numbered(name string, prefixes []netip.Prefix) []source {
	out := make([]source, len(prefixes))
	for i, p := range prefixes {
		out[i] = source{fmt.Sprintf("%s-%s", name, p), p}
	}
	return out
}

func ruleName(to Role, protocol string, port int, from string) string {
	what := protocol
	switch {
	case port != 0:
		what = fmt.Sprint(port)
	case protocol == "":
		what = "any"
	}
	return fmt.Sprintf("%s-%s-from-%s", to, what, from)
}
