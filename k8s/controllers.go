package k8s

import "kubernetes-openstack/cluster"

// kubeControllers returns the manifest of calico-kube-controllers, which copies data of Kubernetes to
// Calico's datastore. The data are network policies, the objects that they select, and Nodes. The labels of
// Nodes decide which nodes announce Services. When a Node is deleted, the controllers delete the Calico Node.
func kubeControllers(plan cluster.Plan) manifest {
	return manifest{"calico-kube-controllers", struct{ Version string }{plan.Calico.Version}}
}
