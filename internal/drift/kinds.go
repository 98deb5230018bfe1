package drift

import "slices"

// kind is a kind of resources in OpenStack.
type kind struct {
	// noun is its name in findings, and typ is the type of its resources in the state.
	noun, typ string
	// list is the name of its list in Cloud.
	list string
	// id is the field with the ID in the state. The default is id.
	id string
	// fields are compared. Each is the name of an input in the state. The name of the field in OpenStack is the same in
	// snake case, unless it follows after >.
	fields []string
	// personal is true if OpenStack lists the resources only for the user who owns them.
	personal bool
	// ignore returns true for a resource that the cluster's controllers or OpenStack itself have created.
	ignore func(object) bool
}

// object is a resource in the JSON of OpenStack's APIs.
type object = map[string]any

// kinds are all kinds that are compared. Application credentials are not among them, because Keystone lists them only
// for their owner. Fields are left out if controllers or OpenStack change them: the attachments of volumes of claims to
// an instance, the routes of a router, and the status of ports.
var kinds = []kind{
	{noun: "instance", typ: "openstack:compute/instance:Instance", list: "servers", fields: []string{
		"name", "powerState>status", "flavorId>flavor.id", "imageId>image.id", "keyPair>key_name",
		"availabilityZone>OS-EXT-AZ:availability_zone", "metadata", "networks",
	}},
	{noun: "port", typ: "openstack:networking/port:Port", list: "ports", fields: []string{
		"name", "adminStateUp", "networkId", "fixedIps", "securityGroupIds>security_groups", "allowedAddressPairs",
		"portSecurityEnabled", "tags",
	}},
	{noun: "volume", typ: "openstack:blockstorage/volume:Volume", list: "volumes", fields: []string{
		"name", "size", "volumeType", "metadata",
	}},
	{noun: "attachment of a volume", typ: "openstack:compute/volumeAttach:VolumeAttach", list: "attachments"},
	{noun: "security group", typ: "openstack:networking/secGroup:SecGroup", list: "security_groups", fields: []string{
		"name", "tags",
	}},
	// Neutron never changes a rule. All outgoing packets are allowed, so a rule for outgoing packets changes nothing.
	{noun: "rule", typ: "openstack:networking/secGroupRule:SecGroupRule", list: "security_group_rules",
		ignore: func(o object) bool { return o["direction"] == "egress" }},
	{noun: "network", typ: "openstack:networking/network:Network", list: "networks", fields: []string{
		"name", "adminStateUp", "tags",
	}},
	{noun: "subnet", typ: "openstack:networking/subnet:Subnet", list: "subnets", fields: []string{
		"name", "networkId", "cidr", "gatewayIp", "allocationPools", "dnsNameservers", "tags",
	}},
	{noun: "router", typ: "openstack:networking/router:Router", list: "routers", fields: []string{
		"name", "adminStateUp", "externalNetworkId>external_gateway_info.network_id", "tags",
	}},
	{noun: "interface of a router", typ: "openstack:networking/routerInterface:RouterInterface", list: "ports",
		fields: []string{"routerId>device_id"}},
	{noun: "floating IP", typ: "openstack:networking/floatingIp:FloatingIp", list: "floatingips", fields: []string{
		"description", "tags",
	}},
	{noun: "association of a floating IP", typ: "openstack:networking/floatingIpAssociate:FloatingIpAssociate",
		list: "floatingips", fields: []string{"portId"}},
	{noun: "server group", typ: "openstack:compute/serverGroup:ServerGroup", list: "server_groups", fields: []string{
		"name", "policies",
	}},
	{noun: "key pair", typ: "openstack:compute/keypair:Keypair", list: "keypairs", id: "name", personal: true},
	{noun: "container", typ: "openstack:objectstorage/container:Container", list: "containers", id: "name"},
	{noun: "load balancer", typ: "openstack:loadbalancer/loadBalancer:LoadBalancer", list: "loadbalancers",
		fields: []string{"name", "vipAddress", "tags"}},
	{noun: "listener", typ: "openstack:loadbalancer/listener:Listener", list: "listeners", fields: []string{
		"name", "protocol", "protocolPort", "allowedCidrs", "timeoutClientData", "timeoutMemberData", "tags",
	}},
	{noun: "pool", typ: "openstack:loadbalancer/pool:Pool", list: "pools", fields: []string{
		"name", "protocol", "lbMethod>lb_algorithm",
	}},
	{noun: "health monitor", typ: "openstack:loadbalancer/monitor:Monitor", list: "healthmonitors", fields: []string{
		"type", "urlPath", "delay", "timeout", "maxRetries",
	}},
}

// belongs returns true if a resource has the mark of a cluster: its tag, or its metadata.
func belongs(o object, cluster string) bool {
	tags, _ := o["tags"].([]any)
	metadata, _ := o["metadata"].(object)
	return slices.Contains(tags, any("cluster="+cluster)) || metadata["cluster"] == cluster
}
