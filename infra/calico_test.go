package infra

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/templates"
)

// TestCalicoResources checks the conversion of the Plan's Calico resources to the values of the templates.
func TestCalicoResources(t *testing.T) {
	prefix := netip.MustParsePrefix
	assert.Equal(t, templates.CalicoResources{
		IPPool: templates.IPPool{CIDR: "10.244.0.0/16", BlockSize: 26, IPIPMode: "Never", VXLANMode: "CrossSubnet",
			NATOutgoing: true},
		BGPConfiguration: templates.BGPConfiguration{
			ASNumber: 64512, NodeToNodeMeshEnabled: true, ServiceClusterIPs: []string{"10.96.0.0/16"},
			ServiceExternalIPs: []string{"192.0.2.0/25"}, ServiceLoadBalancerIPs: []string{"192.0.2.128/26", "192.0.2.192/26"},
		},
		BGPPeers: []templates.BGPPeer{
			{Name: "route-reflectors", NodeSelector: "all()", PeerSelector: "x == 'y'"},
			{
				Name: "peer-10-0-0-1", NodeSelector: "z == 'a'", PeerIP: "10.0.0.1", ASNumber: 65001, Password: "b3BlbiBzZXNhbWU=",
				KeepOriginalNextHop: true,
				ExportV4: []templates.FilterRule{{Action: "Reject", Remote: true},
					{Action: "Reject", CIDR: "10.244.0.0/16"}},
				ImportV4: []templates.FilterRule{{Action: "Reject"}},
			},
		},
	}, calicoResources(cluster.Plan{
		IPPool: cluster.IPPool{CIDR: prefix("10.244.0.0/16"), BlockSize: 26, IPIPMode: "Never", VXLANMode: "CrossSubnet",
			NATOutgoing: true},
		BGPConfiguration: cluster.BGPConfiguration{
			ASNumber: 64512, NodeToNodeMeshEnabled: true, ServiceClusterIPs: []netip.Prefix{prefix("10.96.0.0/16")},
			ServiceExternalIPs:     []netip.Prefix{prefix("192.0.2.0/25")},
			ServiceLoadBalancerIPs: []netip.Prefix{prefix("192.0.2.128/26"), prefix("192.0.2.192/26")},
		},
		BGPPeers: []cluster.BGPPeer{
			{Name: "route-reflectors", NodeSelector: "all()", PeerSelector: "x == 'y'"},
			{
				Name: "peer-10-0-0-1", NodeSelector: "z == 'a'", PeerIP: netip.MustParseAddr("10.0.0.1"), ASNumber: 65001,
				Password: "open sesame", KeepOriginalNextHop: true,
				ExportV4: []cluster.FilterRule{{Action: "Reject", Remote: true}, {Action: "Reject", CIDR: prefix("10.244.0.0/16")}},
				ImportV4: []cluster.FilterRule{{Action: "Reject"}},
			},
		},
	}))
}
