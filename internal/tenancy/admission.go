package tenancy

import (
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// admissionName is the name of the ValidatingAdmissionPolicy and of its binding.
const admissionName = "tenants.kubernetes-openstack"

// admissionPolicy denies requests that ABAC allows together with a resource and that RBAC does not allow. These are
// writes to subresources that controllers own, and connections to pods and Services by users with read-only access. A
// user who can write the status of a Service can redirect traffic on every node, because kube-proxy then accepts
// packets for any address. A user who can write the status of a Pod can make the API server connect to any address.
func admissionPolicy() *admissionv1.ValidatingAdmissionPolicy {
	var uses []string
	for _, r := range resources {
		for _, sub := range r.writeSub {
			uses = append(uses, fmt.Sprintf("'%s/%s'", r.name, sub))
		}
	}
	namespaced := admissionv1.NamespacedScope
	fail, equivalent := admissionv1.Fail, admissionv1.Equivalent
	return &admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: admissionName},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{
				ResourceRules: []admissionv1.NamedRuleWithOperations{{
					RuleWithOperations: admissionv1.RuleWithOperations{
						Operations: []admissionv1.OperationType{admissionv1.OperationAll},
						Rule: admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*/*"},
							Scope: &namespaced},
					},
				}},
				// the API server's defaults, so that the next sync finds no difference
				MatchPolicy: &equivalent, NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
			},
			MatchConditions: []admissionv1.MatchCondition{
				{Name: "tenant", Expression: fmt.Sprintf("request.userInfo.username.startsWith('%s')", prefix)},
				{Name: "subresource", Expression: "has(request.subResource)"},
			},
			Validations: []admissionv1.Validation{
				{
					Expression: fmt.Sprintf("request.resource.resource + '/' + request.subResource in [%s]", strings.Join(uses, ", ")),
					Message:    "tenants may not write this subresource",
				},
				{
					Expression: "request.operation != 'CONNECT' || " +
						"authorizer.group(request.resource.group).resource(request.resource.resource)" +
						".namespace(request.namespace).check('create').allowed()",
					Message: "read-only access excludes exec, attach, portforward and proxy",
				},
			},
		},
	}
}

func admissionBinding() *admissionv1.ValidatingAdmissionPolicyBinding {
	return &admissionv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicyBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: admissionName},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: admissionName, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
}
