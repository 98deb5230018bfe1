package tenancy

import (
	"net/netip"

	"kubernetes-openstack/internal/field"
)

// Authorizer is an authorization mode of the API server.
type Authorizer string

// Authorizers of tenants: RBAC uses RoleBindings, and ABAC uses a policy file.
const (
	RBAC Authorizer = "rbac"
	ABAC Authorizer = "abac"
)

// Values of Settings.OnProjectDelete.
const (
	// CloseNamespace keeps the namespace and its content, and removes all access.
	CloseNamespace = "close"
	// DeleteNamespace deletes the namespace with its content.
	DeleteNamespace = "delete"
)

// Settings is the part of the stack's configuration about tenants.
type Settings struct {
	Mapping `mapstructure:",squash"`
	// Authorizer grants the tenants' access. The other authorizer grants none. The default is RBAC.
	Authorizer Authorizer `json:"authorizer,omitempty" mapstructure:"authorizer" kind:"choice rbac abac"`
	// OnProjectDelete is CloseNamespace or DeleteNamespace. The default is CloseNamespace.
	OnProjectDelete string `json:"onProjectDelete,omitempty" mapstructure:"onProjectDelete" kind:"choice close delete"`
	// PodCIDR contains the addresses of all pods, and no other addresses. It comes from the cluster's network
	// settings, so tenancy settings cannot contain it.
	PodCIDR netip.Prefix `json:"podCIDR" mapstructure:"-"`
}

// Validate returns all errors of the settings, in the order of the fields.
func (s Settings) Validate() field.Errors {
	var e field.Errors
	s.Mapping.validate(&e)
	optionalOneOf(&e, "authorizer", s.Authorizer, RBAC, ABAC)
	optionalOneOf(&e, "onProjectDelete", s.OnProjectDelete, CloseNamespace, DeleteNamespace)
	if !s.PodCIDR.IsValid() || !s.PodCIDR.Addr().Is4() {
		e.Add("podCIDR", "must be set to the IPv4 CIDR of all pods, such as 10.244.0.0/16")
	}
	return e
}

func optionalOneOf[T ~string](e *field.Errors, path string, value, one, other T) {
	if value != "" && value != one && value != other {
		e.Add(path, "must be %s or %s, not %q", one, other, value)
	}
}
