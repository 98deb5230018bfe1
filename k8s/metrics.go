package k8s

import (
	"encoding/base64"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// PKI returns a part of an authority or certificate of the cluster in PEM. infra.PKI is the real implementation.
type PKI interface {
	Part(of string, part cluster.Part) pulumi.StringOutput
}

// metricsServer returns the manifest of metrics-server, which serves the CPU and memory usage of nodes and pods.
func metricsServer(plan cluster.Plan) manifest {
	// The requests are those that metrics-server's documentation recommends for the number of nodes.
	nodes := len(plan.Nodes())
	return manifest{"metrics-server", struct{ Replicas, MilliCPU, MiB int }{
		min(2, nodes), max(100, nodes), max(200, 2*nodes),
	}}
}

// metricsServerObjects returns metrics-server's certificate and the objects of its manifest. The API server and
// metrics-server verify each other's certificate, and metrics-server verifies the certificates of kubelets.
func metricsServerObjects(plan cluster.Plan, pki PKI) ([]object, error) {
	objects, err := metricsServer(plan).objects()
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o["kind"] == "APIService" {
			o["spec"].(map[string]any)["caBundle"] = inBase64(pki.Part(cluster.KubernetesCA, cluster.PartCertificate))
		}
	}
	certificate := object{
		"apiVersion": "v1",
		"kind":       "Secret",
		"metadata":   map[string]any{"name": "metrics-server", "namespace": "kube-system"},
		"type":       "kubernetes.io/tls",
		"data": map[string]any{
			"tls.crt":        inBase64(pki.Part(cluster.MetricsServerCertificate, cluster.PartCertificate)),
			"tls.key":        pulumi.ToSecret(inBase64(pki.Part(cluster.MetricsServerCertificate, cluster.PartPrivateKey))),
			"kubelet-ca.crt": inBase64(pki.Part(cluster.NodeCA, cluster.PartCertificate)),
		},
	}
	return append([]object{certificate}, objects...), nil
}

// inBase64 encodes a text as Kubernetes requires it in fields of bytes.
func inBase64(text pulumi.StringOutput) pulumi.Output {
	return text.ApplyT(func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) })
}
