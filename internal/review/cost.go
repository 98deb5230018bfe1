package review

import (
	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/status"
)

// Cost returns the cost of the resources in a state per month, and the units that have no price.
func Cost(resources []status.Resource, prices cluster.Prices) (sum float64, unpriced []string) {
	u := usage{}
	for _, r := range resources {
		u.add(&state{Type: r.Type, Inputs: r.Inputs}, 1)
	}
	return u.cost(prices)
}
