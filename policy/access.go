package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"kubernetes-openstack/internal/field"
)

// access are the rules about access that strangers would get.
var access = []Rule{
	{
		ID: "ssh-open", Level: Error,
		When:   "a network in `ssh.allowedCIDRs` is larger than a /8",
		Reason: "Everybody on the internet can attack the SSH server, or use a stolen key.",
		Remedy: "List only the networks of the operators in `ssh.allowedCIDRs`.",
		Check:  func(s Stack, e *field.Errors) { open(e, "ssh.allowedCIDRs", s.SSH.AllowedCIDRs) },
	},
	{
		ID: "api-open", Level: Error,
		When:   "a network in `api.allowedCIDRs` is larger than a /8",
		Reason: "Everybody on the internet can attack the Kubernetes API, or use a stolen kubeconfig.",
		Remedy: "List only the networks of the users, and of the hosts that run Pulumi, in `api.allowedCIDRs`.",
		Check:  func(s Stack, e *field.Errors) { open(e, "api.allowedCIDRs", s.API.AllowedCIDRs) },
	},
	{
		ID: "workers-open", Level: Error,
		When:   "a network in `network.allowedCIDRs` is larger than a /8",
		Reason: "Everybody on the internet reaches all ports of all workers, including kubelet and SSH.",
		Remedy: "List only the networks of the clients in `network.allowedCIDRs`.",
		Check:  func(s Stack, e *field.Errors) { open(e, "network.allowedCIDRs", s.Network.AllowedCIDRs) },
	},
	{
		ID: "no-port-security", Level: Warning,
		When: "`network.portSecurity` is false",
		Reason: "Neutron filters no packets, so `allowedCIDRs` have no effect: each host that reaches the subnet reaches " +
			"all ports of all machines, including kubelet and SSH.",
		Remedy: "Set `network.portSecurity: true`, or filter packets in front of the subnet.",
		Check: func(s Stack, e *field.Errors) {
			if !s.Network.PortSecurity {
				e.Add("network.portSecurity", "is false")
			}
		},
	},
	{
		ID: "worker-private-key", Level: Error,
		When:   "the user-data of a worker has a private key",
		Reason: "Workers run pods of other people, and user-data can be read on the machine and in Nova.",
		Remedy: "Let the worker request its certificate from the cluster, as kubelet does.",
		Check: func(s Stack, e *field.Errors) {
			for i, pool := range s.Pools {
				if strings.Contains(s.UserData[pool.Name], "PRIVATE KEY-----") {
					e.Add(fmt.Sprintf("pools[%d]", i), "the user-data of its machines has a private key")
				}
			}
		},
	},
	{
		ID: "keystone-unencrypted", Level: Warning,
		When:   "`openstack.authURL` begins with http:",
		Reason: "The secrets of the cluster's controllers cross the network as plain text.",
		Remedy: "Use the https endpoint of Keystone, and `openstack.caCertificate` for a private authority.",
		Check: func(s Stack, e *field.Errors) {
			if scheme, _, _ := strings.Cut(s.OpenStack.AuthURL, ":"); strings.EqualFold(scheme, "http") {
				e.Add("openstack.authURL", "%s is not encrypted", s.OpenStack.AuthURL)
			}
		},
	},
}

// largestPrivateNetwork is the prefix length of 10.0.0.0/8. A network with a shorter prefix has public addresses.
const largestPrivateNetwork = 8

// open adds an error for each network at path that is larger than any private network. This includes the halves of
// 0.0.0.0/0.
func open(e *field.Errors, path string, networks []netip.Prefix) {
	for i, network := range networks {
		if network.Bits() < largestPrivateNetwork {
			e.Add(fmt.Sprintf("%s[%d]", path, i), "%s is open to the world", network)
		}
	}
}
