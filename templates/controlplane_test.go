package templates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/bootstraptoken"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/tests/guest"
)

// These tests run a control plane with our rendered flags and files, on etcd, in its own network namespace.

// authority is a certificate authority that signs the certificates of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func newAuthority(t *testing.T, name string) authority {
	a := authority{key: newKey(t)}
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, a.key.Public(), a.key)
	require.NoError(t, err)
	a.certificate, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return a
}

func (a authority) text() string { return encode("CERTIFICATE", a.certificate.Raw) }

// issue returns a leaf certificate and its key in PEM, valid for servers and clients.
func (a authority) issue(t *testing.T, name, organization string, addresses ...string) (certificate, key string) {
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if organization != "" {
		leaf.Subject.Organization = []string{organization}
	}
	for _, address := range addresses {
		leaf.IPAddresses = append(leaf.IPAddresses, net.ParseIP(address))
	}
	if strings.HasSuffix(name, ".svc") {
		leaf.DNSNames = []string{name}
	}
	private := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, private.Public(), a.key)
	require.NoError(t, err)
	return encode("CERTIFICATE", der), encodeKey(t, private)
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func encodeKey(t *testing.T, key crypto.PrivateKey) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return encode("PRIVATE KEY", der)
}

// pki returns path → content of the certificates and keys of a control plane, of etcd, and of Calico for
// etcd.
func pki(t *testing.T) map[string]string {
	ca, node := newAuthority(t, "kubernetes"), newAuthority(t, "kubernetes-node-ca")
	etcd, proxy := newAuthority(t, "etcd"), newAuthority(t, "front-proxy")
	account := newKey(t)
	public, err := x509.MarshalPKIXPublicKey(account.Public())
	require.NoError(t, err)
	const dir = "/etc/kubernetes/pki/"
	files := map[string]string{
		dir + "ca.crt":             ca.text(),
		dir + "client-ca.crt":      ca.text() + node.text(),
		dir + "etcd/ca.crt":        etcd.text(),
		dir + "front-proxy-ca.crt": proxy.text(),
		dir + "node-ca.crt":        node.text(),
		dir + "node-ca.key":        encodeKey(t, node.key),
		dir + "sa.key":             encodeKey(t, account),
		dir + "sa.pub":             encode("PUBLIC KEY", public),
		"/etc/etcd/pki/ca.crt":     etcd.text(),
		"/etc/calico/pki/ca.crt":   etcd.text(),
		"/etc/haproxy/ca.crt":      ca.text(),
	}
	for _, leaf := range []struct {
		path               string
		by                 authority
		name, organization string
	}{
		{"/etc/etcd/pki/client", etcd, "root", ""},
		{"/etc/etcd/pki/server", etcd, "etcd", ""},
		{"/etc/calico/pki/etcd", etcd, "calico", ""},
		{dir + "calico-node-etcd", etcd, "calico-node", ""},
		{"/etc/metrics-server/tls", ca, "metrics-server.kube-system.svc", ""},
		{"/node", node, "system:node:dev-worker-0", "system:nodes"},
		{dir + "admin", ca, "kubernetes-admin", "system:masters"},
		{dir + "apiserver", ca, "kube-apiserver", ""},
		{dir + "apiserver-etcd-client", etcd, "kube-apiserver", ""},
		{dir + "apiserver-kubelet-client", ca, "kube-apiserver-kubelet-client", ""},
		{dir + "controller-manager", ca, "system:kube-controller-manager", ""},
		{dir + "front-proxy-client", proxy, "front-proxy-client", ""},
		{dir + "keystone-auth", ca, "keystone-auth", ""},
		{dir + "node-approver", ca, "node-approver", ""},
		{dir + "scheduler", ca, "system:kube-scheduler", ""},
		{dir + "tenant-sync", ca, "tenant-sync", ""},
	} {
		files[leaf.path+".crt"], files[leaf.path+".key"] = leaf.by.issue(t, leaf.name, leaf.organization,
			"10.0.0.10", "10.0.0.20", "127.0.0.1")
	}
	return files
}

// execStart returns the command of a unit's ExecStart, as shell code.
func execStart(t *testing.T, unit string) string {
	_, command, found := strings.Cut(strings.ReplaceAll(unit, "\\\n", ""), "\nExecStart=")
	require.True(t, found)
	command, _, _ = strings.Cut(command, "\n")
	return command
}

// limitParallel limits the tests that run in parallel. It is for tests with a control plane, which has 0.5 GiB of
// memory, or with hundreds of commands. At most four of them run at a time.
func limitParallel(t *testing.T) {
	require.NoError(t, running.Acquire(t.Context(), 1))
	t.Cleanup(func() { running.Release(1) })
}

var running = semaphore.NewWeighted(4)

// controlPlane returns path → content of a control plane with valid keys, its programs, and a script
// run-<unit> for each unit. The changes apply to its values.
func controlPlane(t *testing.T, changes ...func(*values)) map[string]string {
	m := controlPlaneMachine()
	for _, change := range changes {
		change(&m)
	}
	m.PKI, m.Inputs.PKI = nil, nil
	for name, content := range pki(t) {
		addPKI(&m, name, content)
	}
	files := filesOf(t, m)
	files["/etc/calico/pki/ca.crt"] = files["/etc/etcd/pki/ca.crt"]
	member := etcdMachine()
	member.Plan = m.Plan
	const profile = "/etc/profile.d/etcdctl.sh"
	files[profile] = filesOf(t, member)[profile]
	maps.Copy(files, etcdBinaries(t))
	files["/usr/local/bin/etcd-join"] = built(t, "kubernetes-openstack/cmd/etcd-join")
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"} {
		files["/usr/local/bin/"+name] = kubernetes(t, name)
	}
	for _, name := range []string{
		"kube-apiserver", "kube-controller-manager", "kube-scheduler", "cluster-resources", "node-approver", "node-role",
	} {
		unit := files["/etc/systemd/system/"+name+".service"]
		command := execStart(t, unit)
		if strings.Contains(unit, "\nCapabilityBoundingSet=\n") {
			command = "setpriv --bounding-set=-all --no-new-privs " + command
		}
		files["/usr/local/sbin/run-"+name] = "#!/bin/sh\nexec " + command + "\n"
	}
	return files
}

// prepareControlPlane is the beginning of a script that runs with the files of controlPlane.
const prepareControlPlane = `
set -eu
ip link set lo up
for address in 10.0.0.10 10.0.0.20; do ip address add $address/24 dev lo; done
export KUBECONFIG=/etc/kubernetes/admin.conf
mkdir -p /var/log/kubernetes/audit /log
etcd --data-dir=/run/etcd --listen-peer-urls=http://127.0.0.1:2380 --unsafe-no-fsync \
	--listen-client-urls=https://127.0.0.1:2379 --advertise-client-urls=https://127.0.0.1:2379 \
	--client-cert-auth --trusted-ca-file=/etc/etcd/pki/ca.crt \
	--cert-file=/etc/etcd/pki/server.crt --key-file=/etc/etcd/pki/server.key >/log/etcd 2>&1 &
start() { while :; do "run-$1" || sleep 1; done >"/log/$1" 2>&1 & }
# eventually COMMAND...: repeats it until it succeeds, and shows the logs if it never does. Parallel tests can make it
# slow.
eventually() {
	left=240
	until "$@" >/log/eventually 2>&1; do
		[ "$left" -gt 0 ] || { echo "never: $*"; cat /log/eventually; tail -n 15 /log/*; exit 1; }
		left=$((left - 1))
		sleep 1
	done
}
eventually etcd-join users
`

// startAPI is prepareControlPlane, and then starts the API server and creates the cluster's resources.
const startAPI = prepareControlPlane + `
start kube-apiserver
eventually check-kube-apiserver
run-cluster-resources
`

// startControlPlane is startAPI, and then starts kube-controller-manager. It would end and start again while it waits
// for the API.
const startControlPlane = startAPI + `
start kube-controller-manager
`

// TestControlPlaneRuns checks that the real programs accept all flags and files, and behave as the files
// specify.
func TestControlPlaneRuns(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	limitParallel(t)
	files := controlPlane(t)
	expired := bootstraptoken.Token{ID: "expire", Secret: "0123456789abcdef"}
	files["/tokens.json"] = tokenList(t, expired.Manifest("dev-worker-8", time.Now()),
		bootstraptoken.Token{ID: "abcdef", Secret: expired.Secret}.Manifest("dev-worker-9", time.Now().Add(time.Hour)))
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", startControlPlane+`
		kubectl create -f /tokens.json >/dev/null
		start kube-scheduler
		kubectl create secret generic --namespace=kube-system bootstrap-token-legacy \
			--type=bootstrap.kubernetes.io/token --from-literal=token-id=legacy --from-literal=token-secret=0123456789abcdef
		echo again; run-cluster-resources
		eventually check-kube-controller-manager
		eventually check-kube-scheduler
		eventually kubectl get lease --namespace kube-system kube-controller-manager kube-scheduler
		eventually kubectl get serviceaccount default

		echo '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "dev-control-plane-0"}}' | kubectl create -f -
		run-node-role
		kubectl get nodes

		echo 'anonymous:'
		ask() {
			curl --silent --output /dev/null --write-out "$* %{http_code}\n" --cacert /etc/kubernetes/pki/ca.crt "$@" || true
		}
		for path in /livez /readyz /healthz /version /api /metrics; do ask https://127.0.0.1:6443$path; done
		ask --tls-max 1.2 https://127.0.0.1:6443/readyz
		ask --cert /etc/kubernetes/pki/admin.crt --key /etc/kubernetes/pki/admin.key https://127.0.0.1:6443/debug/pprof/

		echo 'with a bootstrap token:'
		eventually kubectl get configmap --namespace=kube-system kube-root-ca.crt
		for name in kube-root-ca.crt extension-apiserver-authentication; do
			ask --header 'Authorization: Bearer abcdef.0123456789abcdef' \
				https://127.0.0.1:6443/api/v1/namespaces/kube-system/configmaps/$name
		done

		cleaned() { ! kubectl get secret --namespace=kube-system bootstrap-token-expire; }
		eventually cleaned

		echo 'nodes:'
		# get PATH: prints the status codes for a node, a bootstrap token and Calico's certificate for etcd
		get() {
			for credential in '--cert /node.crt --key /node.key' '--oauth2-bearer abcdef.0123456789abcdef' \
				'--cert /etc/calico/pki/etcd.crt --key /etc/calico/pki/etcd.key'; do
				curl --silent --output /dev/null --write-out '%{http_code} ' --cacert /etc/kubernetes/pki/ca.crt $credential \
					"https://127.0.0.1:6443/api/v1/$1" || true
			done
			echo "$1"
		}
		for secret in calico-node-etcd calico-etcd bgp-peers bootstrap-token-abcdef; do
			get namespaces/kube-system/secrets/$secret
			get "namespaces/kube-system/secrets?fieldSelector=metadata.name=$secret"
		done
		for path in namespaces/kube-system/secrets secrets namespaces/default namespaces services endpoints; do
			get $path
		done
		kubectl get secret --namespace=kube-system calico-etcd calico-node-etcd bgp-peers \
			--output=jsonpath='{range .items[*]}{.data}{"\n"}{end}' | sed -E 's/"[^"]{100,}"/PEM/g'
		kubectl get secret --namespace=kube-system calico-etcd --output=jsonpath='{.data.etcd\.key}' |
			base64 -d | cmp - /etc/calico/pki/etcd.key
		kubectl get secret --namespace=kube-system calico-node-etcd --output=jsonpath='{.data.etcd\.key}' |
			base64 -d | cmp - /etc/kubernetes/pki/calico-node-etcd.key
		versions() {
			kubectl get secret --namespace=kube-system calico-etcd calico-node-etcd bgp-peers \
				--output=jsonpath='{.items[*].metadata.resourceVersion}'
		}
		before=$(versions)
		run-cluster-resources >/dev/null
		[ "$(versions)" = "$before" ] && echo unchanged

		# may USER VERB RESOURCE [SUBRESOURCE [GROUP]]: the answer is the first word, because ABAC adds the reason
		may() {
			answer=$(kubectl auth can-i "$2" "$3" --subresource="${4-}" --as="$1" ${5:+--as-group="$5"} 2>/dev/null || true)
			echo "$*: ${answer%% *}"
		}
		may kube-apiserver-kubelet-client create nodes proxy
		may kube-apiserver-kubelet-client list secrets
		may system:node:dev-worker-0 list endpointslices.discovery.k8s.io '' system:nodes
		may node-approver update certificatesigningrequests approval
		may node-approver update nodes
		may node-approver list secrets
		may tenant-sync create namespaces
		may tenant-sync list pods
		may tenant-sync bind clusterroles.rbac.authorization.k8s.io/kubernetes-openstack:tenant-edit
		may tenant-sync bind clusterroles.rbac.authorization.k8s.io/cluster-admin

		kubectl run privileged --image=pause --dry-run=server \
			--overrides='{"spec": {"containers": [
				{"name": "pause", "image": "pause", "securityContext": {"privileged": true}}]}}' || true
		kubectl create service clusterip external --tcp=80 --dry-run=client --output=yaml |
			sed 's/^spec:/&\n  externalIPs: [192.0.2.1]/' | kubectl create -f - || true

		policies='kubectl get validatingadmissionpolicy --output'
		types_checked() { [ "$($policies jsonpath='{.items[*].status.observedGeneration}')" = '1 1' ]; }
		eventually types_checked
		echo "types: $($policies jsonpath='{.items[*].status.typeChecking.expressionWarnings}')."

		. /etc/profile.d/etcdctl.sh
		stored() {
			etcdctl get --print-value-only "$1" 2>&1 |
				grep -m 1 -aoE '^k8s:enc:secretbox:v1:key1:|^10.244.0.0/16|permission denied$'
		}
		secret=/registry/secrets/kube-system/bootstrap-token-abcdef
		etcdctl put /calico/pool 10.244.0.0/16 >/dev/null
		export ETCDCTL_CERT=/etc/calico/pki/etcd.crt ETCDCTL_KEY=/etc/calico/pki/etcd.key
		echo "Calico gets $(stored $secret), $(stored /calico/pool)"
		export ETCDCTL_CERT=/etc/kubernetes/pki/apiserver-etcd-client.crt
		export ETCDCTL_KEY=/etc/kubernetes/pki/apiserver-etcd-client.key
		echo "the API server gets $(stored $secret), $(stored /calico/pool)"
		if grep 'permission denied' /log/kube-*; then exit 1; fi # set -e ignores a command after !
		echo "audited: $(grep -c bootstrap-token-abcdef /var/log/kubernetes/audit/audit.log)"
		if grep 0123456789abcdef /var/log/kubernetes/audit/audit.log; then exit 1; fi
		kubectl create token default --duration=10m >/dev/null
		if grep -E 'unknown field|strict decoding|deprecated' /log/kube-*; then exit 1; fi
	`)
	t.Log(out)
	require.NoError(t, err)
	_, again, _ := strings.Cut(out, "again\n")
	for _, want := range []string{
		"/service-addresses.kubernetes-openstack serverside-applied\n", "secret \"bootstrap-token-legacy\" deleted",
		"node/dev-control-plane-0 labeled\n", "control-plane",
		"6443/livez 200\n", "6443/readyz 200\n", "6443/healthz 200\n", "6443/version 401\n", "6443/api 401\n",
		"6443/metrics 401\n",
		"--tls-max 1.2 https://127.0.0.1:6443/readyz 000\n", "/debug/pprof/ 404\n",
		"configmaps/kube-root-ca.crt 200\n", "configmaps/extension-apiserver-authentication 403\n",
		`nodes:
200 403 401 namespaces/kube-system/secrets/calico-node-etcd
200 403 401 namespaces/kube-system/secrets?fieldSelector=metadata.name=calico-node-etcd
403 403 401 namespaces/kube-system/secrets/calico-etcd
403 403 401 namespaces/kube-system/secrets?fieldSelector=metadata.name=calico-etcd
200 403 401 namespaces/kube-system/secrets/bgp-peers
200 403 401 namespaces/kube-system/secrets?fieldSelector=metadata.name=bgp-peers
403 403 401 namespaces/kube-system/secrets/bootstrap-token-abcdef
403 403 401 namespaces/kube-system/secrets?fieldSelector=metadata.name=bootstrap-token-abcdef
403 403 401 namespaces/kube-system/secrets
403 403 401 secrets
200 403 401 namespaces/default
403 403 401 namespaces
200 403 401 services
200 403 401 endpoints
{"ca.crt":PEM,"etcd.crt":PEM,"etcd.key":PEM}
{"ca.crt":PEM,"etcd.crt":PEM,"etcd.key":PEM}
{"peer-10-0-0-1":"c2VjcmV0IG9mIHRoZSByb3V0ZXI="}
unchanged
`,
		"kube-apiserver-kubelet-client create nodes proxy: yes\n", "kube-apiserver-kubelet-client list secrets: no\n",
		"system:node:dev-worker-0 list endpointslices.discovery.k8s.io  system:nodes: yes\n",
		"node-approver update certificatesigningrequests approval: yes\n", "node-approver update nodes: no\n",
		"node-approver list secrets: no\n",
		"tenant-sync create namespaces: yes\n", "tenant-sync list pods: no\n",
		"tenant-edit: yes\n", "cluster-admin: no\n",
		`violates PodSecurity "baseline:latest"`, "Use of external IPs is denied by admission control",
		"Calico gets permission denied, 10.244.0.0/16\n",
		"the API server gets k8s:enc:secretbox:v1:key1:, permission denied\n",
		"types: .\n",
	} {
		require.Contains(t, again, want)
	}
	require.NotContains(t, again, "audited: 0\n")
}

// signingRequest is a CertificateSigningRequest and its requester.
type signingRequest struct {
	as           string // a node; empty: token
	outsider     bool   // not in system:nodes
	token        string
	name         string   // the subject's common name
	organization []string // the subject's; system:nodes
	dns          []string
	addresses    []string
	emails       []string
	usages       []string
	refused      string // part of the logged reason; approved if empty
}

func (r signingRequest) manifest(t *testing.T, name, signer string) string {
	template := &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: r.name, Organization: r.organization},
		DNSNames: r.dns, EmailAddresses: r.emails,
	}
	for _, address := range r.addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, newKey(t))
	require.NoError(t, err)
	text := encode("CERTIFICATE REQUEST", der)
	manifest, err := yaml.Marshal(map[string]any{
		"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"signerName": signer, "request": base64.StdEncoding.EncodeToString([]byte(text)),
			"usages": r.usages},
	})
	require.NoError(t, err)
	return string(manifest)
}

// TestOldTokensAreListed checks that apply-cluster-resources fails if it cannot list the tokens of earlier versions.
// They would stay valid forever.
func TestOldTokensAreListed(t *testing.T) {
	t.Parallel()
	files := filesOf(t, controlPlaneMachine())
	files["/usr/local/sbin/kubectl"] = `#!/bin/sh
case "$*" in
*--filename=-) cat >/dev/null ;;
"get secrets "*) [ ! -e /broken ] || exit 1; cat /old ;;
"delete "*) echo "$*" ;;
esac
`
	out, err := guest.Run(t, files, "sh", "-c", `
		: >/old; apply-cluster-resources; echo "none: $?"
		printf 'bootstrap-token-a bootstrap-token-b ' >/old; apply-cluster-resources; echo "two: $?"
		: >/broken; apply-cluster-resources; echo "no answer: $?"`)
	require.NoError(t, err, out)
	require.Equal(t, "none: 0\ndelete secret --namespace=kube-system --ignore-not-found bootstrap-token-a "+
		"bootstrap-token-b\ntwo: 0\nno answer: 1\n", out)
}

// tokenList returns the manifests of tokens as one file.
func tokenList(t *testing.T, manifests ...any) string {
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": manifests})
	require.NoError(t, err)
	return string(text)
}

// TestNodeApprover sends requests of kubelets and of others to a real API server. It checks the decisions of
// node-approver and the signer. TestDecide in node-approver has many more forged requests. The test also
// checks which users may write a Node's addresses.
func TestNodeApprover(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	const notOurs = "-" // kube-controller-manager does not approve it either
	nodes := []string{"system:nodes"}
	server, client := []string{"digital signature", "server auth"}, []string{"digital signature", "client auth"}
	type request = *signingRequest
	const instance = "4f1c0d9e-2b7a-4c55-9e2e-0123456789ab"
	// seed returns the seed of the machine with this number
	seed := func(number byte) bootstraptoken.Seed {
		return bootstraptoken.NewSeed("key", fmt.Sprint(number), netip.AddrFrom4([4]byte{10, 0, 0, number}))
	}
	var tokens []any
	// tokenOf creates and returns the token of the instance of a node
	tokenOf := func(node string) string {
		token := seed(byte(len(tokens))).Token(instance)
		tokens = append(tokens, token.Manifest(node, time.Now().Add(time.Hour)))
		return token.String()
	}
	worker := tokenOf("dev-worker-9")
	// serve returns the request of a node's kubelet for a serving certificate, after the changes
	serve := func(node, addresses, refused string, changes ...func(request)) signingRequest {
		r := signingRequest{as: "system:node:" + node, name: "system:node:" + node, organization: nodes, dns: []string{node},
			addresses: strings.Fields(addresses), usages: server, refused: refused}
		for _, change := range changes {
			change(&r)
		}
		return r
	}
	own := func(refused string, change func(request)) signingRequest {
		return serve("dev-worker-0", "10.0.0.64", refused, change)
	}
	serving := map[string]signingRequest{
		"own":              serve("dev-worker-0", "10.0.0.64", ""),
		"own-rsa":          own("", func(r request) { r.usages = append(server, "key encipherment") }),
		"floating":         serve("dev-worker-0", "10.0.0.64 203.0.113.7", ""),
		"control-plane":    serve("dev-control-plane-0", "10.0.0.20", ""),
		"later-node":       serve("dev-worker-7", "10.0.0.71", ""),
		"others-address":   serve("thief", "10.0.0.65", "10.0.0.65 is an address of Node dev-worker-1 too"),
		"services-address": serve("dev-worker-0", "10.0.0.64 10.96.0.1", "10.96.0.1 is not an address of Node dev-worker-0"),
		"reserved":         serve("grabber", "10.0.0.5", "10.0.0.5 is the address of api"),
		"others-name":      own("the subject is", func(r request) { r.name = "system:node:dev-worker-1" }),
		"masters":          own("the subject is", func(r request) { r.organization = []string{"system:masters"} }),
		"hidden-address":   own("DNS name", func(r request) { r.dns = []string{"dev-worker-0, IP Address:10.0.0.65"} }),
		"email":            own("the request has more", func(r request) { r.emails = []string{"root@example.org"} }),
		"client-usage":     own("the usages are", func(r request) { r.usages = append(server, "client auth") }),
		"bootstrap-token":  own("is not a node", func(r request) { r.as, r.token = "", worker }),
		"no-node-group":    own("is not in the group system:nodes", func(r request) { r.outsider = true }),
	}
	// join returns the request of a kubelet that has only a token
	join := func(token, node, refused string, changes ...func(request)) signingRequest {
		r := signingRequest{token: token, name: "system:node:" + node, organization: nodes, usages: client, refused: refused}
		for _, change := range changes {
			change(&r)
		}
		return r
	}
	byItself := func(r request) { r.token, r.as = "", "system:node:dev-worker-0" }
	clients := map[string]signingRequest{
		"worker":   join(worker, "dev-worker-9", ""),
		"replaced": join(tokenOf("dev-worker-4"), "dev-worker-4", ""),
		"name-of-a-ready-node": join(tokenOf("dev-worker-5"), "dev-worker-5",
			"Node dev-worker-5 is Ready: another machine has this name"),
		"joining-control-plane":   join(tokenOf("dev-control-plane-2"), "dev-control-plane-2", ""),
		"worker-as-control-plane": join(worker, "dev-control-plane-0", "needs the bootstrap token of dev-control-plane-0"),
		"worker-as-another":       join(worker, "dev-worker-4", "needs the bootstrap token of dev-worker-4"),
		"unplanned":               join(worker, "intruder", "needs the bootstrap token of intruder"),
		"renewal":                 join("", "dev-worker-0", "", byItself),
		"others-renewal":          join("", "dev-worker-1", notOurs, byItself),
		"token-for-masters": join(worker, "dev-worker-9", "the subject is",
			func(r request) { r.organization = []string{"system:masters"} }),
	}

	files := controlPlane(t)
	leaked := seed(200) // its token has expired, and the seed has a new token for another instance
	tokens = append(tokens, leaked.Token(instance).Manifest("dev-worker-9", time.Now().Add(-time.Hour)),
		seed(201).Token("another").Manifest("dev-worker-9", time.Now().Add(time.Hour)))
	files["/tokens.json"] = tokenList(t, tokens...)
	files["/usr/local/bin/node-approver"] = binary(t, dirs.Mirror(
		"github.com/kubernetes-openstack/kubernetes-openstack/releases/download/v"+cluster.ProgramsVersion, "node-approver"))
	// without NodeRestriction, because it refuses most of the forged requests before they reach node-approver
	const start = "/usr/local/sbin/run-kube-apiserver"
	require.Contains(t, files[start], ",NodeRestriction ")
	files[start] = strings.ReplaceAll(files[start], ",NodeRestriction ", " ")
	all, manifests := map[string]signingRequest{}, map[string]string{}
	var decided []string
	for signer, requests := range map[string]map[string]signingRequest{
		"kubernetes.io/kubelet-serving": serving, "kubernetes.io/kube-apiserver-client-kubelet": clients,
	} {
		for name, r := range requests {
			all[name] = r
			if !strings.HasSuffix(name, "renewal") { // kube-controller-manager approves renewals
				decided = append(decided, name)
			}
			create := fmt.Sprintf("kubectl create --as='%s' --as-group=outsiders --as-group=system:nodes", r.as)
			switch {
			case r.token != "":
				create = "KUBECONFIG=/token.conf kubectl create --token=" + r.token
			case r.outsider:
				create = fmt.Sprintf("kubectl create --as='%s' --as-group=outsiders", r.as)
			}
			manifests[create] += "---\n" + r.manifest(t, name, signer)
		}
	}
	var script strings.Builder
	for create, list := range manifests {
		file := fmt.Sprintf("/requests/%d", script.Len())
		files[file] = list
		fmt.Fprintf(&script, "%s -f %s\n", create, file)
	}
	files["/token.conf"] = "apiVersion: v1\nkind: Config\ncurrent-context: a\n" +
		"contexts: [{name: a, context: {cluster: a}}]\n" +
		"clusters: [{name: a, cluster: {server: 'https://10.0.0.20:6443', certificate-authority: " +
		"/etc/kubernetes/pki/ca.crt}}]\n"
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", startControlPlane+`
		addresses() { # TYPE ADDRESS...: as a field of a Node's status
			list=
			while [ $# -gt 1 ]; do list="$list,{\"type\": \"$1\", \"address\": \"$2\"}"; shift 2; done
			echo '"status": {"addresses": ['"${list#,}"']}'
		}
		node() { # NAME TYPE ADDRESS...
			name=$1; shift
			echo '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "'"$name"'"}, '"$(addresses "$@")"'}'
		}
		add() { node "$1" InternalIP "$2" | kubectl create -f -; }
		set_addresses() { name=$1; shift; kubectl patch node "$name" --subresource=status --patch "{$(addresses "$@")}"; }
		add dev-worker-0 10.0.0.64; add dev-worker-1 10.0.0.65; add dev-control-plane-0 10.0.0.20
		add thief 10.0.0.65; add grabber 10.0.0.5
		add dev-worker-4 10.0.0.68; add dev-worker-5 10.0.0.69
		heartbeat() { kubectl patch node dev-worker-5 --subresource=status --patch '{"status": {"conditions": [
			{"type": "Ready", "status": "True", "lastHeartbeatTime": "'"$(date --utc +%FT%TZ)"'"}]}}'; }
		heartbeat
		# kube-controller-manager sets a Node without heartbeats to not Ready
		while sleep 10; do heartbeat; done >/dev/null &
		sleep 1 # Nodes are older than requests
		kubectl create clusterrolebinding outsiders --clusterrole=system:node-bootstrapper --group=outsiders
		eventually check-kube-controller-manager

		as_node='--as=system:node:dev-worker-8 --as-group=system:nodes'
		fails() { ! "$@"; }
		eventually fails sh -c \
			"echo '$(node dev-worker-8 ExternalIP 203.0.113.9)' | kubectl create $as_node --dry-run=server -f -"
		try() {
			what=$1
			shift
			if "$@" >/log/try 2>&1; then echo "$what: allowed"
			else echo "$what: $(grep -o 'a node sets[^"]*' /log/try | head -n 1)"; fi
		}
		register() { node dev-worker-8 "$@" | kubectl create $as_node -f -; }
		echo addresses:
		try 'register with an external address' register InternalIP 10.0.0.72 ExternalIP 203.0.113.9
		try 'register with another name' register InternalIP 10.0.0.72 Hostname kubernetes
		try 'register with two addresses' register InternalIP 10.0.0.72 InternalIP 10.0.0.73
		try 'register outside of the network' register InternalIP 192.0.2.1
		try 'register' register InternalIP 10.0.0.72 Hostname dev-worker-8
		patch() { # NODE PATCH: kubectl would get the status first, which no node may
			curl --fail-with-body --silent --show-error --cacert /etc/kubernetes/pki/ca.crt \
				--cert /etc/kubernetes/pki/admin.crt --key /etc/kubernetes/pki/admin.key \
				--header "Impersonate-User: system:node:$1" --header 'Impersonate-Group: system:nodes' \
				--header 'Content-Type: application/merge-patch+json' --request PATCH --data "$2" \
				"https://127.0.0.1:6443/api/v1/nodes/$1/status"
		}
		try 'add an address' patch dev-worker-8 \
			"{$(addresses InternalIP 10.0.0.72 Hostname dev-worker-8 ExternalIP 203.0.113.9)}"
		try 'change the address' patch dev-worker-8 "{$(addresses InternalIP 10.0.0.73 Hostname dev-worker-8)}"
		try 'remove all addresses' patch dev-worker-8 '{"status": {"addresses": null}}'
		try 'report a condition' patch dev-worker-8 '{"status": {"conditions": [{"type": "Ready", "status": "False"}]}}'
		try 'cloud controller' set_addresses dev-worker-0 InternalIP 10.0.0.64 ExternalIP 203.0.113.7
		try 'report a condition after it' patch dev-worker-0 \
			'{"status": {"conditions": [{"type": "Ready", "status": "False"}]}}'
		kubectl create -f /tokens.json >/dev/null
		for token in `+leaked.Token(instance).String()+" "+seed(201).Token(instance).String()+`; do
			KUBECONFIG=/token.conf kubectl get --raw /apis/certificates.k8s.io/v1 --token=$token 2>&1 | tail -n 1
		done
		echo requests:

		env --unset=GOGC run-node-approver >/log/approver 2>&1 &
		`+script.String()+`
		eventually grep later-node /log/approver
		add dev-worker-7 10.0.0.71
		eventually kubectl wait --for=condition=Approved csr/later-node --timeout=1s
		for name in `+strings.Join(decided, " ")+`; do eventually grep "^$name: " /log/approver; done
		pending() { kubectl get node "$1" \
			--output=jsonpath='{.status.conditions[?(@.type=="ServingCertificatePending")].'"$2"'}'; }
		is_pending() { [ "$(pending thief status)" = "$1" ]; }
		eventually is_pending True
		echo "pending: $(pending thief message)"
		kubectl get csr --output=go-template='{{range .items}}state {{.metadata.name}}
			{{- " "}}{{range .status.conditions}}{{.type}}{{end -}}
			{{" "}}{{if .status.certificate}}issued{{end}}{{"\n"}}{{end}}'
		kubectl get csr floating --output=jsonpath='{.status.certificate}' | base64 -d >/own.crt
		openssl verify -CAfile /etc/kubernetes/pki/node-ca.crt /own.crt
		kubectl get node dev-worker-4 dev-worker-5 --ignore-not-found --output=name
		kubectl delete csr others-address
		eventually is_pending False
		echo "memory: $(awk '/VmHWM/ { print $2 " kB" }' /proc/$(pidof node-approver)/status)"
		echo log:; cat /log/approver
	`)
	t.Log(out)
	require.NoError(t, err)
	const denied = ": a node sets its addresses only when it registers, to its name and one address in 10.0.0.0/24\n"
	require.Contains(t, out, "addresses:\n"+
		"register with an external address"+denied+"register with another name"+denied+"register with two addresses"+denied+
		"register outside of the network"+denied+"register: allowed\nadd an address"+denied+"change the address"+denied+
		"remove all addresses"+denied+
		"report a condition: allowed\ncloud controller: allowed\nreport a condition after it: allowed\n"+
		strings.Repeat("error: You must be logged in to the server (Unauthorized)\n", 2)+"requests:\n")
	_, log, _ := strings.Cut(out, "\nlog:\n")
	for name, r := range all {
		if r.refused == "" {
			require.Contains(t, out, fmt.Sprintf("state %s Approved issued\n", name))
			continue
		}
		require.Contains(t, out, fmt.Sprintf("state %s  \n", name))
		count := 0
		for line := range strings.Lines(log) {
			if strings.HasPrefix(line, name+": ") {
				count++
				require.Contains(t, line, r.refused)
			}
		}
		if r.refused == notOurs {
			require.Zero(t, count)
		} else {
			require.Equal(t, 1, count, "%s is logged once", name)
		}
	}
	require.Contains(t, out, "\npending: others-address: 10.0.0.65 is an address of Node dev-worker-1 too\n")
	require.Contains(t, out, "/own.crt: OK\n")
	require.Contains(t, out, "node/dev-worker-5\n")
	require.NotContains(t, out, "node/dev-worker-4\nnode/")
}

// TestVirtualAddressMoves runs two control planes that share an address, each in its own network namespace. Fakes
// of their API servers are ready while a file exists.
func TestVirtualAddressMoves(t *testing.T) {
	t.Parallel()
	guest.OnCentOS(t)
	files := filesOf(t, controlPlaneMachine())
	files["/usr/local/sbin/check-kube-apiserver"] = "#!/bin/sh\ntest -e /ready-$(ip netns identify)\n"
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", `
		set -eu
		mkdir /run/keepalived
		for name in a b; do ip netns add $name; ip -n $name link set lo up; done
		ip link add eth0 netns a type veth peer eth0 netns b
		ip -n a address add 10.0.0.20/24 dev eth0; ip -n b address add 10.0.0.21/24 dev eth0
		for name in a b; do ip -n $name link set eth0 up; done
		ip netns exec a api-vip-interface 10.0.0.20
		cp /etc/keepalived/keepalived.conf /a.conf
		sed 's/10\.0\.0\.20/10.0.0.x/; s/10\.0\.0\.21/10.0.0.20/; s/10\.0\.0\.x/10.0.0.21/' /a.conf >/b.conf
		keep() {
			ip netns exec $1 keepalived --dont-fork --log-console --vrrp --use-file=/$1.conf \
				--pid=/run/$1.pid --vrrp_pid=/run/$1-vrrp.pid >/log-$1 2>&1 &
		}
		held() { ip -n $1 address show dev eth0 | grep -q ' 10.0.0.5/32 '; }
		now() { date +%s%3N; }
		# moves TO REASON: waits until only TO has the address
		moves() {
			start=$(now) other=$(echo ab | tr -d $1)
			until held $1 && ! held $other; do
				[ $(($(now) - start)) -lt 20000 ] || { echo "never at $1: $2"; cat /log-a /log-b; exit 1; }
				sleep 0.05
			done
			echo "at $1 after $(($(now) - start)) ms: $2"
		}
		keep a; moves a 'only a runs, and no API server is ready'
		# a wrong move takes at most two checks, 3 s apart, and three missed advertisements
		keep b; sleep 12; moves a 'b runs too'
		touch /ready-b; moves b 'b is ready first'
		touch /ready-a; sleep 12; moves b 'a is ready too'
		rm /ready-b; moves a 'b is not ready'
		rm /ready-a; sleep 12; moves a 'no API server is ready'
		touch /ready-b; moves b 'only b is ready'
		touch /ready-a; rm /ready-b; moves a 'only a is ready'
		touch /ready-b; sleep 12; moves a 'b is ready again'
		kill $(cat /run/a.pid); moves b 'a shuts down'
		while test -e /run/a.pid; do sleep 0.1; done
		keep a; sleep 6; moves b 'a starts'
		# the order matters: a child whose parent ends releases the address, and a parent restarts its child
		kill -STOP $(cat /run/b.pid); kill -9 $(cat /run/b-vrrp.pid /run/b.pid); rm /run/b*.pid
		start=$(now)
		until held a; do sleep 0.05; done
		echo "at a after $(($(now) - start)) ms: b crashed"
		held b
		keep b; moves a 'b starts, and releases the address that its crash left'
	`)
	t.Log(out)
	require.NoError(t, err)
}

// TestKeepalivedAcceptsItsConfiguration also checks the configuration of a single control plane.
func TestKeepalivedAcceptsItsConfiguration(t *testing.T) {
	t.Parallel()
	for name, peers := range map[string][]netip.Addr{
		"single": nil, "three": {netip.MustParseAddr("10.0.0.21"), netip.MustParseAddr("10.0.0.22")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := controlPlaneMachine()
			m.VirtualIP.Peers = peers
			out, err := guest.Run(t, filesOf(t, m), "unshare", "--net", "sh", "-c", `
				ip link add eth0 type veth peer eth1; ip address add 10.0.0.20/24 dev eth0; ip link set eth0 up
				mkdir /run/keepalived; api-vip-interface 10.0.0.20; cat /run/keepalived/interface.conf
				keepalived --config-test --vrrp --use-file=/etc/keepalived/keepalived.conf && echo accepted
				api-vip-interface 10.0.0.99`)
			require.ErrorContains(t, err, "exit status 1", out)
			require.Equal(t, "$INTERFACE=eth0\naccepted\nno interface has 10.0.0.99\n", out)
		})
	}
}
