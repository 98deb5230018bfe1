package cluster

import (
	"strings"

	"kubernetes-openstack/internal/field"
)

// Variable is an environment variable.
type Variable struct{ Name, Value string }

// ProxyVariables returns the variables that select a proxy, or none without a proxy. Each has two names, because curl
// and apt read only the one in lower case. The addresses of the cluster itself and of the metadata service are never
// behind the proxy.
func (c Config) ProxyVariables() []Variable {
	if c.Proxy.HTTP == "" && c.Proxy.HTTPS == "" {
		return nil
	}
	n := c.Network
	direct := append([]string{
		"localhost", "127.0.0.1", "169.254.169.254", n.CIDR.String(), n.PodCIDR.String(), n.ServiceCIDR.String(), ".svc",
		"." + clusterDomain,
	}, c.Proxy.NoProxy...)
	var out []Variable
	for _, v := range []Variable{
		{"HTTP_PROXY", c.Proxy.HTTP}, {"HTTPS_PROXY", c.Proxy.HTTPS}, {"NO_PROXY", strings.Join(direct, ",")},
	} {
		if v.Value != "" {
			out = append(out, v, Variable{strings.ToLower(v.Name), v.Value})
		}
	}
	return out
}

func (p Proxy) validate(e *field.Errors) {
	if len(p.NoProxy) > 0 && p.HTTP == "" && p.HTTPS == "" {
		e.Add("proxy", "must have http or https, because proxy.noProxy is set")
	}
}
