package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernetes-openstack/internal/bootstraptoken"
)

var testPlan = plan{
	controlPlanePrefix: "dev-control-plane-",
	machines:           netip.MustParsePrefix("10.0.0.0/24"),
	reserved: map[netip.Addr]string{
		netip.MustParseAddr("10.0.0.1"):  "router",
		netip.MustParseAddr("10.0.0.5"):  "api",
		netip.MustParseAddr("10.0.0.10"): "dev-etcd-0",
		netip.MustParseAddr("10.0.0.20"): "dev-control-plane-0",
		netip.MustParseAddr("10.0.0.21"): "dev-control-plane-1",
	},
	ranges: []netip.Prefix{
		netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("10.96.0.0/16"),
		netip.MustParsePrefix("198.51.100.0/24"),
	},
}

// created is the creation time of requests. Nodes are an hour older.
var created = time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)

// testNode returns a Node with addresses. An IP address in the machines' network becomes an internal address, and any
// other IP address a floating IP. Other texts become hostnames.
func testNode(name string, addresses ...string) *corev1.Node {
	node := &corev1.Node{}
	node.Name, node.CreationTimestamp = name, metav1.NewTime(created.Add(-time.Hour))
	for _, address := range addresses {
		kind := corev1.NodeInternalIP
		if parsed, err := netip.ParseAddr(address); err != nil {
			kind = corev1.NodeHostName
		} else if !testPlan.machines.Contains(parsed) {
			kind = corev1.NodeExternalIP
		}
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: kind, Address: address})
	}
	return node
}

func ready(node *corev1.Node) *corev1.Node {
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	return node
}

// testNodes returns the test's Nodes by name. Some of them have written addresses of others to their status.
func testNodes() map[string]*corev1.Node {
	young := testNode("dev-worker-6", "10.0.0.70")
	young.CreationTimestamp = metav1.NewTime(created.Add(time.Second))
	nodes := map[string]*corev1.Node{}
	for _, node := range []*corev1.Node{
		testNode("dev-worker-0", "10.0.0.64", "203.0.113.7", "2001:db8::7", "dev-worker-0", "dev-worker-0.example.com",
			"kubernetes.default"),
		testNode("dev-worker-1", "10.0.0.65", "203.0.113.8"),
		testNode("dev-worker-2", "10.0.0.66", "not an address"),
		ready(testNode("dev-worker-3", "10.0.0.67")),
		testNode("dev-worker-4", "10.0.0.68"), // not Ready
		ready(young),
		testNode("dev-control-plane-0", "10.0.0.20", "203.0.113.20"),
		testNode("dev-control-plane-1", "10.0.0.30"),
		testNode("dev-control-plane-2", "10.0.0.22"), // not in the plan yet
		testNode("dev-control-plane-7", "10.0.0.21"),
		testNode("dev-etcd-0", "10.0.0.10"),
		testNode("thief", "10.0.0.65", "203.0.113.8", "10.96.0.1", "10.244.3.4", "198.51.100.9", "127.0.0.1",
			"169.254.169.254", "224.0.0.1", "0.0.0.0", "fe80::1",
			"10.0.0.5", "10.0.0.1", "10.0.0.10", "10.0.0.20", "10.0.0.90", "10.0.0.91"),
		testNode("floating", "203.0.113.99"),
	} {
		nodes[node.Name] = node
	}
	return nodes
}

// attempt is a request before it is signed and encoded.
type attempt struct {
	signer, user string
	groups       []string
	usages       []certificatesv1.KeyUsage
	template     x509.CertificateRequest
	key          crypto.Signer
	change       func(text []byte) []byte
	status       certificatesv1.CertificateSigningRequestStatus
}

func (a attempt) request(t testing.TB) *signingRequest {
	if a.key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		a.key = key
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &a.template, a.key)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	if a.change != nil {
		text = a.change(text)
	}
	return &signingRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "csr-1", UID: "1", CreationTimestamp: metav1.NewTime(created)},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: a.signer, Username: a.user, Groups: a.groups, Usages: a.usages, Request: text,
		},
		Status: a.status,
	}
}

// serve returns the request of a node's kubelet for a serving certificate with these addresses, after changes.
func serve(node, addresses string, change ...func(*attempt)) attempt {
	a := attempt{
		signer: certificatesv1.KubeletServingSignerName, user: "system:node:" + node,
		groups:   []string{"system:nodes", "system:authenticated"},
		usages:   []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		template: x509.CertificateRequest{Subject: subject(node), DNSNames: []string{node}},
	}
	for _, address := range strings.Fields(addresses) {
		a.template.IPAddresses = append(a.template.IPAddresses, net.ParseIP(address))
	}
	for _, c := range change {
		c(&a)
	}
	return a
}

// own returns such a request of dev-worker-0.
func own(change ...func(*attempt)) attempt { return serve("dev-worker-0", "10.0.0.64", change...) }

// join returns the request of a kubelet that has only the bootstrap token of its instance.
func join(node string, change ...func(*attempt)) attempt {
	a := attempt{
		signer: certificatesv1.KubeAPIServerClientKubeletSignerName, user: "system:bootstrap:abcdef",
		groups:   tokenGroups(node, created.Add(time.Second)),
		usages:   []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		template: x509.CertificateRequest{Subject: subject(node)},
	}
	for _, c := range change {
		c(&a)
	}
	return a
}

// tokenGroups returns the groups of a user with the bootstrap token of a node.
func tokenGroups(node string, expires time.Time) []string {
	data := bootstraptoken.Token{}.Manifest(node, expires)["data"].(map[string][]byte)
	extra := strings.Split(string(data["auth-extra-groups"]), ",")
	return append(extra, "system:bootstrappers", "system:authenticated")
}

// TestDecide checks requests. A request with a reason stays pending, and a request without a reason is approved.
func TestDecide(t *testing.T) {
	rsaKey := func(bits int) func(*attempt) {
		return func(a *attempt) {
			key, err := rsa.GenerateKey(rand.Reader, bits)
			require.NoError(t, err)
			a.key = key
		}
	}
	names := func(hosts ...string) func(*attempt) { return func(a *attempt) { a.template.DNSNames = hosts } }
	named := func(commonName string, organizations ...string) func(*attempt) {
		return func(a *attempt) { a.template.Subject = pkix.Name{CommonName: commonName, Organization: organizations} }
	}
	use := func(usages ...certificatesv1.KeyUsage) func(*attempt) { return func(a *attempt) { a.usages = usages } }
	extension := func(id asn1.ObjectIdentifier, value []byte) func(*attempt) {
		return func(a *attempt) {
			a.template.ExtraExtensions = append(a.template.ExtraExtensions, pkix.Extension{Id: id, Value: value})
		}
	}
	changed := func(change func(text string) string) func(*attempt) {
		return func(a *attempt) { a.change = func(text []byte) []byte { return []byte(change(string(text))) } }
	}
	// der changes the request after the signature, so the signature becomes invalid
	der := func(change func(der []byte) []byte) func(*attempt) {
		return func(a *attempt) {
			a.change = func(text []byte) []byte {
				block, _ := pem.Decode(text)
				return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: change(block.Bytes)})
			}
		}
	}
	const (
		signature  = certificatesv1.UsageDigitalSignature
		encipher   = certificatesv1.UsageKeyEncipherment
		serverAuth = certificatesv1.UsageServerAuth
		clientAuth = certificatesv1.UsageClientAuth
	)
	fresh := created.Add(time.Second)
	token := func(of string, expires time.Time) func(*attempt) {
		return func(a *attempt) { a.groups = tokenGroups(of, expires) }
	}
	const more = "the request has more than the subject,"
	const onePEM = "the request must be exactly one CERTIFICATE REQUEST in PEM"
	// a kind of name that crypto/x509 ignores
	otherName := []byte{0x30, 0x0a, 0xa0, 0x08, 0x06, 0x03, 0x2a, 0x03, 0x04, 0xa0, 0x01, 0x05}
	another := string(own().request(t).Spec.Request)

	for name, row := range map[string]struct {
		attempt attempt
		pending string
	}{
		// Serving certificates that nodes need.
		"own":                          {own(), ""},
		"own, RSA":                     {own(rsaKey(2048), use(encipher, serverAuth, signature)), ""},
		"without DNS names":            {own(names()), ""},
		"longer name":                  {own(names("dev-worker-0", "dev-worker-0.example.com")), ""},
		"floating IP":                  {serve("dev-worker-0", "10.0.0.64 203.0.113.7"), ""},
		"floating IP and IPv6":         {serve("dev-worker-0", "10.0.0.64 2001:db8::7 203.0.113.7"), ""},
		"control plane":                {serve("dev-control-plane-0", "10.0.0.20 203.0.113.20"), ""},
		"planned, which another lists": {serve("dev-control-plane-0", "10.0.0.20"), ""},
		"control plane of next plan":   {serve("dev-control-plane-2", "10.0.0.22"), ""},

		// Addresses that are not the node's.
		"address not in its Node": {
			serve("dev-worker-0", "10.0.0.64 203.0.113.9"),
			"203.0.113.9 is not an address of Node dev-worker-0",
		},
		"free address not in its Node": {
			serve("dev-worker-0", "10.0.0.99"),
			"10.0.0.99 is not an address of Node dev-worker-0",
		},
		"another worker's": {
			serve("thief", "10.0.0.65"),
			"10.0.0.65 is an address of Node dev-worker-1 too",
		},
		"own, which another lists": {
			serve("dev-worker-1", "10.0.0.65"),
			"10.0.0.65 is an address of Node thief too",
		},
		"another worker's floating IP": {
			serve("thief", "10.0.0.90 203.0.113.8"),
			"203.0.113.8 is an address of Node dev-worker-1 too",
		},
		"the API's":                     {serve("thief", "10.0.0.5"), "10.0.0.5 is the address of api"},
		"a router's":                    {serve("thief", "10.0.0.1"), "10.0.0.1 is the address of router"},
		"an etcd member's":              {serve("thief", "10.0.0.10"), "10.0.0.10 is the address of dev-etcd-0"},
		"an etcd member's, by its name": {serve("dev-etcd-0", "10.0.0.10"), "10.0.0.10 is the address of dev-etcd-0"},
		"a control plane's": {
			serve("thief", "10.0.0.20"),
			"10.0.0.20 is the address of dev-control-plane-0",
		},
		"another control plane's": {
			serve("dev-control-plane-7", "10.0.0.21"),
			"10.0.0.21 is the address of dev-control-plane-1",
		},
		"control plane, not its planned": {
			serve("dev-control-plane-1", "10.0.0.30"),
			"10.0.0.30 is not the planned address of dev-control-plane-1",
		},
		"a Service's": {
			serve("thief", "10.0.0.90 10.96.0.1"),
			"10.96.0.1 is in 10.96.0.0/16, which pods or Services have",
		},
		"a pod's": {serve("thief", "10.0.0.90 10.244.3.4"), "10.244.3.4 is in 10.244.0.0/16"},
		"a load balancer's": {
			serve("thief", "10.0.0.90 198.51.100.9"),
			"198.51.100.9 is in 198.51.100.0/24",
		},
		"loopback": {
			serve("thief", "10.0.0.90 127.0.0.1"),
			"127.0.0.1 is not the address of a machine",
		},
		"metadata service": {
			serve("thief", "10.0.0.90 169.254.169.254"),
			"169.254.169.254 is not the address of a machine",
		},
		"multicast": {
			serve("thief", "10.0.0.90 224.0.0.1"),
			"224.0.0.1 is not the address of a machine",
		},
		"unspecified": {
			serve("thief", "10.0.0.90 0.0.0.0"),
			"0.0.0.0 is not the address of a machine",
		},
		"link-local IPv6": {
			serve("thief", "10.0.0.90 fe80::1"),
			"fe80::1 is not the address of a machine",
		},
		"two of the machines' network": {
			serve("thief", "10.0.0.90 10.0.0.91"),
			"the request must have exactly one address in 10.0.0.0/24, not 2",
		},
		"none of the machines' network": {
			serve("floating", "203.0.113.99"),
			"the request must have exactly one address in 10.0.0.0/24, not 0",
		},
		"no address": {
			serve("dev-worker-0", ""),
			"the request must have exactly one address in 10.0.0.0/24, not 0",
		},
		"no Node yet": {serve("dev-worker-9", "10.0.0.73"), "Node dev-worker-9 does not exist"},

		// Names that are not the node's.
		"another's subject": {
			own(named("system:node:dev-worker-1", "system:nodes")),
			`the subject is "CN=system:node:dev-worker-1,O=system:nodes", expected`,
		},
		"another's DNS name": {own(names("dev-worker-1")), `DNS name "dev-worker-1" does not belong to the node`},
		"the API's DNS name": {
			own(names("dev-worker-0", "kubernetes.default")),
			`DNS name "kubernetes.default" does not belong to the node`,
		},
		"longer name not in Node": {
			own(names("dev-worker-0.example.org")),
			`DNS name "dev-worker-0.example.org" does not belong to the node`,
		},
		"wildcard":              {own(names("*")), `DNS name "*" does not belong to the node`},
		"address as a DNS name": {own(names("10.0.0.65")), `DNS name "10.0.0.65" does not belong to the node`},
		"text of Node as DNS name": {
			serve("dev-worker-2", "10.0.0.66", names("not an address")),
			`DNS name "not an address" does not belong to the node`,
		},
		"address in a DNS name": {own(names("dev-worker-0, IP Address:10.0.0.65")), "does not belong to the node"},
		"NUL in a DNS name":     {own(names("dev-worker-0\x00.example.com")), "does not belong to the node"},
		"masters":               {own(named("system:node:dev-worker-0", "system:masters")), "the subject is"},
		"also masters": {
			own(named("system:node:dev-worker-0", "system:masters", "system:nodes")),
			"the subject is",
		},
		"no organization":          {own(named("system:node:dev-worker-0")), "the subject is"},
		"organization in the name": {own(named("system:node:dev-worker-0,O=system:nodes")), "the subject is"},
		"line in the name":         {own(named("system:node:dev-worker-0\n", "system:nodes")), "the subject is"},
		"unit": {
			own(func(a *attempt) { a.template.Subject.OrganizationalUnit = []string{"x"} }),
			"the subject is",
		},
		"attributes of subject": {own(func(a *attempt) {
			a.template.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 3}, Value: "x"}}
		}), "the subject is"},
		"e-mail": {
			own(func(a *attempt) { a.template.EmailAddresses = []string{"root@example.org"} }),
			more,
		},
		"URI": {
			own(func(a *attempt) { a.template.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} }),
			more,
		},
		"name of another kind": {own(names(), extension(asn1.ObjectIdentifier{2, 5, 29, 17}, otherName)), more},
		"authority": {
			own(extension(asn1.ObjectIdentifier{2, 5, 29, 19}, []byte{0x30, 0x03, 0x01, 0x01, 0xff})),
			more,
		},
		"key usage as an extension": {
			own(extension(asn1.ObjectIdentifier{2, 5, 29, 15}, []byte{0x03, 0x02, 0x02, 0x04})),
			more,
		},

		// Uses, keys and texts that kubelet does not have.
		"client, too":   {own(use(signature, serverAuth, clientAuth)), "the usages are"},
		"only client":   {own(use(signature, clientAuth)), "the usages are"},
		"no server":     {own(use(signature)), "the usages are"},
		"usage twice":   {own(use(signature, serverAuth, serverAuth)), "the usages are"},
		"to sign":       {own(use(signature, serverAuth, certificatesv1.UsageCertSign)), "the usages are"},
		"no usage":      {own(use()), "the usages are"},
		"short RSA key": {own(rsaKey(1024)), "the RSA key has 1024 bits, expected 2048 to 8192"},
		"weak curve": {
			own(func(a *attempt) { a.key, _ = ecdsa.GenerateKey(elliptic.P224(), rand.Reader) }),
			"the key is weaker than P-256",
		},
		"other kind of key": {
			own(func(a *attempt) { _, a.key, _ = ed25519.GenerateKey(rand.Reader) }),
			"the key is neither ECDSA nor RSA but Ed25519",
		},
		"not signed by key": {own(der(func(der []byte) []byte {
			i := strings.Index(string(der), "dev-worker-0")
			return slices.Replace(der, i, i+12, []byte("dev-worker-1")...)
		})), "x509: ECDSA verification failure"},
		"trailing DER": {own(der(func(der []byte) []byte { return append(der, 0x05, 0x00) })), "trailing data"},
		"no DER":       {own(der(func([]byte) []byte { return []byte("text") })), "asn1"},
		"no PEM":       {own(changed(func(string) string { return "text" })), onePEM},
		"empty":        {own(changed(func(string) string { return "" })), onePEM},
		"certificate": {
			own(changed(func(text string) string { return strings.ReplaceAll(text, "CERTIFICATE REQUEST", "CERTIFICATE") })),
			onePEM,
		},
		"old type": {
			own(changed(func(text string) string { return strings.ReplaceAll(text, "CERTIFICATE", "NEW CERTIFICATE") })),
			onePEM,
		},
		"two requests": {own(changed(func(text string) string { return another + text })), onePEM},
		"text before":  {own(changed(func(text string) string { return "x: y\n" + text })), onePEM},
		"text after":   {own(changed(func(text string) string { return text + "x" })), onePEM},
		"header in PEM": {
			own(changed(func(text string) string { return strings.Replace(text, "-----\n", "-----\nx: y\n\n", 1) })),
			onePEM,
		},
		"other breaks": {
			own(changed(func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") })),
			onePEM,
		},

		// Users that are not the node.
		"bootstrap token": {
			own(func(a *attempt) { a.user = "system:bootstrap:abcdef" }),
			`the user "system:bootstrap:abcdef" is not a node`,
		},
		"another user": {
			own(func(a *attempt) { a.user = "x\nsystem:node:dev-worker-0" }),
			`the user "x\nsystem:node:dev-worker-0" is not a node`,
		},
		"user of no name":  {own(func(a *attempt) { a.user = "system:node:" }), `the user "system:node:" is not a node`},
		"user with a path": {own(func(a *attempt) { a.user = "system:node:../x" }), "is not a node"},
		"not in the group": {
			own(func(a *attempt) { a.groups = []string{"system:authenticated"} }),
			"is not in the group system:nodes",
		},

		// First client certificates.
		"worker": {join("dev-worker-9"), ""},
		"worker, RSA": {
			join("dev-worker-9", rsaKey(2048), use(signature, encipher, clientAuth)),
			"",
		},
		"recreated machine":   {join("dev-worker-4"), ""},
		"second attempt":      {join("dev-worker-6"), ""},
		"control plane joins": {join("dev-control-plane-3"), ""},
		"name of a Ready node": {
			join("dev-worker-3"),
			"Node dev-worker-3 is Ready: another machine has this name",
		},
		"another worker's token": {
			join("dev-worker-9", token("dev-worker-8", fresh)),
			"it needs the bootstrap token of dev-worker-9",
		},
		"worker as control plane": {
			join("dev-control-plane-3", token("dev-worker-9", fresh)),
			"it needs the bootstrap token of dev-control-plane-3",
		},
		"control plane as worker": {
			join("dev-worker-9", token("dev-control-plane-3", fresh)),
			"it needs the bootstrap token of dev-worker-9",
		},
		"name that is not planned": {
			join("intruder", token("dev-worker-9", fresh)),
			"it needs the bootstrap token of intruder",
		},
		"machine that is no node": {
			join("dev-etcd-0", token("dev-worker-9", fresh)),
			"it needs the bootstrap token of dev-etcd-0",
		},
		"expired token": {
			join("dev-worker-9", token("dev-worker-9", created)),
			"its bootstrap token expired at 2026-11-30T08:00:00Z",
		},
		"expired token, not Ready": {
			join("dev-worker-4", token("dev-worker-4", created.Add(-24*time.Hour))),
			"its bootstrap token expired at 2026-11-29T08:00:00Z",
		},
		"token of an earlier version": {
			join("dev-worker-9", func(a *attempt) { a.groups = []string{"system:bootstrappers:worker"} }),
			"it needs the bootstrap token of dev-worker-9",
		},
		"group without a token": {
			join("dev-worker-9", func(a *attempt) { a.user = "alice" }),
			`the user "alice" has no bootstrap token`,
		},
		"no group": {
			join("dev-worker-9", func(a *attempt) { a.groups = nil }),
			"it needs the bootstrap token of dev-worker-9",
		},
		"administrator": {
			join("dev-worker-9", named("kubernetes-admin", "system:masters")),
			`the common name "kubernetes-admin" is not that of a node`,
		},
		"node in masters": {
			join("dev-worker-9", named("system:node:dev-worker-9", "system:masters")),
			"the subject is",
		},
		"command as a name":      {join("$(reboot)"), "is not that of a node"},
		"upper case":             {join("DEV-WORKER-0"), "is not that of a node"},
		"client with a DNS name": {join("dev-worker-9", names("dev-worker-9")), more},
		"client with an address": {
			join("dev-worker-9", func(a *attempt) { a.template.IPAddresses = []net.IP{{10, 0, 0, 5}} }),
			more,
		},
		"client with an attribute": {
			join("dev-worker-9", extension(asn1.ObjectIdentifier{1, 2, 3}, nil)),
			more,
		},
		"client for a server": {join("dev-worker-9", use(signature, serverAuth)), "the usages are"},
		"client for both": {
			join("dev-worker-9", use(signature, clientAuth, serverAuth)),
			"the usages are",
		},
		"client of two requests": {
			join("dev-worker-9", changed(func(text string) string { return text + text })),
			onePEM,
		},
		"client, long name in the log": {join(strings.Repeat("é", 1000)), "…"},
		"client with a serving template": {
			join("dev-worker-9", func(a *attempt) { a.template = own().template }),
			"more than",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := testPlan.decide(row.attempt.request(t), testNodes(), created)
			if row.pending == "" {
				require.Equal(t, approve, d.verdict, d.reason)
				assert.Equal(t, strings.TrimPrefix(row.attempt.template.Subject.CommonName, "system:node:"), d.node)
				assert.Equal(t, name == "recreated machine", d.old != nil)
				return
			}
			require.Equal(t, pend, d.verdict)
			assert.Contains(t, d.reason, row.pending)
			assert.LessOrEqual(t, len(d.reason), 310)
			assert.Nil(t, d.old)
		})
	}
}

func TestDecideIgnores(t *testing.T) {
	for name, a := range map[string]attempt{
		"renewal":        join("dev-worker-0", func(a *attempt) { a.user = "system:node:dev-worker-0" }),
		"another signer": own(func(a *attempt) { a.signer = "kubernetes.io/kube-apiserver-client" }),
		"own signer":     own(func(a *attempt) { a.signer = "example.com/x" }),
		"denied": own(func(a *attempt) {
			a.status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied}}
		}),
		"signed": own(func(a *attempt) { a.status.Certificate = []byte("x") }),
	} {
		assert.Equal(t, decision{verdict: ignore}, testPlan.decide(a.request(t), testNodes(), created), name)
	}
}
