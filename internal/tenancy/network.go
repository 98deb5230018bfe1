package tenancy

import (
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// networkPolicy keeps other tenants' pods out of the tenant's. Policies add up, so a tenant can let more in by
// one of their own, into their own namespace alone.
//
// Peers are told by the source address that arrives. A pod in the cluster has its own, by a ClusterIP too, so podCIDR
// tells pods from all else. Clients from outside have their own or, by a ClusterIP, that of the node which the router
// chose. Where pods leave with their node's address (calico.natOutgoing), those of other tenants are clients from
// outside, too, of what is open to all of these: a Service's NodePort.
func (t Tenant) networkPolicy(podCIDR netip.Prefix) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: t.metadata("tenant"),
		Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{
				{PodSelector: &metav1.LabelSelector{}}, // the namespace's own
				{NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: ProjectLabel, Operator: metav1.LabelSelectorOpDoesNotExist}, // the operators': monitoring and the like
				}}},
				{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{podCIDR.String()}}},
			}}},
		},
	}
}
