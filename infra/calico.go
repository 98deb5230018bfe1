package infra

import (
	"encoding/base64"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/templates"
)

// calicoResources converts the Calico resources of the Plan for the templates. The result contains the
// passwords of the BGP routers, so only user-data may use it.
func calicoResources(plan cluster.Plan) templates.CalicoResources {
	pool, bgp := plan.IPPool, plan.BGPConfiguration
	out := templates.CalicoResources{
		IPPool: templates.IPPool{
			CIDR: pool.CIDR.String(), BlockSize: pool.BlockSize,
			IPIPMode: pool.IPIPMode, VXLANMode: pool.VXLANMode, NATOutgoing: pool.NATOutgoing,
		},
		BGPConfiguration: templates.BGPConfiguration{
			ASNumber: bgp.ASNumber, NodeToNodeMeshEnabled: bgp.NodeToNodeMeshEnabled,
			ServiceClusterIPs: texts(bgp.ServiceClusterIPs), ServiceExternalIPs: texts(bgp.ServiceExternalIPs),
			ServiceLoadBalancerIPs: texts(bgp.ServiceLoadBalancerIPs),
		},
	}
	for _, p := range plan.BGPPeers {
		peer := templates.BGPPeer{
			Name: p.Name, NodeSelector: p.NodeSelector, PeerSelector: p.PeerSelector, ASNumber: p.ASNumber,
			Password:            base64.StdEncoding.EncodeToString([]byte(p.Password)),
			KeepOriginalNextHop: p.KeepOriginalNextHop,
			ExportV4:            filterRules(p.ExportV4), ImportV4: filterRules(p.ImportV4),
		}
		if p.PeerIP.IsValid() {
			peer.PeerIP = p.PeerIP.String()
		}
		out.BGPPeers = append(out.BGPPeers, peer)
	}
	return out
}

func filterRules(rules []cluster.FilterRule) []templates.FilterRule {
	var out []templates.FilterRule
	for _, r := range rules {
		rule := templates.FilterRule{Action: r.Action, Remote: r.Remote}
		if r.CIDR.IsValid() {
			rule.CIDR = r.CIDR.String()
		}
		out = append(out, rule)
	}
	return out
}
