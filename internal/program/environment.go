package program

import (
	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/field"
	"kubernetes-openstack/internal/openstack"
)

// checkEnvironment compares the configuration with the login of the OpenStack provider. Without a login, for example in
// a preview, nothing contradicts.
func checkEnvironment(config cluster.Config, environment openstack.Environment) (warnings, errs field.Errors) {
	switch region := environment.Region; {
	case region == "" || region == config.Region:
	case config.Region == "":
		warnings.Add("region", "is not set, but %s is %s: the resources are in this region, and the cluster's controllers "+
			"use the first region in Keystone's catalogue. If the cloud has several regions, set region to %[2]s. This replaces "+
			"the nodes, because the region is also their label", environment.RegionFrom, region)
	default:
		errs.Add("region", "must be the region of the login, which is %s (%s), not %s: Pulumi would create the resources in "+
			"another region than the cluster's controllers", region, environment.RegionFrom, config.Region)
	}
	return warnings, errs
}
