// Package shim exports the Terraform TLS provider. The provider is in an internal package, so the path of this module
// is below github.com/hashicorp/terraform-provider-tls.
package shim

import (
	"github.com/hashicorp/terraform-plugin-framework/provider"

	tls "github.com/hashicorp/terraform-provider-tls/internal/provider"
)

// NewProvider returns the Terraform TLS provider.
func NewProvider() provider.Provider { return tls.New() }
