package infra

import (
	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/networking"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// Security holds one security group for each role, with the rules of the Plan.
type Security struct {
	pulumi.ResourceState
	groups map[cluster.Role]*networking.SecGroup
	child  pulumi.ResourceOption
}

// NewSecurity declares the security groups, without the rules of the Plan. It keeps Neutron's default rules, which
// allow all outgoing packets.
func NewSecurity(ctx *pulumi.Context, plan cluster.Plan) (*Security, error) {
	s := &Security{groups: map[cluster.Role]*networking.SecGroup{}}
	var err error
	s.child, err = component(ctx, "Security", plan.Name, s)
	if err != nil {
		return nil, err
	}
	for _, role := range cluster.Roles {
		name := plan.Name + "-" + string(role)
		s.groups[role], err = networking.NewSecGroup(ctx, name, &networking.SecGroupArgs{
			Name:        pulumi.String(name),
			Description: pulumi.String(string(role) + " machines of " + plan.Name),
			Tags:        tags(plan, string(role)),
		}, s.child)
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// secure sets what Neutron filters at the port of a machine of a role. Neutron refuses groups and address pairs on a
// port without port security. NoSecurityGroups prevents the project's default group.
func (s *Security) secure(port *networking.PortArgs, plan cluster.Plan, role cluster.Role,
	pairs networking.PortAllowedAddressPairArray) {
	if !plan.Network.PortSecurity {
		port.PortSecurityEnabled, port.NoSecurityGroups = pulumi.Bool(false), pulumi.Bool(true)
		return
	}
	port.SecurityGroupIds = pulumi.StringArray{s.groups[role].ID()}
	if len(pairs) > 0 {
		port.AllowedAddressPairs = pairs
	}
}

// Allow declares the rules of the Plan.
func (s *Security) Allow(ctx *pulumi.Context, plan cluster.Plan) error {
	for _, rule := range plan.Rules {
		args := &networking.SecGroupRuleArgs{
			SecurityGroupId: s.groups[rule.To].ID(),
			Direction:       pulumi.String("ingress"),
			Ethertype:       pulumi.String("IPv4"),
			Protocol:        optional(rule.Protocol),
			RemoteIpPrefix:  pulumi.String(rule.From.String()),
			Description:     pulumi.String(rule.Reason),
		}
		if rule.Port != 0 {
			args.PortRangeMin, args.PortRangeMax = pulumi.Int(rule.Port), pulumi.Int(max(rule.Port, rule.LastPort))
		}
		_, err := networking.NewSecGroupRule(ctx, plan.Name+"-"+rule.Name, args, s.child,
			// Neutron deletes the rules together with their group, so a destroy does not delete them one by one
			pulumi.DeletedWith(s.groups[rule.To]),
			// The provider replaces a rule to change its text, which would interrupt connections. Neutron would refuse
			// a second rule that differs only in its text.
			pulumi.IgnoreChanges([]string{"description"}))
		if err != nil {
			return err
		}
	}
	return ctx.RegisterResourceOutputs(s, pulumi.Map{})
}
