package main

// router is a network namespace in the role of a data centre's top-of-rack switch. It is the gateway of the machines in
// the rack. Its BIRD (etc/bird/bird.conf) gets the machines' routes over BGP. It also has the data centre's resolver
// (etc/dnsmasq/dnsmasq.conf).
const router = "router"

const (
	// routerAddress is the router's address in the external network.
	routerAddress = "172.31.250.2"
	// rackCIDR is the machines' provider network. The router is its gateway.
	rackCIDR    = "10.0.0.0/24"
	rackGateway = "10.0.0.1"
	// behindRouter contains the rack, and all addresses that its machines may announce.
	behindRouter = "10.0.0.0/8"
)

// connectRouter are the commands that create the router and connect it to the external network and to the rack.
// Neutron's agent uses router-rack as the physical interface of the rack's network (etc/neutron/linuxbridge-agent.ini).
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
	// The router distributes connections over several next hops, also those of one client.
	"ip netns exec router sysctl --quiet --write net.ipv4.ip_forward=1 net.ipv4.fib_multipath_hash_policy=1",
	"ip route add " + behindRouter + " via " + routerAddress,
}
