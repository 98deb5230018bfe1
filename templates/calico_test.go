package templates

import (
	"maps"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/tests/guest"
)

// These tests pass Calico's resources to the real calicoctl, and its result to the real confd and BIRD.

// birdConfig is the beginning of a script that renders the configuration of node $1, as calico-confd does,
// and passes it to BIRD.
const birdConfig = `
export DATASTORE_TYPE=etcdv3 ETCD_ENDPOINTS=https://127.0.0.1:2379 ETCD_CA_CERT_FILE=/etc/calico/pki/ca.crt \
	ETCD_CERT_FILE=/etc/calico/pki/etcd.crt ETCD_KEY_FILE=/etc/calico/pki/etcd.key \
	NO_DEFAULT_POOLS=true IP6=none CLUSTER_TYPE=k8s,bgp CALICO_NETWORKING_BACKEND=bird CALICO_DISABLE_FILE_LOGGING=true
register() { NODENAME=$1 IP=$2 calico-node -startup >/log-startup-$1 2>&1 || cat /log-startup-$1; }
bird_config() {
	rm -f /etc/calico/confd/config/*.cfg
	NODENAME=$1 timeout 240 calico-node -confd -confd-run-once >/log-confd 2>&1 || cat /log-confd
	for i in $(seq 600); do [ ! -e /etc/calico/confd/config/bird.cfg ] || break; sleep 0.1; done
	bird -p -c /etc/calico/confd/config/bird.cfg
}
`

// calicoMember returns path → content of a control plane's files, with the files of a single etcd member.
func calicoMember(t *testing.T) map[string]string {
	files := etcdMember(t)
	const env, script = "/etc/etcd/etcd.env", "/usr/local/sbin/apply-calico-resources"
	files[env] = regexp.MustCompile(`,dev-etcd-[^,\n]*`).ReplaceAllString(files[env], "")
	maps.Copy(files, calicoctl(t))
	const pki = "/etc/calico/pki/"
	files[pki+"ca.crt"], files[pki+"etcd.crt"], files[pki+"etcd.key"] = files["/etc/etcd/pki/ca.crt"],
		files["/calico.crt"], files["/calico.key"]
	// kills apply-calico-resources after the number of writes in /kill-after
	files["/usr/local/sbin/calicoctl"] = `#!/bin/sh
/usr/local/bin/calicoctl "$@" || exit
case $1 in apply | create | delete) [ -e /kill-after ] || exit 0 ;; *) exit 0 ;; esac
left=$(($(cat /kill-after) - 1))
echo $left >/kill-after
[ $left = 0 ] || exit 0
echo "killed after $*" | sed 's/ --[^ ]*//g'
kill -KILL $(cat /script)
`
	m := controlPlaneMachine()
	files[script] = filesOf(t, m)[script]
	maps.Copy(files, resources(t, "/etc/calico", m.Plan))
	maps.Copy(files, resources(t, "/mesh", m.Plan))

	// the resources of another version of the cluster: one router, and route reflectors instead of a mesh
	other := m.Plan
	other.BGPConfiguration.NodeToNodeMeshEnabled, other.BGPConfiguration.ServiceLoadBalancerIPs = false, nil
	other.BGPPeers = []cluster.BGPPeer{
		{Name: "route-reflectors", NodeSelector: "all()", PeerSelector: "kubernetes-openstack/pool == 'rr'"},
		other.BGPPeers[1],
	}
	maps.Copy(files, resources(t, "/reflectors", other))
	other.BGPConfiguration.NodeToNodeMeshEnabled, other.BGPPeers = true, nil
	maps.Copy(files, resources(t, "/mesh-only", other))
	other.IPPool.CIDR = netip.MustParsePrefix("10.245.0.0/16")
	maps.Copy(files, resources(t, "/moved", other))
	return files
}

// resources returns path → content of the files that apply-calico-resources reads, in another folder than
// /etc/calico.
func resources(t *testing.T, dir string, plan cluster.Plan) map[string]string {
	m := controlPlaneMachine()
	m.Plan = plan
	files := map[string]string{}
	for name, content := range filesOf(t, m) {
		if rest, found := strings.CutPrefix(name, "/etc/calico/"); found &&
			(path.Dir(rest) == "resources" || strings.HasSuffix(rest, "configuration.yaml")) {
			files[path.Join(dir, rest)] = content
		}
	}
	return files
}

// startResources continues after startEtcd.
const startResources = `
member 0
eventually check-etcd
etcd-join users >/log-users 2>&1
# plan DIR: replaces the files in /etc/calico with those in DIR
plan() { for name in resources bgpconfiguration.yaml; do mount --bind "/$1/$name" "/etc/calico/$name"; done; }
. /etc/profile.d/etcdctl.sh
revision() { etcdctl get --write-out=fields none | sed -n 's/^"Revision" : //p'; }
# stored prints the names of Calico's resources by kind, and the spec of BGPConfiguration. etcdctl reads the names of
# all kinds at once, and starts faster than calicoctl.
stored() {
	keys=$(etcdctl get --prefix --keys-only /calico/resources/v3/projectcalico.org/)
	for kind in ippool bgpfilter bgppeer; do
		echo "$kind:$(echo "$keys" | sed -n "s,.*/${kind}s/, ,p" | tr -d '\n')"
	done
	calicoctl get bgpconfiguration default --output=yaml | sed '1,/^spec/d'
}
# metrics_port prints the port on which kube-controllers serves its metrics.
metrics_port() { calicoctl get kubecontrollersconfiguration default --output=yaml | grep prometheusMetricsPort; }
# apply runs the script twice. The second run writes nothing if the first one was complete.
apply() {
	apply-calico-resources
	before=$(revision)
	apply-calico-resources
	echo "$(($(revision) - before)) writes"
	stored
}
`

// TestCalicoResources runs apply-calico-resources before any node exists, and after changes by users and by a
// next version of the cluster. It also changes from mesh to route reflectors and back, and kills the script
// after each of its writes.
func TestCalicoResources(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	limitParallel(t)
	const mesh = `  asNumber: 4200000000
  nodeToNodeMeshEnabled: true
  serviceClusterIPs:
  - cidr: 10.96.0.0/16
`
	const loadBalancers = `  serviceLoadBalancerIPs:
  - cidr: 198.51.100.0/25
  - cidr: 198.51.100.128/25
`
	users := func(configuration string) string {
		for before, fields := range map[string]string{
			"nodeToNode":     "communities:\n  - name: ours\n    value: 65001:100\n  logSeverityScreen: Debug\n",
			"serviceCluster": "prefixAdvertisements:\n  - cidr: 10.244.0.0/16\n    communities:\n    - ours\n",
		} {
			configuration = strings.Replace(configuration, "  "+before, "  "+fields+"  "+before, 1)
		}
		return configuration
	}
	out, err := guest.Run(t, calicoMember(t), "unshare", "--net", "--mount", "sh", "-c", startEtcd+
		startResources+`
		echo new:
		apply
		metrics_port
		echo changed by users:
		calicoctl create --filename=- >/dev/null <<-END
			apiVersion: projectcalico.org/v3
			kind: BGPFilter
			metadata: {name: of-a-user}
			spec: {importV4: [{action: Reject}]}
			---
			apiVersion: projectcalico.org/v3
			kind: BGPPeer
			metadata: {name: peer-of-a-user}
			spec: {peerIP: 10.0.0.9, asNumber: 65009, filters: [of-a-user]}
			---
			apiVersion: projectcalico.org/v3
			kind: IPPool
			metadata: {name: of-a-user}
			spec: {cidr: 10.9.0.0/16}
		END
		calicoctl patch bgppeer peer-10-0-0-1 --patch='{"spec": {"asNumber": 65123}}' >/dev/null
		calicoctl delete bgpfilter peer-10-0-0-2 >/dev/null
		calicoctl patch kubecontrollersconfiguration default \
			--patch='{"spec": {"prometheusMetricsPort": 9094, "logSeverityScreen": "Debug"}}' >/dev/null
		calicoctl patch bgpconfiguration default --patch='{"spec": {
			"asNumber": 64999, "logSeverityScreen": "Debug", "serviceExternalIPs": [{"cidr": "192.0.2.0/24"}],
			"communities": [{"name": "ours", "value": "65001:100"}],
			"prefixAdvertisements": [{"cidr": "10.244.0.0/16", "communities": ["ours"]}]}}' >/dev/null
		apply
		calicoctl get bgppeer peer-10-0-0-1 --output='go-template={{range .}}{{.Spec.ASNumber}}{{end}}'; echo
		metrics_port
		calicoctl get kubecontrollersconfiguration default --output=yaml | grep logSeverityScreen

		echo reflectors:
		plan reflectors
		apply-calico-resources >/log-reflectors 2>&1 &
		script=$!
		eventually grep 'no route reflector' /log-reflectors
		cat /log-reflectors
		stored
		kill $script
		calicoctl create --filename=- >/dev/null <<-END
			apiVersion: projectcalico.org/v3
			kind: Node
			metadata: {name: dev-rr-0, labels: {kubernetes-openstack/pool: rr}}
			spec: {bgp: {ipv4Address: 10.0.0.10/24, routeReflectorClusterID: 244.0.0.1}}
		END
		apply
		echo killed:
		stored >/wanted
		for n in 1 2 3 4 5; do
			plan mesh
			rm -f /kill-after
			apply-calico-resources >/dev/null
			plan reflectors
			echo $n >/kill-after
			{ sh -c 'echo $$ >/script; exec apply-calico-resources' >/log-killed 2>&1; } 2>/dev/null &&
				echo "not after $((n - 1)) writes"
			grep '^killed' /log-killed || true
			apply-calico-resources >/dev/null
			stored | diff /wanted -
		done
		rm /kill-after
		echo mesh:
		plan mesh-only
		apply
		echo moved:
		plan moved
		apply-calico-resources || echo "exit: $?"
		echo etcd does not answer:
		kill -STOP $pid_0
		TIMEOUT=2 apply-calico-resources || echo "exit: $?"
	`)
	t.Log(out)
	require.NoError(t, err)
	require.Equal(t, `new:
Successfully applied 5 resource(s)
Successfully created 1 'KubeControllersConfiguration' resource(s)
Successfully created 1 'BGPConfiguration' resource(s)
0 writes
ippool: pods
bgpfilter: peer-10-0-0-1 peer-10-0-0-2
bgppeer: peer-10-0-0-1 peer-10-0-0-2
`+mesh+loadBalancers+`  prometheusMetricsPort: 0
changed by users:
Successfully applied 5 resource(s)
Successfully patched 1 'KubeControllersConfiguration' resource
Successfully applied 1 'BGPConfiguration' resource(s)
0 writes
ippool: of-a-user pods
bgpfilter: of-a-user peer-10-0-0-1 peer-10-0-0-2
bgppeer: peer-10-0-0-1 peer-10-0-0-2 peer-of-a-user
`+users(mesh+loadBalancers)+`65001
  prometheusMetricsPort: 0
  logSeverityScreen: Debug
reflectors:
Successfully applied 4 resource(s)
keeping the node-to-node mesh: no route reflector has joined yet
ippool: of-a-user pods
bgpfilter: of-a-user peer-10-0-0-1 peer-10-0-0-2
bgppeer: peer-10-0-0-1 peer-10-0-0-2 peer-of-a-user route-reflectors
`+users(mesh+loadBalancers)+`Successfully applied 1 'BGPConfiguration' resource(s)
Successfully deleted 1 'BGPPeer' resource(s)
Successfully deleted 1 'BGPFilter' resource(s)
0 writes
ippool: of-a-user pods
bgpfilter: of-a-user peer-10-0-0-2
bgppeer: peer-10-0-0-2 peer-of-a-user route-reflectors
`+strings.Replace(users(mesh), "true", "false", 1)+`killed:
killed after apply
killed after apply
killed after delete bgppeer peer-10-0-0-1
killed after delete bgpfilter peer-10-0-0-1
not after 4 writes
mesh:
Successfully applied 1 'BGPConfiguration' resource(s)
Successfully deleted 1 'BGPPeer' resource(s)
Successfully deleted 1 'BGPPeer' resource(s)
Successfully deleted 1 'BGPFilter' resource(s)
0 writes
ippool: of-a-user pods
bgpfilter: of-a-user
bgppeer: peer-of-a-user
`+users(mesh)+`moved:
Failed to apply 'IPPool' resource: [error with field IPPool.Spec.CIDR = '10.245.0.0/16' `+
		`(IPPool CIDR cannot be modified)]
exit: 1
etcd does not answer:
exit: 124
`, out)
}

// TestRouterPasswords checks that confd renders BIRD's configuration, without an API and then with a node's
// certificate. With the roles of nodes, confd reads the passwords. BIRD accepts the configuration of our
// peers and filters.
func TestRouterPasswords(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	files := controlPlane(t)
	maps.Copy(files, calicoctl(t))
	maps.Copy(files, imageFiles(t, dirs.Mirror("oci", "quay.io/calico/node@v3.28.5")))
	files["/node.conf"] = strings.NewReplacer("/etc/kubernetes/pki/admin.",
		"/node.").Replace(files["/etc/kubernetes/admin.conf"])
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", startAPI+birdConfig+`
		unset KUBECONFIG
		eventually apply-calico-resources
		register dev-worker-0 10.0.0.64/24
		register dev-worker-1 10.0.0.65/24
		calicoctl label nodes dev-worker-0 topology.kubernetes.io/zone=nova >/dev/null
		config() { sed -n "/^$1/,/^}/p" /etc/calico/confd/config/bird.cfg | sed -E 's/ *#.*//; /^ *$/d; s/  +/ /g'; }

		echo without an API:
		bird_config dev-worker-0
		config 'protocol bgp Mesh'
		config 'protocol bgp Node'
		config "function 'bgp_peer"
		grep ' route ' /etc/calico/confd/config/bird_aggr.cfg
		echo with it:
		export KUBECONFIG=/node.conf
		bird_config dev-worker-0
		config 'protocol bgp Node' | grep -E 'password|protocol'
		if grep -iE 'forbidden|not run' /log-confd; then exit 1; fi
	`)
	t.Log(out)
	require.NoError(t, err)
	_, rendered, _ := strings.Cut(out, "without an API:\n")
	require.Equal(t, `protocol bgp Mesh_10_0_0_65 from bgp_template {
 neighbor 10.0.0.65 as 4200000000;
 source address 10.0.0.64;
 import all;
 export filter {
 calico_export_to_bgp_peers(true);
 reject;
 };
 passive on;
}
protocol bgp Node_10_0_0_1 from bgp_template {
 ttl security off;
 multihop;
 neighbor 10.0.0.1 as 65001;
 source address 10.0.0.64;
 import filter {
 'bgp_peer-10-0-0-1_importFilterV4'();
 accept;
 };
 export filter {
 'bgp_peer-10-0-0-1_exportFilterV4'();
 calico_export_to_bgp_peers(false);
 reject;
 };
 graceful restart time 12;
 next hop keep;
}
protocol bgp Node_10_0_0_2 from bgp_template {
 ttl security off;
 multihop;
 neighbor 10.0.0.2 as 65002;
 source address 10.0.0.64;
 import filter {
 'bgp_peer-10-0-0-2_importFilterV4'();
 accept;
 };
 export filter {
 'bgp_peer-10-0-0-2_exportFilterV4'();
 calico_export_to_bgp_peers(false);
 reject;
 };
 graceful restart time 12;
}
function 'bgp_peer-10-0-0-1_importFilterV4'() {
 reject;
}
function 'bgp_peer-10-0-0-1_exportFilterV4'() {
 if (((defined(source))&&(source ~ [ RTS_BGP ]))) then { reject; }
}
function 'bgp_peer-10-0-0-2_importFilterV4'() {
 if ((net ~ 10.244.0.0/16)) then { reject; }
 if ((net ~ 10.1.0.0/16)) then { accept; }
 reject;
}
function 'bgp_peer-10-0-0-2_exportFilterV4'() {
 if (((defined(source))&&(source ~ [ RTS_BGP ]))) then { reject; }
 if ((net ~ 10.96.0.0/16)) then { reject; }
}
   route 10.96.0.0/16 blackhole;
   route 198.51.100.0/25 blackhole;
   route 198.51.100.128/25 blackhole;
with it:
protocol bgp Node_10_0_0_1 from bgp_template {
 password "secret of the router";
protocol bgp Node_10_0_0_2 from bgp_template {
`, rendered)
}
