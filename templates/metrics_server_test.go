package templates

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/tests/guest"
)

// kubeletScript is a fake kubelet: python3 /kubelet.py ADDRESS CERTIFICATE KEY. The node uses a quarter of a processor,
// and its only pod a tenth.
const kubeletScript = `
import http.server, ssl, sys, time
class Kubelet(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        now, known = int(time.time() * 1000), self.headers.get('Authorization', '').startswith('Bearer ')
        lines = []
        for name, rate, labels in (('node', 0.25, ''),
                ('container', 0.1, '{container="web",namespace="default",pod="web"}')):
            lines += ['%s_cpu_usage_seconds_total%s %.6f %d' % (name, labels, rate * (now / 1000 - 1.7e9), now),
                '%s_memory_working_set_bytes%s %d %d' % (name, labels, 64 << 20, now)]
        lines.append('container_start_time_seconds%s %.3f' % (labels, now / 1000 - 3600))
        body = ('\n'.join(lines) + '\n').encode()
        self.send_response(200 if known and self.path == '/metrics/resource' else 403)
        self.send_header('Content-Type', 'text/plain; version=0.0.4')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(*sys.argv[2:])
server = http.server.ThreadingHTTPServer((sys.argv[1], 10250), Kubelet)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
`

// TestMetricsServer runs the real metrics-server with the arguments and permissions of its manifest, behind the real
// API server with our flags. It checks that each of the three verifies the certificates of the others, and that only
// users with a permission read metrics.
func TestMetricsServer(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	parsed, err := template.ParseFiles("../k8s/metrics-server.yaml.tmpl")
	require.NoError(t, err)
	var manifest strings.Builder
	require.NoError(t, parsed.Execute(&manifest, map[string]int{"Replicas": 1, "MilliCPU": 100, "MiB": 200}))
	image := regexp.MustCompile(`image: (\S+)\n`).FindStringSubmatch(manifest.String())
	require.NotNil(t, image)
	args := regexp.MustCompile(`(?m)^ +- (--\S+)$`).FindAllStringSubmatch(manifest.String(), -1)
	require.NotEmpty(t, args)
	command := "exec metrics-server"
	for _, arg := range args {
		command += " " + arg[1]
	}

	files := controlPlane(t)
	ca, node := files["/etc/kubernetes/pki/ca.crt"], files["/etc/kubernetes/pki/node-ca.crt"]
	files["/etc/metrics-server/kubelet-ca.crt"] = node
	program, found := imageFiles(t, dirs.Mirror("oci", strings.Replace(image[1], ":v", "@v", 1)))["/metrics-server"]
	require.True(t, found)
	files["/usr/local/bin/metrics-server"] = program
	// pods are only simulated
	objects := strings.Split(manifest.String(), "\n---\n")
	for i, object := range objects {
		if strings.Contains(object, "\nkind: Deployment\n") {
			objects[i] = "# no Deployment"
		}
		objects[i] = strings.Replace(objects[i], "\nspec:\n  group: metrics.k8s.io\n",
			"\nspec:\n  caBundle: "+base64.StdEncoding.EncodeToString([]byte(ca))+"\n  group: metrics.k8s.io\n", 1)
	}
	files["/manifest.yaml"] = strings.Join(objects, "\n---\n")
	files["/kubelet.py"] = kubeletScript
	files["/usr/local/sbin/run-metrics-server"] = "#!/bin/sh\n" + command + ` --bind-address="$1" --secure-port=443` +
		" --kubelet-request-timeout=5s --metric-resolution=10s\n" // later flags win
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", startControlPlane+`
		kubectl apply --server-side --validate=strict --filename=/manifest.yaml
		node() { # NAME ADDRESS CERTIFICATE: a node, whose fake kubelet has this certificate
			echo '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "'$1'"}, "status": {
				"addresses": [{"type": "InternalIP", "address": "'$2'"}, {"type": "Hostname", "address": "'$1'"}],
				"allocatable": {"cpu": "2", "memory": "4Gi"}, "conditions": [{"type": "Ready", "status": "True"}],
				"daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}}' |
				kubectl create --filename=-
			python3 /kubelet.py $2 $3.crt $3.key >/log/kubelet-$1 2>&1 &
		}
		node dev-worker-0 10.0.0.10 /node
		node dev-worker-1 10.0.0.20 /etc/kubernetes/pki/apiserver
		eventually kubectl get serviceaccount default
		kubectl run web --image=web --overrides='{"spec": {"nodeName": "dev-worker-0"}}'
		kubectl patch pod web --subresource=status --patch '{"status": {"phase": "Running"}}'

		# the ClusterIP is an address of this machine, in place of kube-proxy and a pod
		echo '{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "metrics-server-test",
			"namespace": "kube-system", "labels": {"kubernetes.io/service-name": "metrics-server"}},
			"addressType": "IPv4", "ports": [{"name": "https", "port": 443}],
			"endpoints": [{"addresses": ["10.0.0.10"], "conditions": {"ready": true}}]}' | kubectl create --filename=-
		address=$(kubectl get service metrics-server --namespace=kube-system --output=jsonpath='{.spec.clusterIP}')
		ip address add $address/32 dev lo
		account=/var/run/secrets/kubernetes.io/serviceaccount
		mkdir -p $account
		cp /etc/kubernetes/pki/ca.crt $account
		kubectl create token metrics-server --namespace=kube-system >$account/token
		export KUBERNETES_SERVICE_HOST=10.0.0.20 KUBERNETES_SERVICE_PORT=6443
		run-metrics-server $address >/log/metrics-server 2>&1 &

		available() { kubectl wait apiservice v1beta1.metrics.k8s.io --for=condition=Available=$1 --timeout=2s; }
		eventually available True
		eventually kubectl top node dev-worker-0
		echo 'nodes:'; kubectl top nodes
		echo 'pods:'; kubectl top pods
		grep 'Failed to scrape node.*dev-worker-1' /log/metrics-server |
			grep -o 'certificate signed by unknown authority' | head -n 1

		kubectl create rolebinding viewer --clusterrole=view --user=viewer
		eventually kubectl top pods --as=viewer
		for request in 'nodes' 'pods --namespace=kube-system' 'pods'; do
			kubectl top $request --as=viewer >/dev/null 2>&1 && echo "viewer: $request: yes" || echo "viewer: $request: no"
		done
		ask() { # NAME OPTIONS...: claims to be the API server, which forwards a request of an administrator
			client=$1
			shift
			curl --silent --output /dev/null --write-out "$client: %{http_code}\n" --cacert /etc/kubernetes/pki/ca.crt \
				--header 'X-Remote-User: kubernetes-admin' --header 'X-Remote-Group: system:masters' \
				--connect-to ::$address: "$@" https://metrics-server.kube-system.svc/apis/metrics.k8s.io/v1beta1/nodes
		}
		pki=/etc/kubernetes/pki
		ask 'the API server' --cert $pki/front-proxy-client.crt --key $pki/front-proxy-client.key
		ask 'another client'
		ask 'a node' --cert /node.crt --key /node.key

		kubectl patch apiservice v1beta1.metrics.k8s.io --type=merge \
			--patch '{"spec": {"caBundle": "'$(base64 --wrap=0 /etc/kubernetes/pki/node-ca.crt)'"}}'
		eventually available False
		kubectl get apiservice v1beta1.metrics.k8s.io --output=jsonpath='{.status.conditions[0].message}{"\n"}'
		echo "memory: $(awk '/VmHWM/ { print $2 " kB" }' /proc/$(pidof metrics-server)/status)"
		if grep -iE 'forbidden|unknown flag|deprecated' /log/metrics-server; then exit 1; fi
	`)
	t.Log(out)
	require.NoError(t, err)
	require.Regexp(t, `nodes:\nNAME .*\ndev-worker-0 +25[01]m +12% +64Mi +1% *\ndev-worker-1 +<unknown>.*\n`, out)
	require.Regexp(t, `pods:\nNAME .*\nweb +10[01]m +64Mi *\n`, out)
	require.Contains(t, out, "\ncertificate signed by unknown authority\n")
	require.Contains(t, out, "viewer: nodes: no\nviewer: pods --namespace=kube-system: no\nviewer: pods: yes\n")
	require.Contains(t, out, "the API server: 200\nanother client: 403\na node: 403\n")
	require.Contains(t, out, "failed to verify certificate", "the API server accepts only the CA in caBundle")
}
