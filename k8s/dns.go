package k8s

import "kubernetes-openstack/cluster"

// nodesPerReplica is how many nodes one replica of cluster DNS serves, as Kubernetes' own add-on has it.
const nodesPerReplica = 16

// dns answers for the names of Services and pods, in the cluster and from outside: at the same address and
// under the same Service, whichever server it is.
func dns(plan cluster.Plan) manifest {
	name := map[string]string{cluster.SkyDNS: "kube-dns", cluster.CoreDNS: "coredns"}[plan.DNS.Provider]
	return manifest{name, struct {
		Address  string
		Replicas int
	}{plan.DNSService.String(), dnsReplicas(plan)}}
}

// DNSManifest is what cluster DNS is deployed as, as kubectl reads it.
func DNSManifest(plan cluster.Plan) (string, error) { return dns(plan).text() }

// dnsReplicas grow with the cluster. Its size changes by `pulumi up` alone, so nothing in the cluster has to watch it.
func dnsReplicas(plan cluster.Plan) int {
	nodes := len(plan.Nodes())
	return max(plan.DNS.Replicas, (nodes+nodesPerReplica-1)/nodesPerReplica)
}
