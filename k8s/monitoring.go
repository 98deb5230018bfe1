package k8s

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"net/netip"
	"path"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// monitoring returns the manifest of Prometheus, Alertmanager and Perses.
func monitoring(plan cluster.Plan) manifest {
	type claim struct {
		Name, Class string
		Size        int
	}
	m := plan.Monitoring
	memory := prometheusMiB + prometheusMiBPerMachine*len(plan.Machines)
	sum := sha256.Sum256([]byte(alertmanagerConfig(m)))
	return manifest{"monitoring", struct {
		Claims              []claim
		Namespaces          []string // of pods that Prometheus finds through the API
		PodCIDR             netip.Prefix
		OpenDashboards      bool
		AlertmanagerVersion string
		Days, Megabytes     int
		MiB, GoMiB          int
	}{
		Claims:              []claim{{"prometheus", m.StorageClass, m.VolumeSize}, {"alertmanager", m.StorageClass, 1}},
		Namespaces:          []string{"kube-system", "monitoring"},
		PodCIDR:             plan.Network.PodCIDR,
		OpenDashboards:      m.OpenDashboards,
		AlertmanagerVersion: hex.EncodeToString(sum[:8]),
		Days:                m.RetentionDays,
		Megabytes:           m.VolumeSize * 1024 * 8 / 10, // Prometheus' unit is 1024 KiB
		MiB:                 memory,
		GoMiB:               memory * 7 / 8,
	}}
}

// The memory limit of Prometheus. It needs memory for the series of each machine.
const prometheusMiB, prometheusMiBPerMachine = 256, 16

// alertmanagerConfig returns the configuration of Alertmanager. By default it keeps alerts, and notifies nobody.
func alertmanagerConfig(m cluster.Monitoring) string {
	if m.Alertmanager != "" {
		return string(m.Alertmanager)
	}
	return "route: {receiver: none}\nreceivers: [{name: none}]\n"
}

// prometheusConfig renders the configuration of Prometheus with the machines of the plan.
func prometheusConfig(plan cluster.Plan) (string, error) {
	type job struct {
		Name, Page, Keep string
		Machines         []cluster.Machine
	}
	type pods struct{ Name, Namespace, Label, Ports string }
	etcd, controlPlanes, nodes := plan.WithRole(cluster.RoleEtcd), plan.WithRole(cluster.RoleControlPlane), plan.Nodes()
	const app, k8sApp = "__meta_kubernetes_pod_label_app", "__meta_kubernetes_pod_label_k8s_app"
	return execute("monitoring/prometheus.yaml.tmpl", struct {
		Cluster       string
		Jobs, Kubelet []job
		ControlPlanes []cluster.Machine
		Pods          []pods
	}{
		Cluster: plan.Name,
		Jobs: []job{
			{Name: "machine", Page: "metrics", Machines: plan.Machines},
			{Name: "etcd", Page: "etcd", Machines: etcd},
			{Name: "kube-controller-manager", Page: "kube-controller-manager", Machines: controlPlanes},
			{Name: "kube-scheduler", Page: "kube-scheduler", Machines: controlPlanes},
			{Name: "cloud-controller-manager", Page: "cloud-controller-manager", Machines: controlPlanes},
			{Name: "kube-proxy", Page: "kube-proxy", Machines: nodes},
			{Name: "felix", Page: "felix", Machines: nodes},
		},
		ControlPlanes: controlPlanes,
		Kubelet: []job{
			{Name: "kubelet", Page: "metrics", Machines: nodes,
				Keep: "kubelet_(volume_stats|running|certificate|node|runtime_operations|started|pleg).+(_total|_bytes|_inodes" +
					"|_inodes_.+|_seconds|_pods|_containers|_name|_errors_total)|process_.+"},
			{Name: "cadvisor", Page: "metrics/cadvisor", Machines: nodes,
				Keep: "container_(cpu_usage_seconds_total|cpu_cfs_throttled_periods_total|memory_working_set_bytes|fs_usage_bytes" +
					"|network_(receive|transmit)_(bytes|errors)_total|oom_events_total)|machine_(cpu_cores|memory_bytes)"},
		},
		Pods: []pods{
			{"dns", "kube-system", k8sApp, "kube-dns;(metrics|metrics-probes)"},
			{"cinder-csi", "kube-system", k8sApp, "csi-cinder-controller;metrics"},
			{"monitoring", "monitoring", app, "(prometheus|alertmanager|perses);http"},
		},
	})
}

// monitoringObjects returns the objects of the manifest, with the files of this folder and the certificates after the
// namespace.
func monitoringObjects(plan cluster.Plan, pki PKI) ([]object, error) {
	objects, err := monitoring(plan).objects()
	if err != nil {
		return nil, err
	}
	prometheus, err := prometheusConfig(plan)
	if err != nil {
		return nil, err
	}
	alerts, err := folder("monitoring/alerts")
	if err != nil {
		return nil, err
	}
	dashboards, err := folder("monitoring/dashboards")
	if err != nil {
		return nil, err
	}
	part := func(of string, part cluster.Part) pulumi.StringOutput { return pki.Part(of, part) }
	// the serving certificates of kubelets and of etcd members
	authorities := pulumi.Sprintf("%s%s", part(cluster.NodeCA, cluster.PartCertificate),
		part(cluster.EtcdCA, cluster.PartCertificate))
	config := base64.StdEncoding.EncodeToString([]byte(alertmanagerConfig(plan.Monitoring)))
	return slices.Concat(objects[:1], []object{
		monitoringData("ConfigMap", "prometheus", map[string]any{"prometheus.yaml": prometheus}),
		monitoringData("ConfigMap", "alerts", alerts),
		monitoringData("ConfigMap", "dashboards", dashboards),
		monitoringData("Secret", "alertmanager", map[string]any{
			"alertmanager.yaml": pulumi.ToSecret(pulumi.String(config)),
		}),
		monitoringData("Secret", "prometheus-pki", map[string]any{
			"ca.crt":  inBase64(authorities),
			"tls.crt": inBase64(part(cluster.PrometheusCertificate, cluster.PartCertificate)),
			"tls.key": pulumi.ToSecret(inBase64(part(cluster.PrometheusCertificate, cluster.PartPrivateKey))),
		}),
	}, objects[1:]), nil
}

// monitoringData returns a ConfigMap or a Secret.
func monitoringData(kind, name string, data map[string]any) object {
	return object{
		"apiVersion": "v1",
		"kind":       kind,
		"metadata":   map[string]any{"name": name, "namespace": "monitoring"},
		"data":       data,
	}
}

// folder returns the contents of the YAML files in a folder by their names.
func folder(name string) (map[string]any, error) {
	files, err := fs.Glob(templates, path.Join(name, "*.yaml"))
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for _, file := range files {
		text, err := fs.ReadFile(templates, file)
		if err != nil {
			return nil, err
		}
		out[path.Base(file)] = string(text)
	}
	return out, nil
}
