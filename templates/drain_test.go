package templates

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// TestNodeDrain drains a Node at a real API server with its kubelet's certificate. The drain respects
// PodDisruptionBudgets, and keeps the pods that must stay.
func TestNodeDrain(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	limitParallel(t)
	files := controlPlane(t)
	const manager, start = "/etc/systemd/system/kube-controller-manager.service", "/usr/local/bin/kube-controller-manager "
	require.Contains(t, files[manager], start)
	// no kubelet renews the Nodes' leases, so they would become Unknown
	files[manager] = strings.Replace(files[manager], start, start+"--node-monitor-grace-period=1h ", 1)
	// the cluster's other CA signs the kubelets' certificates
	kubelets := newAuthority(t, "kubernetes-node-ca")
	certificate, key := kubelets.issue(t, "system:node:dev-worker-0", "system:nodes")
	files["/var/lib/kubelet/pki/kubelet-client-current.pem"] = certificate + key
	files["/etc/kubernetes/pki/client-ca.crt"] += kubelets.text()
	files["/objects.yaml"] = `
{apiVersion: v1, kind: Node, metadata: {name: dev-worker-0}}
---
{apiVersion: v1, kind: Node, metadata: {name: dev-worker-1}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: guarded},
 spec: {minAvailable: 2, selector: {matchLabels: {app: guarded}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: guarded-0, labels: {app: guarded}},
 spec: {nodeName: dev-worker-0, containers: [{name: a, image: a}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: guarded-1, labels: {app: guarded}},
 spec: {nodeName: dev-worker-1, containers: [{name: a, image: a}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: plain}, spec: {nodeName: dev-worker-0, containers: [{name: a, image: a}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done}, spec: {nodeName: dev-worker-0, containers: [{name: a, image: a}]}}
---
{apiVersion: v1, kind: Pod,
 metadata: {name: mirror, annotations: {kubernetes.io/config.mirror: x, text: "{\n    }\n        \"name\": \"x\",\n"}},
 spec: {nodeName: dev-worker-0, enableServiceLinks: true, containers: [{name: a, image: a}]}}
---
apiVersion: v1
kind: Pod
metadata:
  name: daemon
  ownerReferences:
  - {apiVersion: test.example/v1, kind: DaemonSet, name: d, uid: 4f1c0d9e-2b7a-4c55-9e2e-0123456789ab, controller: true}
spec: {nodeName: dev-worker-0, containers: [{name: a, image: a}]}
`
	out, err := guest.Run(t, files, "unshare", "--net", "--uts", "sh", "-c", "hostname dev-worker-0\n"+startControlPlane+`
socat TCP-LISTEN:7443,bind=127.0.0.1,fork,reuseaddr TCP:10.0.0.20:6443 2>/dev/null &
proxy=$!
mkdir -p /var/lib/node-drain
eventually kubectl get serviceaccount default
kubectl create -f /objects.yaml >/dev/null
status() { kubectl patch "$1" "$2" --subresource=status --type=merge --patch='{"status": '"$3"'}' >/dev/null; }
for node in 0 1; do
	status node dev-worker-$node '{"conditions": [{"type": "Ready", "status": "True", "reason": "r", "message": "m",
		"lastHeartbeatTime": "'$(date -u +%FT%TZ)'"}]}'
	status pod guarded-$node '{"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}'
done
status pod done '{"phase": "Succeeded"}'
eventually sh -c '[ "$(kubectl get pdb guarded --output=jsonpath={.status.currentHealthy})" = 2 ]'

# deletes ending pods, like kubelet. Several events of a pod print its name.
kubectl get pods --field-selector=spec.nodeName=dev-worker-0 --watch --output=go-template='
	{{- if .metadata.deletionTimestamp}}{{.metadata.name}}{{"\n"}}{{end}}' |
	while read -r pod; do
		case "${deleted-}" in *" $pod "*) continue ;; esac
		kubectl delete pod "$pod" --force --grace-period=0 >/dev/null 2>&1 && deleted="${deleted-} $pod "
	done &

show() {
	ready=$(kubectl get node dev-worker-0 --output=jsonpath='{.status.conditions[?(@.type=="Ready")].status}')
	echo "$1: Ready $ready," \
		"cordoned: $(kubectl get nodes --output=jsonpath='{.items[*].spec.unschedulable}'); pods:" \
		$(kubectl get pods --output=name | sort)
}
show before
node-drain drain >/drain 2>&1 &
drain=$!
eventually grep -q evicted /drain
sleep 3
show "blocked by the budget"
kubectl patch pdb guarded --type=merge --patch='{"spec": {"minAvailable": 1}}' >/dev/null
wait $drain && echo "drain: $(cat /drain)"
show drained
node-drain drain && echo "drained again"
node-drain uncordon && show uncordoned
kubectl cordon dev-worker-0 >/dev/null
node-drain drain
node-drain uncordon && show "an operator's cordon"

echo no API:
kill $proxy
start=$(date +%s)
node-drain drain 2>/dev/null || echo "gave up"
took=$(($(date +%s) - start))
[ "$took" -ge 19 ] && [ "$took" -le 60 ] || echo "took $took s"
touch /var/lib/node-drain/cordoned
node-drain uncordon 2>/dev/null || echo "failed, so its unit retries"
rm /var/lib/kubelet/pki/kubelet-client-current.pem
node-drain drain && echo "never joined"
`)
	require.NoError(t, err, out)
	const rest = "pod/daemon pod/done pod/guarded-1 pod/mirror\n"
	_, out, _ = strings.Cut(out, "before: ") // kubectl's output about the cluster's resources
	require.Equal(t, "Ready True, cordoned: ; pods: pod/daemon pod/done pod/guarded-0 pod/guarded-1 pod/mirror "+
		"pod/plain\n"+
		"blocked by the budget: Ready True, cordoned: true; pods: pod/daemon pod/done pod/guarded-0 pod/guarded-1 "+
		"pod/mirror\n"+
		"drain: evicted default/plain\nevicted default/guarded-0\n"+
		"drained: Ready False, cordoned: true; pods: "+rest+
		"drained again\n"+
		"uncordoned: Ready False, cordoned: ; pods: "+rest+
		"an operator's cordon: Ready False, cordoned: true; pods: "+rest+
		"no API:\ngave up\nfailed, so its unit retries\nnever joined\n", out)
}
