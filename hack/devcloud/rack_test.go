//go:build e2e

package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	neutronports "github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/turns"
)

// rackMachine is an instance in the rack. A BIRD of the box runs in its network, in the role of a node's BIRD.
type rackMachine struct{ name, address, pod, id string }

var rackMachines = []*rackMachine{
	{name: "r1", address: "10.0.0.201", pod: "10.244.1.1"},
	{name: "r2", address: "10.0.0.202", pod: "10.244.2.1"},
}

// rackService is an address of all machines, and rackName is its name.
const (
	rackService = "10.96.0.10"
	rackName    = "hello.default.svc.cluster.local"
)

const rackMachineData = `#cloud-config
write_files:
- path: /usr/local/bin/hello
  permissions: "0755"
  content: |
    #!/bin/sh
    echo $(hostname) $SOCAT_PEERADDR
`

// createRackMachines creates the machines as the tenant, with fixed addresses.
func createRackMachines(t *testing.T, ctx context.Context, client *gophercloud.ProviderClient) {
	neutron, err := openstack.NewNetworkV2(client, inRegion)
	require.NoError(t, err)
	nova, err := openstack.NewComputeV2(client, inRegion)
	require.NoError(t, err)
	group, err := groups.Create(ctx, neutron, groups.CreateOpts{Name: "rack"}).Extract()
	require.NoError(t, err)
	for port, protocol := range map[int]rules.RuleProtocol{80: rules.ProtocolTCP, 53: rules.ProtocolUDP} {
		_, err = rules.Create(ctx, neutron, rules.CreateOpts{SecGroupID: group.ID, Direction: rules.DirIngress,
			EtherType: rules.EtherType4, Protocol: protocol, PortRangeMin: port, PortRangeMax: port}).Extract()
		require.NoError(t, err)
	}
	pages, err := flavors.ListDetail(nova, nil).AllPages(ctx)
	require.NoError(t, err)
	all, err := flavors.ExtractFlavors(pages)
	require.NoError(t, err)
	for _, m := range rackMachines {
		port, err := neutronports.Create(ctx, neutron, neutronports.CreateOpts{Name: m.name, NetworkID: rackID,
			FixedIPs: []neutronports.IP{{SubnetID: rackSubnetID, IPAddress: m.address}}, SecurityGroups: &[]string{group.ID},
			AllowedAddressPairs: []neutronports.AddressPair{{IPAddress: "10.244.0.0/16"},
				{IPAddress: "10.96.0.0/16"}}}).Extract()
		require.NoError(t, err)
		server := servers.CreateOpts{Name: m.name, ImageRef: imageID, Networks: []servers.Network{{Port: port.ID}},
			UserData: []byte(rackMachineData)}
		for _, flavor := range all {
			if flavor.Name == "tiny" {
				server.FlavorRef = flavor.ID
			}
		}
		created, err := servers.Create(ctx, nova, server, nil).Extract()
		require.NoError(t, err)
		m.id = created.ID
	}
	wait, cancel := context.WithTimeout(ctx, turns.Patience*3*time.Minute)
	defer cancel()
	for _, m := range rackMachines {
		require.NoError(t, servers.WaitForStatus(wait, nova, m.id, "ACTIVE"))
		inside(t, m.name, "cloud-init status --wait")
	}
}

// serve starts servers in the roles of the cluster DNS and of the Service hello, both at the common address.
func (m rackMachine) serve(t *testing.T, record Record) {
	t.Helper()
	inside(t, m.name, fmt.Sprintf("ip address add %s/32 dev lo; ip address add %s/32 dev lo; "+
		"systemd-run --quiet socat TCP-LISTEN:80,fork,reuseaddr EXEC:/usr/local/bin/hello", m.pod, rackService))
	output, err := record.enter("ip", "netns", "exec", "nova-"+m.id, "dnsmasq", "--conf-file=/dev/null", "--pid-file",
		"--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address="+rackService,
		"--host-record="+rackName+","+rackService).CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// announce starts a BIRD that announces the pods' block, all Services, and routes that the router must refuse.
func (m rackMachine) announce(t *testing.T, record Record, password string) {
	t.Helper()
	file := "/run/" + m.name
	run := record.enter("sh", "-ec", fmt.Sprintf(`
		[ ! -e %[1]s.pid ] || { kill $(cat %[1]s.pid); while [ -e %[1]s.ctl ]; do sleep 0.1; done; }
		cat > %[1]s.conf
		ip netns exec nova-%[2]s bird -c %[1]s.conf -s %[1]s.ctl -P %[1]s.pid`, file, m.id))
	run.Stdin = strings.NewReader(fmt.Sprintf(`
router id %s;
protocol device {
}
protocol static {
	ipv4;
	route %s/26 blackhole;
	route 10.96.0.0/16 blackhole;
	route 10.9.0.0/16 blackhole;
	route 0.0.0.0/0 blackhole;
}
protocol bgp tor {
	local as 64512;
	neighbor %s as 65001;
	password "%s";
	connect delay time 1;
	connect retry time 1;
	error wait time 1, 2;
	ipv4 { import none; export all; };
}
`, m.address, strings.TrimSuffix(m.pod, ".1")+".0", rackGateway, password))
	output, err := run.CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// checkRack announces routes from the machines, and checks connections from the router, from the box and from the host.
func checkRack(t *testing.T) {
	var record Record
	require.NoError(t, load("record.json", &record))
	onRouter := func(line string) string { return strings.TrimSpace(devcloud(t, "exec", "router", "--", line)) }
	routesTo := func(prefix string, machines ...*rackMachine) {
		t.Helper()
		var routes string
		found := func() bool {
			routes = onRouter("ip route show " + prefix)
			for _, m := range rackMachines {
				want := false
				for _, other := range machines {
					want = want || other == m
				}
				if strings.Contains(routes, "via "+m.address) != want {
					return false
				}
			}
			return true
		}
		for end := time.Now().Add(20 * time.Second); !found(); time.Sleep(200 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the router's routes to %s: %s\n%s", prefix, routes, onRouter("birdc show protocols"))
			}
		}
	}
	hello := func(address string) string {
		greeting, err := throughProxy(net.JoinHostPort(address, "80"))
		require.NoError(t, err)
		return strings.TrimSpace(greeting)
	}
	both := rackMachines
	r1, r2 := rackMachines[0], rackMachines[1]

	for _, m := range both {
		inside(t, m.name,
			"for i in $(seq 180); do ip -brief -4 address show eth0 | grep -q / && systemctl is-system-running | grep -qE "+
				"'running|degraded' && break; sleep 1; done")
		require.Contains(t, inside(t, m.name, "ip -brief -4 address show eth0"), m.address+"/24")
		require.Contains(t, inside(t, m.name, "ip route show default"), rackGateway)
		// behind the router
		inside(t, m.name, retryingCurl+"http://"+externalGateway+"/registry.example/v2/")
		inside(t, m.name, retryingCurl+"http://169.254.169.254/openstack/latest/meta_data.json")
		// from the data centre's resolver
		require.Contains(t, inside(t, m.name, "getent hosts mirror.devcloud.test"), externalGateway)
		m.serve(t, record)
		m.announce(t, record, password)
	}
	routesTo("10.96.0.0/16", both...)
	routesTo("10.244.1.0/26", r1)
	routesTo("10.244.2.0/26", r2)
	require.Empty(t, onRouter("ip route show 10.9.0.0/16; ip route show default"))
	require.Contains(t, onRouter("birdc show route filtered"), "10.9.0.0/16")

	// No address is translated on the path.
	require.Equal(t, "r1 "+externalGateway, hello(r1.pod))
	require.Equal(t, "r2 "+rackGateway, onRouter("timeout 5 bash -c 'cat </dev/tcp/"+r2.pod+"/80'"))
	connections := map[string]int{}
	for range 40 {
		connections[hello(rackService)]++
	}
	require.Len(t, connections, 2, connections)
	t.Logf("40 connections by machine: %v", connections)

	require.Contains(t, onRouter("timeout 5 bash -c 'cat </dev/tcp/"+rackName+"/80'"), " "+rackGateway)

	r2.announce(t, record, "another")
	routesTo("10.96.0.0/16", r1)
	refused := func() int {
		n, _ := strconv.Atoi(strings.Fields(onRouter("nstat -asz TcpExtTCPMD5Failure | tail -1"))[1])
		return n
	}
	for begin := time.Now(); refused() == 0; time.Sleep(200 * time.Millisecond) {
		require.Less(t, time.Since(begin), 20*time.Second, "the router must count a wrong password")
	}
	routesTo("10.96.0.0/16", r1)
	r2.announce(t, record, password)
	routesTo("10.96.0.0/16", both...)

	var units []Unit
	require.NoError(t, load("run/units.json", &units))
	for _, unit := range units {
		if unit.Name == "bird" {
			output, err := record.enter("kill", "-9", strconv.Itoa(unit.PID)).CombinedOutput()
			require.NoError(t, err, "%s", output)
		}
	}
	require.Eventually(t, func() bool {
		output, err := exec.Command(program, "exec", "router", "--", "birdc show protocols").Output()
		return err == nil && strings.Count(string(output), "Established") == 2
	}, 30*time.Second, 200*time.Millisecond, "the router's BIRD must restart")
	routesTo("10.96.0.0/16", both...)
}
