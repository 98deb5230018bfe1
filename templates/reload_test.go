package templates

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// fakeSystemctl is a systemctl with the functions that this test needs: for a running unit, ExecStart and
// ExecStartPost.
const fakeSystemctl = `#!/bin/sh
# systemctl start|stop|restart UNIT: a unit has started when ExecStartPost has succeeded, and failed if the unit or
# ExecStartPost fails before that
set -eu
[ "$1" != daemon-reload ] || exit 0
unit=/etc/systemd/system/$2.service pid=/run/$2.pid
[ -e "$unit" ] || unit=/run/systemd/system/$2.service
echo "$1 $2" >>/log/systemctl
setting() { sed -e :a -e '/\\$/N; s/\\\n//; ta' "$unit" | sed -n "s/^$1=//p" | tail -n 1; }
case $1 in stop | restart)
	kill "$(cat "$pid")" 2>/dev/null || true
	while kill -0 "$(cat "$pid")" 2>/dev/null; do sleep 0.1; done
esac
case $1 in start | restart)
	setsid $(setting ExecStart) >>"/log/$2" 2>&1 &
	echo $! >"$pid"
	MAINPID=$(cat "$pid")
	export MAINPID
	eval "$(setting ExecStartPost)" &
	post=$!
	while kill -0 $post 2>/dev/null; do
		kill -0 "$(cat "$pid")" 2>/dev/null || { kill $post 2>/dev/null; exit 1; }
		sleep 0.1
	done
	wait $post
esac
`

// load lists namespaces until it ends, as a user with access by RBAC. One client opens a new connection for
// each request, and one keeps its connection. Like a real client, it retries on a kept connection that the
// server closed, and when the server asks for a retry.
const load = `
import http.client, signal, ssl, sys, threading, time
pki = "/etc/kubernetes/pki/"
context = ssl.create_default_context(cafile=pki + "ca.crt")
context.load_cert_chain(pki + "tenant-sync.crt", pki + "tenant-sync.key")
context.check_hostname = False # no certificate of this test has 10.0.0.5
ended = threading.Event()
def connect():
	return http.client.HTTPSConnection("10.0.0.5", 6443, timeout=20, context=context)
def get(connection):
	connection.request("GET", "/api/v1/namespaces")
	answer = connection.getresponse()
	answer.read()
	return answer
def new(counts):
	connection = connect()
	try:
		answer = get(connection)
		assert answer.status == 200, answer.status
	finally:
		connection.close()
kept = connect()
def keep(counts):
	global kept
	try:
		answer = get(kept)
	except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
		answer = None
	if answer is None or answer.status in (429, 503) and answer.getheader("Retry-After"):
		counts["retries"] += 1
		kept.close()
		kept = connect()
		answer = get(kept)
	assert answer.status == 200, answer.status
def run(name, request):
	counts = {"answered": 0, "failed": 0, "retries": 0}
	while not ended.is_set():
		try:
			request(counts)
			counts["answered"] += 1
		except Exception as e:
			counts["failed"] += 1
			print(name, "failed:", repr(e), flush=True)
			kept.close()
		time.sleep(0.05)
	print(name, counts, flush=True)
threads = [threading.Thread(target=run, args=arguments) for arguments in (("new", new), ("kept", keep))]
signal.signal(signal.SIGTERM, lambda *_: ended.set())
for thread in threads: thread.start()
for thread in threads: thread.join()
`

// keystoneWebhook is a fake webhook that accepts one token.
const keystoneWebhook = `
import http.server, json, ssl
class Handler(http.server.BaseHTTPRequestHandler):
	def do_POST(self):
		review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
		good = (self.path.startswith("/webhook") and review["apiVersion"] == "authentication.k8s.io/v1beta1"
			and review["spec"]["token"] == "alice")
		review["status"] = {"authenticated": good}
		if good:
			review["status"]["user"] = {"username": "keystone:a11ce", "groups": ["keystone:e4d:a11ce:member"]}
		self.send_response(200)
		self.send_header("Content-Type", "application/json")
		self.end_headers()
		self.wfile.write(json.dumps(review).encode())
server = http.server.HTTPServer(("127.0.0.1", 8444), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/etc/kubernetes/pki/keystone-auth.crt", "/etc/kubernetes/pki/keystone-auth.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
`

// TestReloadKubeAPIServer checks that users get access by ABAC after a reload of kube-apiserver. During the
// reload, no request is refused: of another machine at the virtual address, of keepalived, or of a pod on
// this machine at the Service's address.
func TestReloadKubeAPIServer(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	limitParallel(t)
	files := controlPlane(t)
	files["/usr/local/sbin/systemctl"] = fakeSystemctl
	files["/load.py"] = load
	files["/keystone-webhook.py"] = keystoneWebhook
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", prepareControlPlane+`
		mkdir -p /run/systemd/system
		ip netns add client
		ip link add eth0 type veth peer eth0 netns client
		ip address add 10.0.0.5/32 dev eth0; ip address add 10.1.0.1/24 dev eth0; ip link set eth0 up
		ip -n client address add 10.1.0.9/24 dev eth0; ip -n client link set eth0 up
		ip -n client route add default via 10.1.0.1
		ip route add 10.96.0.0/16 dev lo

		python3 /keystone-webhook.py >/log/keystone-webhook 2>&1 &
		systemctl start kube-apiserver
		run-cluster-resources >/dev/null
		alice() {
			curl --silent --output /dev/null --write-out '%{http_code}' --cacert /etc/kubernetes/pki/ca.crt \
				--oauth2-bearer "${1-alice}" https://10.0.0.20:6443/api/v1/namespaces/default/configmaps
		}
		allow='{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": '
		allow=$allow'{"group": "keystone:e4d:a11ce:member", "namespace": "default", "resource": "configmaps"}}'
		policy=/etc/kubernetes/abac/policy.jsonl
		echo "alice: $(alice), mallory: $(alice mallory)"
		echo "$allow" >$policy
		echo "alice: $(alice) before the reload"

		ip netns exec client python3 /load.py >/log/load 2>&1 &
		client=$!
		# keepalived needs two failures in a row. A check that connects before the spare takes over can fail.
		while :; do
			if check-kube-apiserver 10.0.0.20:6443 >/log/check 2>&1; then failures=0; else failures=$((failures + 1)); fi
			[ $failures -lt 2 ] || { cat /log/check; echo not ready; }
			sleep 0.5
		done >/log/keepalived 2>&1 &
		keepalived=$!
		# only the spare responds at the Service's address, because there is no kube-proxy
		while :; do
			curl --silent --max-time 5 --cacert /etc/kubernetes/pki/ca.crt --connect-to ::10.96.0.1:443 \
				https://10.0.0.20/readyz || true
			echo
			sleep 0.5
		done >/log/pod 2>&1 &
		pod=$!
		sleep 3
		first=$(cat /run/kube-apiserver.pid)
		reload-kube-apiserver
		sleep 3
		kill $client $keepalived $pod || { tail -n 5 /log/load /log/keepalived /log/pod; exit 1; }
		wait $client
		echo "alice: $(alice) after the reload"
		[ "$(cat /run/kube-apiserver.pid)" != "$first" ] && echo restarted kube-apiserver
		sort /log/load
		echo "keepalived: $(sort -u /log/keepalived)"
		echo "pod: $(grep -c ok /log/pod | sed 's/^[1-9].*/ok/')"
		endpoint='{.subsets[*].addresses[*].ip}:{.subsets[*].ports[*].port}'
		echo "endpoint: $(kubectl get endpoints kubernetes --output=jsonpath="$endpoint" 2>/dev/null)"
		echo "rules: $(nft list table ip kube-apiserver-spare | grep dnat)"
		curl --silent https://127.0.0.1:6444 || echo 'no spare'
		ls /var/log/kubernetes/audit
		systemd-analyze verify --man=no /run/systemd/system/kube-apiserver-spare.service && echo 'a valid unit'

		echo '{"apiVersion": "invalid"}' >$policy
		before=$(cat /run/kube-apiserver.pid)
		reload-kube-apiserver && echo 'reloaded an invalid policy'
		[ "$(cat /run/kube-apiserver.pid)" = "$before" ] && echo "alice: $(alice) with an invalid policy"

		# the state after a run that was killed while the spare served requests
		: >$policy
		systemctl start kube-apiserver-spare
		nft --file /etc/kubernetes/kube-apiserver-spare.nft
		reload-kube-apiserver
		echo "alice: $(alice) with an empty policy"
		cat /log/systemctl
	`)
	t.Log(out)
	require.NoError(t, err)
	counts := regexp.MustCompile(`'answered': \d{2,}, 'failed': 0, 'retries': \d}`)
	require.Equal(t, `alice: 403, mallory: 401
alice: 403 before the reload
alice: 200 after the reload
restarted kube-apiserver
kept {all}
new {all}
keepalived: 
pod: ok
endpoint: 10.0.0.20:6443
rules: 
no spare
audit.log
spare.log
a valid unit
not restarting kube-apiserver, because the spare does not start: journalctl --unit=kube-apiserver-spare
alice: 200 with an invalid policy
alice: 403 with an empty policy
start kube-apiserver
start kube-apiserver-spare
restart kube-apiserver
stop kube-apiserver-spare
stop kube-apiserver-spare
start kube-apiserver-spare
stop kube-apiserver-spare
start kube-apiserver-spare
stop kube-apiserver-spare
start kube-apiserver-spare
restart kube-apiserver
stop kube-apiserver-spare
`, counts.ReplaceAllString(out, "all}"))
}

// TestConnectionsToTheSpareStay checks that a request to the spare gets its response if reload-kube-apiserver sends
// new connections to the first API server in the meantime. No other rule of the machine uses connection tracking.
func TestConnectionsToTheSpareStay(t *testing.T) {
	t.Parallel()
	files := filesOf(t, controlPlaneMachine())
	files["/usr/local/sbin/check-kube-apiserver"] = "#!/bin/sh\n"
	files["/usr/local/sbin/systemctl"] = "#!/bin/sh\n[ \"$1\" != start ]\n"
	files["/spare.py"] = `
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
	def do_GET(self):
		open("/requested", "w").close()
		time.sleep(2)
		self.send_response(200)
		self.end_headers()
		self.wfile.write(b"the spare\n")
server = http.server.HTTPServer(("10.0.0.20", 6444), Handler)
open("/listening", "w").close()
server.serve_forever()
`
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", `
		mkdir -p /run/systemd/system
		ip link set lo up
		ip netns add client
		ip link add eth0 type veth peer eth0 netns client
		ip address add 10.0.0.20/24 dev eth0; ip link set eth0 up
		ip -n client address add 10.0.0.9/24 dev eth0; ip -n client link set eth0 up
		python3 /spare.py 2>/dev/null &
		nft --file /etc/kubernetes/kube-apiserver-spare.nft
		until [ -e /listening ]; do sleep 0.1; done
		ip netns exec client curl --silent --max-time 10 http://10.0.0.20:6443 >/response &
		request=$!
		until [ -e /requested ]; do sleep 0.1; done
		reload-kube-apiserver >/dev/null 2>&1
		ip netns exec client curl --silent --max-time 5 http://10.0.0.20:6443 || echo "new connections are not translated"
		wait $request
		cat /response
	`)
	require.NoError(t, err, out)
	require.Equal(t, "new connections are not translated\nthe spare\n", out)
}
