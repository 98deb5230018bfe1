// Package shim hands out the Terraform TLS provider. Its code is internal to its module, which allows imports only
// from paths below github.com/hashicorp/terraform-provider-tls: hence this module's name.
package shim

import (
	"github.com/hashicorp/terraform-plugin-framework/provider"

	tls "github.com/hashicorp/terraform-provider-tls/internal/provider"
)

// NewProvider is the Terraform TLS provider.
func NewProvider() provider.Provider { return tls.New() }
