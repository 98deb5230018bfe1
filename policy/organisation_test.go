package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/field"
)

// example of docs/policy.md
var flavorsOfTheTeam = Rule{
	ID:     "flavors-of-the-team",
	Level:  Error,
	When:   "the flavor of a machine does not begin with `k8s.`",
	Reason: "Only these flavors have enough huge pages, and the team pays for them.",
	Remedy: "Use a flavor of `openstack flavor list` that begins with `k8s.`.",
	Check: func(s Stack, e *field.Errors) {
		for _, m := range s.Machines {
			if m.Index == 0 && !strings.HasPrefix(m.Flavor, "k8s.") {
				e.Add(m.Group, "has the flavor %s", m.Flavor)
			}
		}
	},
}

// end of the example

func TestRuleOfAnOrganisation(t *testing.T) {
	s := stack(t, cluster.NewPlan(config(t)))
	_, errs := check([]Rule{flavorsOfTheTeam}, s)
	assert.Equal(t, "3 errors:\n", errs.Error()[:len("3 errors:\n")])
	assert.Contains(t, errs.Error(), "\n  general: has the flavor large. Only these flavors have enough huge pages")

	for i := range s.Machines {
		s.Machines[i].Flavor = "k8s.large"
	}
	_, errs = check([]Rule{flavorsOfTheTeam}, s)
	assert.Empty(t, errs)
}
