package main

import (
	"io/fs"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRouterConfigurationAgrees checks that the configuration files of the router have the same values as the code.
func TestRouterConfigurationAgrees(t *testing.T) {
	text := func(path string) string {
		content, err := fs.ReadFile(configs, path)
		require.NoError(t, err)
		return string(content)
	}
	bird := text("etc/bird/bird.conf")
	require.Contains(t, bird, "router id "+routerAddress+";")
	require.Contains(t, bird, "local "+rackGateway+" as ")
	require.Contains(t, bird, "neighbor range "+rackCIDR+" as ")
	require.Contains(t, bird, `password "`+password+`";`)
	expected := regexp.MustCompile(`([0-9./]+)\{\d+,\d+\}`).FindAllStringSubmatch(bird, -1)
	require.NotEmpty(t, expected)
	var announced []netip.Prefix
	for _, found := range expected {
		prefix := netip.MustParsePrefix(found[1])
		announced = append(announced, prefix)
		require.True(t, netip.MustParsePrefix(behindRouter).Contains(prefix.Addr()),
			"%s: must be in behindRouter, because the box has no other route", prefix)
		require.False(t, netip.MustParsePrefix(rackCIDR).Overlaps(prefix), "%s: must not overlap the rack", prefix)
	}
	resolver := text("etc/dnsmasq/dnsmasq.conf")
	servers := regexp.MustCompile(`(?m)^(?:rev-)?server=.*`).FindAllString(resolver, -1)
	require.NotEmpty(t, servers)
	for _, found := range regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`).FindAllString(strings.Join(servers, "\n"), -1) {
		contains := func(prefix netip.Prefix) bool { return prefix.Contains(netip.MustParseAddr(found)) }
		require.True(t, slices.ContainsFunc(announced, contains), "%s: must be an address that machines may announce", found)
	}
	require.Contains(t, resolver, "host-record=mirror.devcloud.test,"+externalGateway+"\n")
	require.Equal(t, "nameserver "+routerAddress+"\n", text("etc/netns/router/resolv.conf"))
	require.Contains(t, text("etc/neutron/linuxbridge-agent.ini"), "physical_interface_mappings = rack:router-rack\n")
	require.Contains(t, text("etc/neutron/ml2.ini"), "flat_networks = public,rack\n")
}

// TestConnectRouter runs the commands in its own namespaces. The box can connect to the router's address in the rack,
// and to nothing behind it.
func TestConnectRouter(t *testing.T) {
	lines := append([]string{"set -e", "mount -t tmpfs tmpfs /run", "ip link add br-ext type bridge",
		"ip address add " + externalGateway + "/24 dev br-ext", "ip link set br-ext up"}, connectRouter...)
	lines = append(lines,
		"ip -n router -4 route",
		"ip netns exec router cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/fib_multipath_hash_policy",
		"timeout 5 bash -c '</dev/tcp/"+rackGateway+"/179' || true",
		"timeout 5 bash -c '</dev/tcp/10.244.0.1/80' || true")
	output, err := exec.Command("unshare", "--net", "--mount", "sh", "-c", strings.Join(lines, "\n")).CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Regexp(t, `^10\.0\.0\.0/24 dev rack .* src 10\.0\.0\.1.*
172\.31\.250\.0/24 dev public .* src 172\.31\.250\.2.*
1
1
.*Connection refused
(?s:.*)(Network is|Host is|No route to).*`, string(output))
}
