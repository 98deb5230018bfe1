package k8s

import "kubernetes-openstack/cluster"

// snapshots of volumes, of whatever driver.
func snapshots(plan cluster.Plan) manifest {
	return manifest{"snapshots", struct{ Replicas int }{controllerReplicas(plan)}}
}

// cinderCSI makes volumes of Cinder for pods' claims.
func cinderCSI(plan cluster.Plan) manifest {
	return manifest{"cinder-csi", struct {
		Cluster, CloudConfig string
		Topology             bool
		Replicas             int
	}{plan.Name, cloudConfigVersion(plan), plan.Storage.Topology, controllerReplicas(plan)}}
}

// storageClasses are the kinds of volumes, and of snapshots, that there are.
func storageClasses(plan cluster.Plan) manifest {
	return manifest{"storage-classes", struct {
		Classes  []cluster.StorageClass
		Topology bool
	}{plan.StorageClasses, plan.Storage.Topology}}
}

// controllerReplicas is how many of a controller there are, of which one works:
// another where a control plane is for it.
func controllerReplicas(plan cluster.Plan) int { return min(2, plan.ControlPlane.Count) }
