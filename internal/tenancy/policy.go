package tenancy

import (
	"bytes"
	"encoding/json"
)

// policy is a line of the API server's ABAC policy file. Each line says each of its fields: the API server reads a
// missing one as more than was meant, and a misspelt one as missing.
type policy struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Spec       policySpec `json:"spec"`
}

type policySpec struct {
	Group     string `json:"group"`
	Namespace string `json:"namespace"`
	APIGroup  string `json:"apiGroup"`
	Resource  string `json:"resource"`
	Readonly  bool   `json:"readonly"`
}

// Policy is the plan in ABAC's terms, and nothing where ABAC is not the authorizer: JSON lines in the order of
// namespaces, users, roles and resources. It gives what RoleBindings give, and more where ABAC knows less: verbs are
// reading or anything, subresources go with their resource. Admission takes that back.
func (p Plan) Policy() ([]byte, error) {
	if p.Settings.Authorizer != ABAC {
		return nil, nil
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	for _, t := range p.Tenants {
		for _, m := range t.Members {
			for _, r := range resources {
				if !m.Access.includes(r.read) {
					continue
				}
				line := policy{"abac.authorization.kubernetes.io/v1beta1", "Policy", policySpec{
					Group: t.group(m), Namespace: t.Namespace, APIGroup: r.group, Resource: r.name,
					Readonly: !m.Access.includes(r.write),
				}}
				if err := encoder.Encode(line); err != nil {
					return nil, err
				}
			}
		}
	}
	return out.Bytes(), nil
}
