package k8s

import "kubernetes-openstack/cluster"

// kubeControllers bring to Calico what it has to know of Kubernetes: policies, and what they select; and Nodes, whose
// labels decide who announces Services, and whose end is the end of the Calico Node.
func kubeControllers(plan cluster.Plan) manifest {
	return manifest{"calico-kube-controllers", struct{ Version string }{plan.Calico.Version}}
}
