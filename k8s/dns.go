package k8s

import (
	"encoding/json"
	"net/netip"

	"kubernetes-openstack/cluster"
)

// nodesPerReplica is the number of nodes for each replica of cluster DNS. The DNS add-on of Kubernetes uses
// the same number.
const nodesPerReplica = 16

// dns returns the manifest of the DNS server, which resolves the names of Services and pods for clients
// inside and outside of the cluster. The address and the name of the Service are the same for both DNS
// providers, and both use the label of its selector. So a change of the provider updates the Service, which has the new
// pods as soon as they are ready, and the old ones until they end.
func dns(plan cluster.Plan) manifest {
	name := map[string]string{cluster.SkyDNS: "kube-dns", cluster.CoreDNS: "coredns"}[plan.DNS.Provider]
	stubs := map[string][]string{}
	for _, stub := range plan.DNS.StubDomains {
		stubs[stub.Domain] = stub.Servers
	}
	return manifest{name, struct {
		Address  netip.Addr
		Replicas int
		// values of kube-dns in JSON, or "" for none
		StubDomains, UpstreamNameservers string
		DNS                              cluster.DNS
	}{plan.DNSService, dnsReplicas(plan), asJSON(stubs), asJSON(plan.DNS.UpstreamNameservers), plan.DNS}}
}

// asJSON returns the value in JSON, or "" if it is empty.
func asJSON[T map[string][]string | []string](value T) string {
	if len(value) == 0 {
		return ""
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // impossible for text
	}
	return string(text)
}

// DNSManifest returns the manifest of cluster DNS as YAML for kubectl. It returns an error if the template
// fails.
func DNSManifest(plan cluster.Plan) (string, error) { return dns(plan).text() }

// dnsReplicas returns the number of replicas, which grows with the number of nodes. Only `pulumi up` changes
// that number, so the cluster needs no autoscaler for DNS.
func dnsReplicas(plan cluster.Plan) int {
	nodes := len(plan.Nodes())
	return max(plan.DNS.Replicas, (nodes+nodesPerReplica-1)/nodesPerReplica)
}
