package cluster

import (
	"fmt"
	"net/netip"
	"slices"
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

// AddressPairs are what the port of a machine lets through besides its own address: pods' and Services' on nodes, which
// answer with them, and the API's on the machines that hold it in turn.
func (c Config) AddressPairs(role Role) []string {
	var out []string
	if role == RoleControlPlane && c.API.LoadBalancer == Keepalived {
		out = append(out, c.API.Address.String()) // which NewPlan sets
	}
	for _, r := range c.ranges() {
		if role != RoleEtcd && r.path != machinesRange {
			out = append(out, r.prefix.String())
		}
	}
	return out
}

// maxAddressPairs of a port is Neutron's max_allowed_address_pair, as it is
// where the cloud's operator did not change it.
const maxAddressPairs = 10

// source is where packets come from.
type source struct {
	name   string
	prefix netip.Prefix
}

// rules is the table of what is open, in the order of roles.
//
// Nodes are open to each other as a whole, and so need no rule for BGP, kubelets' API or encapsulated packets: where a
// Service's client is outside, kube-proxy sends its packets on to a pod of another node with its own node's address, as
// the API server does with its own to webhooks, and a security group cannot tell a pod from the node that it is on.
func (p Plan) rules() []Rule {
	var etcd, controlPlane, workers []source
	for _, g := range p.groups() {
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
	var asNodes []source // by names that pods and clients cannot have
	for _, s := range nodes {
		asNodes = append(asNodes, source{"nodes-" + s.name, s.prefix})
	}
	machines := []source{{"machines", p.Network.CIDR}}
	pods := []source{{"pods", p.Network.PodCIDR}}
	operators := numbered("operator", p.SSH.Allow)
	clients := numbered("client", p.API.Allow)
	callers := numbered("client", p.Network.Allow)

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
	open([]Role{RoleEtcd}, "tcp", EtcdClientPort, "etcd clients: API servers, and the etcd-proxy on every node", etcd,
		nodes)
	open([]Role{RoleEtcd}, "tcp", EtcdPeerPort, "etcd members among themselves", etcd)
	open([]Role{RoleControlPlane}, "tcp", APIPort, "Kubernetes API for the machines", machines)
	open([]Role{RoleControlPlane}, "tcp", APIPort, "Kubernetes API for clients outside of the cluster", clients)
	if p.API.LoadBalancer == Keepalived {
		open([]Role{RoleControlPlane}, "vrrp", 0, "keepalived: who holds the API's address", controlPlane)
	}
	open([]Role{RoleControlPlane, RoleWorker}, "", 0, "pods of other nodes, whose packets are not encapsulated", pods)
	open([]Role{RoleControlPlane, RoleWorker}, "", 0,
		"nodes among themselves: BGP, kubelet API, and packets to pods that kube-proxy or the API server send as the node",
		asNodes)
	for _, peer := range p.BGPPeers {
		if peer.PeerSelector == "" {
			router := []source{{peer.Name, netip.PrefixFrom(peer.PeerIP, 32)}}
			open(p.rolesOf(peer.Nodes), "tcp", BGPPort, "BGP from a router of the data centre", router)
		}
	}
	open([]Role{RoleWorker}, "", 0, "clients of pods and Services outside of the cluster", callers)
	return out
}

// rolesOf are the roles of some machines, in their order.
func (p Plan) rolesOf(ids []string) []Role {
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	return slices.DeleteFunc(slices.Clone(Roles), func(role Role) bool {
		return !slices.ContainsFunc(p.WithRole(role), func(m Machine) bool { return wanted[m.ID] })
	})
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
