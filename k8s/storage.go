package k8s

import "kubernetes-openstack/cluster"

// snapshots returns the manifest of the snapshot controller, which works with every volume driver.
func snapshots(plan cluster.Plan) manifest {
	return manifest{"snapshots", struct{ Replicas int }{controllerReplicas(plan)}}
}

// cinderCSI returns the manifest of the CSI driver, which creates Cinder volumes for claims.
func cinderCSI(plan cluster.Plan) manifest {
	return manifest{"cinder-csi", struct {
		Cluster, CloudConfig  string
		Topology, Monitoring  bool
		Replicas, AttachLimit int
		Proxy                 []cluster.Variable
	}{plan.Name, cloudConfigVersion(plan), plan.Storage.Topology, plan.Monitoring.Enabled, controllerReplicas(plan),
		plan.Storage.AttachLimit, plan.ProxyVariables()}}
}

// storageClasses returns the manifest of all StorageClasses and VolumeSnapshotClasses.
func storageClasses(plan cluster.Plan) manifest {
	return manifest{"storage-classes", struct {
		Classes  []cluster.StorageClass
		Topology bool
	}{plan.StorageClasses, plan.Storage.Topology}}
}

// controllerReplicas returns the number of replicas of a controller. One replica is active. A second one is
// on standby if the cluster has more than one control plane.
func controllerReplicas(plan cluster.Plan) int { return min(2, plan.ControlPlane.Count) }
