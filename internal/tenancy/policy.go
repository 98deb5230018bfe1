package tenancy

import (
	"bytes"
	"encoding/json"
)

// policy is a line of the API server's ABAC policy file. Each line contains all fields, because a missing field
// matches more than intended. The API server ignores a misspelt field.
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

// Policy returns the ABAC policy file of the plan, or nothing if ABAC is not the authorizer. The file consists of
// JSON lines, sorted by namespace, user, role and resource. It grants the same access as RoleBindings, and more where
// ABAC is less precise: ABAC only distinguishes reading from everything else, and includes all subresources. The
// admission policy denies these additional requests.
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
