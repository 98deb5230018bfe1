package infra

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/templates"
)

// What a machine gets of the Plan, as templates take it.
func TestNode(t *testing.T) {
	plan := cluster.NewPlan(cluster.Config{
		Name:         "test",
		Network:      cluster.Network{CIDR: netip.MustParsePrefix("10.0.0.0/24"), PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16")},
		API:          cluster.API{LoadBalancer: cluster.Keepalived},
		Etcd:         cluster.Etcd{Group: cluster.Group{Count: 1, Addresses: netip.MustParsePrefix("10.0.0.16/28")}},
		ControlPlane: cluster.NodeGroup{Group: cluster.Group{Count: 2, Addresses: netip.MustParsePrefix("10.0.0.32/28")}, Labels: map[string]string{"z": "1", "a": ""}},
		Kubernetes:   cluster.Kubernetes{ProxyMode: cluster.ProxyIPTables},
		Artifacts:    cluster.Artifacts{RegistryMirrors: map[string]string{"registry.k8s.io": "http://192.0.2.1/k8s/", "docker.io": "http://192.0.2.1"}},
	})
	m := plan.WithRole(cluster.RoleControlPlane)[0]
	token := bootstrapToken(strings.Repeat("abcdef01", 8))
	assert.Equal(t, &templates.Node{
		Address:    "10.0.0.32",
		Etcd:       "10.0.0.16:2379",
		APIServers: []templates.Server{{Name: "test-control-plane-0", Address: "10.0.0.32"}, {Name: "test-control-plane-1", Address: "10.0.0.33"}},
		PodCIDR:    "10.244.0.0/16", DNSService: "10.96.0.10",
		Labels:     "a=,kubernetes-openstack/pool=control-plane,z=1",
		Taints:     []templates.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}},
		ProxyMode:  "iptables",
		PauseImage: "registry.k8s.io/pause:3.10.2",
		RegistryMirrors: []templates.RegistryMirror{
			{Registry: "docker.io", URL: "http://192.0.2.1"}, {Registry: "registry.k8s.io", URL: "http://192.0.2.1/k8s"},
		},
		BootstrapToken: "abcdef.01abcdef01abcdef",
	}, node(plan, m, token))

	digits := strings.Repeat("00", 31) + "ff"
	got, err := controlPlane(plan, m, inputs{workerToken: digits, controlPlaneToken: strings.Repeat("1", 64), encryptionKey: digits})
	assert.NoError(t, err)
	assert.Equal(t, &templates.ControlPlane{
		Etcd:              "https://10.0.0.16:2379",
		ServiceCIDR:       "10.96.0.0/16",
		EncryptionKey:     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8=",
		NodePrefix:        "test-control-plane-",
		NodeCIDR:          "10.0.0.0/24",
		Reserved:          "10.0.0.10 10.0.0.16 10.0.0.32 10.0.0.33",
		WorkerToken:       templates.BootstrapToken{ID: "000000", Secret: strings.Repeat("0", 16)},
		ControlPlaneToken: templates.BootstrapToken{ID: "111111", Secret: strings.Repeat("1", 16)},
		VirtualIP:         &templates.VirtualIP{Address: "10.0.0.10", RouterID: 10, Priority: 254, Peers: []string{"10.0.0.33"}},
	}, got)
	plan.API.LoadBalancer = cluster.Octavia
	got, err = controlPlane(plan, m, inputs{workerToken: digits, controlPlaneToken: digits, encryptionKey: digits})
	assert.NoError(t, err)
	assert.Nil(t, got.VirtualIP)
}

// Too much for Nova is said at preview, when no certificate exists yet, and for each machine.
func TestCheckUserData(t *testing.T) {
	plan := cluster.NewPlan(cluster.Config{
		Name:    "test",
		Network: cluster.Network{CIDR: netip.MustParsePrefix("10.0.0.0/24"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16")},
		Etcd:    cluster.Etcd{Version: "3.6.14", Group: cluster.Group{Count: 1, Addresses: netip.MustParsePrefix("10.0.0.16/28")}},
	})
	assert.NoError(t, CheckUserData(plan))
	for i := range 40 {
		plan.Machines[0].PKI = append(plan.Machines[0].PKI, cluster.PKIFile{
			Path: fmt.Sprintf("/etc/etcd/pki/%d.crt", i), Of: []string{cluster.EtcdCA},
		})
	}
	err := CheckUserData(plan)
	assert.ErrorContains(t, err, "test-etcd-0")
	assert.ErrorContains(t, err, "49151 are allowed")
}
