package templates

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// startCalico continues after startAPI, on dev-control-plane-0.
const startCalico = `
hostname dev-control-plane-0
trap '[ $? = 0 ] || tail /log/calico /log/kube-controllers' EXIT
socat TCP-LISTEN:7443,bind=127.0.0.1,fork,reuseaddr TCP:127.0.0.1:6443 2>/dev/null &
mkdir -p /var/lib/calico /var/lib/kubelet/pki /status
cat /etc/kubernetes/pki/admin.crt /etc/kubernetes/pki/admin.key >/var/lib/kubelet/pki/kubelet-client-current.pem
run() { (set -a; unset KUBECONFIG; . /etc/calico/calico.env; exec "$@") >>/log/calico 2>&1; }
# Like systemd, both functions start a failed unit again: a write to the Calico Node fails if another client writes too.
calico_startup() { eventually startup; }
startup() { run calico-node -startup && run calico-patch-node; }
calico_node_ref() { eventually node_ref; }
node_ref() {
	run wait-for-node && run env CALICO_K8S_NODE_REF=dev-control-plane-0 calico-node -startup && run calico-node-ref
}
register() {
	echo '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "dev-control-plane-0"}}' |
		kubectl create -f - >/dev/null
}
kubelet() { # registers the Node, and calico-node-ref starts with it
	register
	calico_node_ref
}
# kube_controllers: starts kube-controllers, and waits until it has checked all Nodes once
kube_controllers() {
	: >/log/kube-controllers
	run env KUBECONFIG=/etc/kubernetes/admin.conf ENABLED_CONTROLLERS=node COMPACTION_PERIOD=0 \
		setsid --fork sh -c 'echo $$ >>/log/pids; exec kube-controllers >>/log/kube-controllers 2>&1'
	eventually grep -q 'checking for stale nodes' /log/kube-controllers
	sleep 2
}
no_kube_controllers() {
	kill $(cat /log/pids)
	rm /log/pids
}
calico_node() { calicoctl get node dev-control-plane-0 --output=yaml; }
exists() { calico_node >/dev/null 2>&1; }
is_deleted() { ! exists; }
refers() { calico_node | grep -q 'nodeName: dev-control-plane-0'; }
# kept CASE: whether the Calico Node exists, and was not deleted since the last call
kept() {
	if exists && [ "$(grep -c DELETE /log/deleted)" = "${deletions:-0}" ]; then echo "kept: $*"; else echo "LOST: $*"; fi
	deletions=$(grep -c DELETE /log/deleted || true)
}
(. /etc/profile.d/etcdctl.sh; exec etcdctl watch --prefix /calico/resources/v3/projectcalico.org/nodes/) >/log/deleted &
`

// TestCalicoNodeStays checks that kube-controllers keeps the Calico Nodes of this cluster. kube-controllers
// deletes Calico Nodes that refer to no Node. The test first shows this with upstream's order, in which the
// reference is written before the Node exists. Then it shows that our Calico Nodes stay, in any order in which
// programs start and stop and Nodes are created and deleted.
func TestCalicoNodeStays(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	limitParallel(t)
	files := controlPlane(t)
	const unit = "/etc/systemd/system/calico-"
	require.NotContains(t, files["/etc/calico/calico.env"]+files[unit+"startup.service"], "CALICO_K8S_NODE_REF")
	require.Contains(t, files[unit+"node-ref.service"], "\nEnvironment=CALICO_K8S_NODE_REF=dev-control-plane-0\n")
	files["/etc/calico/node.json"] = filesOf(t, workerMachine())["/etc/calico/node.json"]
	maps.Copy(files, program(t, "quay.io/calico/node@v3.28.5", "calico-node"))
	maps.Copy(files, program(t, "quay.io/calico/kube-controllers@v3.28.5", "kube-controllers"))
	maps.Copy(files, calicoctl(t))
	files["/usr/local/bin/systemctl"] = "#!/bin/sh\necho \"$@\" >>/log/systemctl\n"
	out, err := guest.Run(t, files, "unshare", "--net", "--uts", "sh", "-c", startAPI+startCalico+`
		echo "upstream:"
		run env CALICO_K8S_NODE_REF=dev-control-plane-0 calico-node -startup
		refers && echo "a reference to a missing Node"
		kube_controllers
		eventually is_deleted
		echo "deleted"
		# without a metrics port two of them can run; a changed configuration ends kube-controllers
		calicoctl patch kubecontrollersconfiguration default --patch '{"spec": {"prometheusMetricsPort": 0}}' >/dev/null
		eventually grep -q 'configuration changed' /log/kube-controllers
		rm /log/pids
		kube_controllers

		echo "here:"
		calico_startup
		eventually grep -q DELETE /log/deleted
		deletions=$(grep -c DELETE /log/deleted)
		sleep 2
		kept "before the Node exists, kube-controllers running"
		no_kube_controllers
		kube_controllers
		kept "before the Node exists, kube-controllers started"
		calico_node_ref &
		ref=$!
		sleep 3
		! refers && echo "no reference to a missing Node"
		kept "while calico-node-ref waits for the Node"
		register # calico-node-ref runs only once at a time
		wait $ref
		refers && echo "a reference to the Node"
		kept "with its Node"
		grep '^KUBECONFIG=' /etc/calico/confd.env
		cat /log/systemctl
		no_kube_controllers
		kube_controllers
		kube_controllers
		kept "two kube-controllers, started while the Node exists"
		calico_startup
		refers && kept "after a reboot"

		kubectl delete node dev-control-plane-0 >/dev/null
		eventually is_deleted
		echo "deleted with its Node"
		kubelet
		refers && calico_node | grep zone
		eventually grep -q DELETE /log/deleted
		deletions=$(grep -c DELETE /log/deleted)
		kept "when kubelet has registered the Node again"

		echo "a replaced machine:"
		calicoctl patch node dev-control-plane-0 --patch \
			'{"metadata": {"labels": {"node.kubernetes.io/exclude-from-external-load-balancers": "true"}}}' >/dev/null
		calico_startup
		calico_node | grep exclude
		rm /var/lib/calico/*
		calico_startup
		calico_node | grep exclude || echo "not excluded"
		kubectl delete node dev-control-plane-0 >/dev/null
		sleep 5
		kept "when the older machine's Node is deleted"
		kubelet
		refers && kept "with its own Node"

		kubectl delete node dev-control-plane-0 >/dev/null
		eventually is_deleted
		echo "deleted with the machine"
	`)
	t.Log(out)
	require.NoError(t, err)
	_, out, _ = strings.Cut(out, "upstream:\n")
	require.Equal(t, `a reference to a missing Node
deleted
here:
kept: before the Node exists, kube-controllers running
kept: before the Node exists, kube-controllers started
no reference to a missing Node
kept: while calico-node-ref waits for the Node
a reference to the Node
kept: with its Node
KUBECONFIG=/etc/kubernetes/kubelet.conf
--no-block restart calico-confd.service
kept: two kube-controllers, started while the Node exists
kept: after a reboot
deleted with its Node
    topology.kubernetes.io/zone: nova
kept: when kubelet has registered the Node again
a replaced machine:
    node.kubernetes.io/exclude-from-external-load-balancers: "true"
not excluded
kept: when the older machine's Node is deleted
kept: with its own Node
deleted with the machine
`, out)
}
