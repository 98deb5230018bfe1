package templates

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// startCalico continues after startControlPlane, on dev-control-plane-0.
const startCalico = `
hostname dev-control-plane-0
trap '[ $? = 0 ] || tail /log/calico /log/kube-controllers' EXIT
socat TCP-LISTEN:7443,bind=127.0.0.1,fork,reuseaddr TCP:127.0.0.1:6443 2>/dev/null &
sed -i 's/127.0.0.1:2379/10.0.0.10:2379/' /etc/calico/calico.env /etc/calico/calicoctl.cfg
mkdir -p /var/lib/calico /var/lib/kubelet/pki /status
cat /etc/kubernetes/pki/admin.crt /etc/kubernetes/pki/admin.key >/var/lib/kubelet/pki/kubelet-client-current.pem
run() { (set -a; unset KUBECONFIG; . /etc/calico/calico.env; exec "$@") >>/log/calico 2>&1; }
calico_startup() { run calico-node -startup && run calico-patch-node; }
calico_node_ref() {
	run wait-for-node && run env CALICO_K8S_NODE_REF=dev-control-plane-0 calico-node -startup && run calico-node-ref
}
kubelet() { # registers the Node, and calico-node-ref starts with it
	echo '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "dev-control-plane-0"}}' |
		kubectl create -f - >/dev/null
	calico_node_ref
}
# kube_controllers: starts them, and waits until they have looked at all Nodes once
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
is_there() { calico_node >/dev/null 2>&1; }
is_gone() { ! is_there; }
refers() { calico_node | grep -q 'nodeName: dev-control-plane-0'; }
# kept WHAT: whether the Calico Node is there, and has been since the last time this was asked
kept() {
	if is_there && [ "$(grep -c DELETE /log/deleted)" = "${deletions:-0}" ]; then echo "kept: $*"; else echo "LOST: $*"; fi
	deletions=$(grep -c DELETE /log/deleted || true)
}
(. /etc/profile.d/etcdctl.sh; exec etcdctl watch --prefix /calico/resources/v3/projectcalico.org/nodes/) >/log/deleted &
`

// TestCalicoNodeStays checks that kube-controllers keeps the Calico Nodes of this cluster. kube-controllers
// deletes Calico Nodes that refer to no Node. The test first shows this with upstream's order, in which the
// reference is written before the Node exists. Then it shows that our Calico Nodes stay, in whatever order
// programs start and stop and Nodes are created and deleted.
func TestCalicoNodeStays(t *testing.T) {
	t.Parallel()
	heavy(t, 1)
	files := controlPlane(t)
	const unit = "/etc/systemd/system/calico-"
	require.NotContains(t, files["/etc/calico/calico.env"]+files[unit+"startup.service"], "CALICO_K8S_NODE_REF")
	require.Contains(t, files[unit+"node-ref.service"], "\nEnvironment=CALICO_K8S_NODE_REF=dev-control-plane-0\n")
	files["/etc/calico/node.json"] = landed(t, workerMachine())["/etc/calico/node.json"]
	maps.Copy(files, program(t, "quay.io/calico/node@v3.28.5", "calico-node"))
	maps.Copy(files, program(t, "quay.io/calico/kube-controllers@v3.28.5", "kube-controllers"))
	maps.Copy(files, calicoctl(t))
	files["/usr/local/bin/systemctl"] = "#!/bin/sh\necho \"$@\" >>/log/systemctl\n"
	out, err := guest.Run(t, files, "unshare", "--net", "--uts", "sh", "-c", startControlPlane+startCalico+`
		echo "upstream:"
		run env CALICO_K8S_NODE_REF=dev-control-plane-0 calico-node -startup
		refers && echo "a reference to no Node"
		kube_controllers
		eventually is_gone
		echo "deleted"
		# so that two can run here; they end when their configuration changes
		calicoctl patch kubecontrollersconfiguration default --patch '{"spec": {"prometheusMetricsPort": 0}}' >/dev/null
		eventually grep -q 'configuration changed' /log/kube-controllers
		rm /log/pids
		kube_controllers

		echo "here:"
		calico_startup
		eventually grep -q DELETE /log/deleted
		deletions=$(grep -c DELETE /log/deleted)
		sleep 2
		kept "before there is a Node, kube-controllers running"
		no_kube_controllers
		kube_controllers
		kept "before there is a Node, kube-controllers started"
		calico_node_ref &
		ref=$!
		sleep 3
		! refers && echo "no reference to no Node"
		kept "while it waits for the Node"
		kubelet
		wait $ref
		refers && echo "a reference to the Node"
		kept "with its Node"
		grep '^KUBECONFIG=' /etc/calico/confd.env
		cat /log/systemctl
		no_kube_controllers
		kube_controllers
		kube_controllers
		kept "two of kube-controllers, started with the Node there"
		calico_startup
		refers && kept "a reboot"

		kubectl delete node dev-control-plane-0 >/dev/null
		eventually is_gone
		echo "gone with its Node"
		kubelet
		refers && calico_node | grep zone
		eventually grep -q DELETE /log/deleted
		deletions=$(grep -c DELETE /log/deleted)
		kept "as its Node came back with kubelet"

		echo "a machine made anew:"
		calicoctl patch node dev-control-plane-0 --patch \
			'{"metadata": {"labels": {"node.kubernetes.io/exclude-from-external-load-balancers": "true"}}}' >/dev/null
		calico_startup
		calico_node | grep exclude
		rm /var/lib/calico/*
		calico_startup
		calico_node | grep exclude || echo "not excluded"
		kubectl delete node dev-control-plane-0 >/dev/null
		sleep 5
		kept "while the older machine's Node goes"
		kubelet
		refers && kept "with its own Node"

		kubectl delete node dev-control-plane-0 >/dev/null
		eventually is_gone
		echo "gone with the machine"
	`)
	t.Log(out)
	require.NoError(t, err)
	_, out, _ = strings.Cut(out, "upstream:\n")
	require.Equal(t, `a reference to no Node
deleted
here:
kept: before there is a Node, kube-controllers running
kept: before there is a Node, kube-controllers started
no reference to no Node
kept: while it waits for the Node
a reference to the Node
kept: with its Node
KUBECONFIG=/etc/kubernetes/kubelet.conf
--no-block restart calico-confd.service
kept: two of kube-controllers, started with the Node there
kept: a reboot
gone with its Node
    topology.kubernetes.io/zone: nova
kept: as its Node came back with kubelet
a machine made anew:
    node.kubernetes.io/exclude-from-external-load-balancers: "true"
not excluded
kept: while the older machine's Node goes
kept: with its own Node
gone with the machine
`, out)
}
