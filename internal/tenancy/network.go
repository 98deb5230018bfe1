package tenancy

import (
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// networkPolicy keeps traffic from other tenants' pods out of the tenant's pods. NetworkPolicies are additive, so a
// tenant can allow more traffic with a policy of their own. Such a policy affects only their own namespace.
//
// The policy matches the source address that arrives at the pod. Packets from pods keep the pod's address, also
// through a ClusterIP, so podCIDR matches pods and nothing else. Packets from outside of the cluster keep the
// client's address. Through a ClusterIP, they have the address of the node to which the router sent them. If packets
// of pods leave a node with the node's address (calico.natOutgoing), other tenants' pods count as clients from
// outside. They reach only what is open to such clients, such as a Service's NodePort.
func (t Tenant) networkPolicy(podCIDR netip.Prefix) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: t.metadata("tenant"),
		Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{
				{PodSelector: &metav1.LabelSelector{}}, // pods of the same namespace
				{NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: ProjectLabel, Operator: metav1.LabelSelectorOpDoesNotExist}, // namespaces of operators, such as monitoring
				}}},
				{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{podCIDR.String()}}},
			}}},
		},
	}
}
