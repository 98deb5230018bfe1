package tenancy

import (
	"net/netip"

	"kubernetes-openstack/internal/field"
)

// Authorizer is one of the API server's.
type Authorizer string

// Authorizers of tenants: RoleBindings, or a policy file.
const (
	RBAC Authorizer = "rbac"
	ABAC Authorizer = "abac"
)

// What may become of the namespace of a project that Keystone has no more.
const (
	// CloseNamespace leaves it and what is in it, and nobody has access.
	CloseNamespace = "close"
	// DeleteNamespace deletes it with all that is in it.
	DeleteNamespace = "delete"
)

// Settings are what the stack's configuration says of tenants.
type Settings struct {
	Mapping `mapstructure:",squash"`
	// Authorizer has the tenants' access, and the other one none of it. Where empty: RBAC.
	Authorizer Authorizer `json:"authorizer,omitempty" mapstructure:"authorizer"`
	// OnProjectDelete is CloseNamespace or DeleteNamespace. Where empty: CloseNamespace.
	OnProjectDelete string `json:"onProjectDelete,omitempty" mapstructure:"onProjectDelete"`
	// PodCIDR has the addresses of all pods, and no other. It is the cluster's, and nobody's to set for tenants.
	PodCIDR netip.Prefix `json:"podCIDR" mapstructure:"-"`
}

// Validate is everything wrong with the settings by themselves, in the order of their fields.
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
