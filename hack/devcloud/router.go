package main

// router is the network namespace that stands for a data centre's top-of-rack switch. It is the gateway of the machines
// in the rack, and BIRD in it (etc/bird/bird.conf) learns over BGP what they announce. The data centre's resolver is
// there, too (etc/dnsmasq/dnsmasq.conf).
const router = "router"

const (
	// routerAddress is the router's in the external network.
	routerAddress = "172.31.250.2"
	// rackCIDR is the machines' provider network, whose gateway the router is.
	rackCIDR    = "10.0.0.0/24"
	rackGateway = "10.0.0.1"
	// behindRouter is the rack, and all that its machines may announce.
	behindRouter = "10.0.0.0/8"
)

// connectRouter are the commands that make the router, with a cable into the external network and one from the rack:
// to Neutron's agent, router-rack is the physical interface of the network (etc/neutron/linuxbridge-agent.ini).
var connectRouter = []string{
	"ip netns add " + router,
	"ip link add name router-public type veth peer name public netns " + router,
	"ip link set router-public up master br-ext",
	"ip -n router address add " + routerAddress + "/24 dev public",
	"ip -n router link set public up",
	"ip link add name router-rack type veth peer name rack netns " + router,
	"ip link set router-rack up",
	"ip -n router address add " + rackGateway + "/24 dev rack",
	"ip -n router link set rack up",
	"ip -n router link set lo up",
	// Connections, not addresses, are spread over several next hops: those of one client, too.
	"ip netns exec router sysctl --quiet --write net.ipv4.ip_forward=1 net.ipv4.fib_multipath_hash_policy=1",
	"ip route add " + behindRouter + " via " + routerAddress,
}
