package cluster

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/internal/field"
)

// complete is a valid configuration in which each list of objects has one item.
const complete = `
image: {id: 11111111-1111-1111-1111-111111111111}
network:
  cidr: 10.0.0.0/24
  external: {id: 22222222-2222-2222-2222-222222222222, name: public}
  serviceExternalIPs: [198.18.0.0/24]
  serviceLoadBalancerIPs: [198.18.1.0/24]
bgp:
  peers: [{address: 192.0.2.1, asNumber: 65001, zones: [az1]}]
openstack: {authURL: "https://keystone.example.com:5000/v3"}
dns: {stubDomains: [{domain: corp.example.com, servers: [192.0.2.53]}]}
storage:
  classes: [{name: a}]
tenancy: {enabled: true, reader: {username: reader, password: secret}}
api: {floatingIP: true}
artifacts: {mirror: "https://mirror.example.com", username: machines, password: secret}
etcd: {flavor: small, addresses: 10.0.0.16/28, backup: {container: a}}
controlPlane:
  count: 2
  flavor: medium
  addresses: 10.0.0.32/28
  zones: [az1]
  taints: [{key: CriticalAddonsOnly, effect: NoSchedule}]
pools:
  - name: a
    count: 2
    flavor: large
    addresses: 10.0.0.64/26
    zones: [az1]
    taints: [{key: example.com/a, effect: NoSchedule}]
`

// schemaKey is a key of the configuration. Its path has [] for each list: pools[].name.
type schemaKey struct {
	path  string
	field reflect.StructField
}

// schema returns all keys that are no objects.
func schema(prefix string, object reflect.Type) (keys []schemaKey) {
	for i := range object.NumField() {
		f := object.Field(i)
		path := prefix + f.Tag.Get("mapstructure")
		switch {
		case f.Tag.Get("mapstructure") == "-":
		case f.Tag.Get("mapstructure") == ",squash":
			keys = append(keys, schema(prefix, f.Type)...)
		case isObject(f.Type):
			keys = append(keys, schema(path+".", f.Type)...)
		case f.Type.Kind() == reflect.Slice && isObject(f.Type.Elem()):
			keys = append(keys, schemaKey{path, f})
			keys = append(keys, schema(path+"[].", f.Type.Elem())...)
		default:
			keys = append(keys, schemaKey{path, f})
		}
	}
	return keys
}

// tag returns the kind of a key with its arguments, and whether the value can be empty.
func (k schemaKey) tag() (kind string, args []string, optional bool) {
	text, optional := strings.CutPrefix(k.field.Tag.Get("kind"), "optional ")
	words := strings.Fields(text)
	if len(words) == 0 {
		return "", nil, false
	}
	return words[0], words[1:], optional
}

// keysKind returns the kind of the keys of a map, or "".
func (k schemaKey) keysKind() string { return strings.Split(k.field.Tag.Get("keys"), " ")[0] }

// secret reports whether no message may show the value.
func (k schemaKey) secret() bool { return k.field.Type == reflect.TypeFor[Secret]() }

// examples are values of a kind. Those of choices and numbers depend on the tag of the key.
type examples struct{ good, bad []any }

// choices returns the arguments of the tag of a choice.
func choices(kind string, args []string) []any {
	if kind == "choice" {
		return texts(args...)
	}
	return nil
}

func texts(values ...string) (out []any) {
	for _, v := range values {
		out = append(out, v)
	}
	return out
}

// wrongAddresses are no addresses of another host of this configuration: not in IPv4, in special ranges, or used by the
// cluster itself.
var wrongAddresses = []string{
	"host", "10.0.0", "010.0.0.1", "10.0.0.256", "0x7f.1", "fd00::1", "::ffff:10.0.0.99",
	"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "169.254.169.254", "224.0.0.5", "239.1.1.1", "240.0.0.1",
	"255.255.255.255",
	"10.0.0.0", "10.0.0.255", // the machines' subnet
	"10.0.0.1", "10.0.0.5", "10.0.0.10", "10.0.0.17", "10.0.0.33", "10.0.0.70", // Neutron, the API and machines
	"10.244.0.1", "10.96.0.1", "198.18.0.7", "198.18.1.7", // pods and Services
}

var wrongNetworks = []string{
	"all", "10.0.0.0", "10.0.0.0/33", "10.0.0.1/24", "fd00::/64", "::ffff:10.0.0.0/104",
	"0.0.0.0/8", "127.0.0.0/8", "127.0.0.1/32", "169.254.0.0/16", "169.254.169.254/32", "224.0.0.0/4", "240.0.0.0/4",
	"255.255.255.255/32",
}

// wrongURLs are wrong with each scheme.
func wrongURLs(scheme string) []string {
	out := []string{
		"", "host.example.com", "ftp://host.example.com", "//host.example.com", scheme, scheme + ":", scheme + "://",
		scheme + ":host.example.com", scheme + ":///path", scheme + "://:5000",
		scheme + "://host.example.com:", scheme + "://host.example.com:0", scheme + "://host.example.com:65536",
		scheme + "://host.example.com:http", scheme + "://host.example.com:-1", scheme + "://host.example.com:80:80",
		scheme + "://user:pa55word@host.example.com", scheme + "://user@host.example.com", scheme + "://@host.example.com",
		scheme + "://user:pa55word@host.example.com:port/", scheme + "://user:pa55word@[", scheme + "://user:pa55word@ /",
		scheme + "://host.example.com/?a=b", scheme + "://host.example.com/?", scheme + "://host.example.com/#a",
		scheme + "://host.example.com/#", scheme + "://-a.example.com", scheme + "://a_b.example.com",
		scheme + "://host..example.com", scheme + "://host.example.com..", scheme + "://.", scheme + "://größe.example.com",
		scheme + "://2130706433", scheme + "://0x7f000001", scheme + "://127.1", scheme + "://[fd00::1", scheme + "://[a]",
		scheme + "://api.default.svc.cluster.local", scheme + "://api.default.svc.cluster.local.",
		scheme + "://api.default.svc", scheme + "://192.0.2.1.", scheme + "://host.example.com:080",
		scheme + "://" + strings.Repeat("a", 64) + ".example.com",
		scheme + "://%31.example.com", scheme + "://host.example.com%00",
	}
	for _, character := range " \t\n\"'`\\{}[]<>|^*!$&();ä" {
		out = append(out, scheme+"://host.example.com/a"+string(character)+"b")
	}
	return out
}

// examplesOf returns examples of the values of each kind.
func examplesOf(t *testing.T) map[string]examples {
	long := strings.Repeat("a", 64)
	wrongNameservers := append([]string{"192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:dns", "192.0.2.1:53:53",
		"192.0.2.1:053", ":53", "192.0.2.1#53", "ns.example.com",
		"[fd00::1]:53", "192.0.2.1 ", "10.0.0.17:53", "127.0.0.1:5300"}, wrongAddresses...)
	wrongURLsOfMachines := append(wrongURLs("http"), "http://localhost", "http://LOCALHOST:80", "http://a.localhost",
		"http://localhost.localdomain", "http://localhost.", "http://ip6-localhost", "http://ip6-loopback",
		"http://localhost4.localdomain4",
		"http://[::1]:80", "http://[fd00::1]:5000/v3", "http://[::ffff:192.0.2.5]")
	wrongURLsOfOperators := append(wrongURLs("http"), "socks4://host.example.com", "http://[::]:3128",
		"http://[::ffff:0.0.0.0]:3128", "http://[::ffff:10.0.0.70]:3128")
	for _, a := range wrongAddresses[2:] {
		if !strings.Contains(a, ":") {
			wrongURLsOfMachines = append(wrongURLsOfMachines, "http://"+a+"/path", "https://"+a+":5000")
			if !strings.HasPrefix(a, "127.") {
				wrongURLsOfOperators = append(wrongURLsOfOperators, "socks5://"+a+":1080")
			}
		}
	}
	return map[string]examples{
		"choice": {bad: texts("x", "TRUE", " ")},
		"number": {bad: []any{-1, 1 << 40, json.Number("1e400"), json.Number("9223372036854775808"), 2.5, "2"}},
		"price":  {[]any{0, 240.5}, []any{-0.5, 1e10, json.Number("1e400"), json.Number("-1e400")}},
		"duration": {texts("10m", "600s"), []any{"1ns", "0s", "-1h", "48h", "10000000h", "15", "10 m", 60,
			json.Number("1e400")}},
		"milliseconds": {texts("100ms", "1s", "2500ms"), []any{"1ns", "100.5ms", "1500us", "0s", "-1s", "1m", "15", 60,
			json.Number("1e400")}},
		"as":        {[]any{65001, 2914, 4200000001}, []any{0, -1, 23456, 64500, 65535, 65540, 4294967295, 4294967296}},
		"privateAS": {[]any{64513, 65534, 4200000000}, []any{0, -1, 2914, 23456, 64511, 65535, 4294967295, 1 << 40}},
		"version": {bad: texts("", "v1.36.3", "1.36", "1.20.0", "3.5.1", "latest", "1.36.3/../x", "1.36.3 ", "1.36.3.4",
			"01.36.3", "1.36.3+build", "1.36.3-rc1", "3.6.14+build", "3.28.5-rc1")},
		"name": {texts("a", "prod-1", "true", "123"),
			texts("", "Prod_1", "a.b", "-a", "a-", long, "a b", "größe", "a\n", "a/b")},
		"subdomain": {texts("ssd", "true", "123", "null", "a.b"), texts("", "SSD", "a_b", ".a", "a ", "a\n", "größe")},
		"text": {texts("member", "c8.xlarge", "größe", "a b", "true", "_member_"),
			texts("", " ", " a", "a ", "a\n", "a\nb", "a\x00b", "a\tb", "a\u200bb", strings.Repeat("a", 256))},
		"id": {texts("6d1f4d10-5f0c-4a7b-9f5e-0a1b2c3d4e5f"),
			texts("public", "6d1f4d105f0c4a7b9f5e0a1b2c3d4e5f", "6d1f4d10-5f0c-4a7b-9f5e-0a1b2c3d4e5f\n", " ")},
		"credentialID": {texts("0123456789abcdef0123456789abcdef"), texts("6d1f4d10-5f0c-4a7b-9f5e-0a1b2c3d4e5f", "a",
			"0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdef\n")},
		"label":    {texts("az1", "a_b.c", "1"), texts("a b", "a:b", long, "-a", "a\n", "größe", "b=", "'")},
		"labelKey": {texts("example.com/disk", "a"), texts("", "a b", "a/b/c", "/a", "-a", long, "größe")},
		"taintKey": {texts("example.com/a", "a"), texts("", "a b", "node.cloudprovider.kubernetes.io/uninitialized",
			"node.kubernetes.io/not-ready", "node.kubernetes.io/out-of-service", "a/b/c")},
		"rule":   {texts("image-by-name"), texts("", "ssh_open", "SSH", "a b")},
		"reason": {texts("the cloud replaces its images"), texts("", " ", " a", "a\nb", "a\x00b", strings.Repeat("a", 256))},
		"project": {texts("service@Default", "a@b@c", "0123456789abcdef"),
			texts("", "@Default", "service@", "a\nb@c", " a@b")},
		"artifact": {texts("etcd"), texts("", "etdc", "ETCD")},
		"sha256":   {texts(strings.Repeat("0", 64)), texts("", "abc", strings.Repeat("A", 64), strings.Repeat("0", 65))},
		"registry": {texts("registry.k8s.io", "localhost:5000", "docker.io"), texts("", "https://registry.k8s.io",
			"registry.k8s.io/a", "registry.k8s.io:", "registry.k8s.io:65536", "registry.k8s.io:0", long+".io", "..",
			"Registry", "a b")},
		"container": {texts("prod-etcd", "A_1"), texts("a/b", "a.b", "{name}", "*", "a b", "a\n", "größe", long)},
		"device": {texts("/dev/vdb", "/dev/nvme1n1", "/dev/disk/by-path/pci-0000:00:07.0"),
			texts("vdb", "/dev", "/dev/", "/vdb", "/dev/../vdb", "/dev/vdb ", "/dev/v%b", "/dev/$vdb", "/dev/vdb\n")},
		"snapshot": {texts("prod-20270131T120000Z.db", "./snapshot.db", "/srv/a b/s.db"),
			texts("a b.db", "-a.db", "./a=b.db", "..", "./"+strings.Repeat("a", 241), "a\n")},
		"address":    {texts("192.0.2.53", "10.1.0.1"), texts(wrongAddresses...)},
		"nameserver": {texts("192.0.2.53", "192.0.2.53:5353", "10.1.0.1"), texts(wrongNameservers...)},
		"host": {texts("192.0.2.123", "ntp.example.com", "ntp"), texts(append([]string{"", "ntp.example.com:123",
			"http://ntp.example.com", "user@ntp", "[fd00::1]", "127.1", "localhost", "a b", "größe",
			"ntp.default.svc.cluster.local", "ntp\n"}, without(wrongAddresses, "host")...)...)},
		"noProxy": {texts("example.com", ".example.com", "192.0.2.1", "192.0.2.0/24", "0.0.0.0/0"), texts("", ".", "*",
			"http://example.com", "example.com:80", "a b", "192.0.2.1/24", "fd00::/64", "fd00::1", "127.1", ".192.0.2.1",
			"größe", "a,b", "a\n")},
		"domain": {texts("corp.example.com", "true", "123", "168.192.in-addr.arpa"), texts("", ".", "Corp",
			"corp.example.com.", "*.example.com", "a b", "a\n", "größe", long+".com", "local", "cluster.local",
			"svc.cluster.local")},
		"ownAddress": {texts("10.0.0.11", "10.0.0.200"), texts(append(without(wrongAddresses, "10.0.0.10"), "10.1.0.1")...)},
		"range":      {texts("203.0.113.0/24"), texts(append(wrongNetworks, "0.0.0.0/0")...)},
		"block":      {nil, texts(append(wrongNetworks, "10.1.0.0/28", "10.0.0.0/28", "10.0.0.254/31", "10.0.0.16/31")...)},
		"network": {texts("192.0.2.0/24", "0.0.0.0/0", "192.0.2.1/32", "10.128.0.0/9"),
			texts(append(wrongNetworks, "10.0.0.0/32", "10.0.0.255/32")...)},
		"url": {texts("https://mirror.example.com/releases", "http://192.0.2.1", "http://mirror:8080/",
			"https://A.example.com", "https://host.example.com.:5000/v3",
			"http://192.0.2.1:5000/v3", "https://mirror.example.com/a%20b/~c,d+e=f"),
			texts(wrongURLsOfMachines...)},
		"operatorURL": {texts("http://127.0.0.1:3128", "socks5://localhost:1080", "http://[::1]:3128",
			"https://proxy.example.com:3128"), texts(wrongURLsOfOperators...)},
		"sshKey":       sshKeyExamples(t),
		"certificates": certificateExamples(t),
		"alertmanager": {texts("route: {receiver: a}\nreceivers: [{name: a}]",
			"route: {receiver: a, routes: [{matchers: [x=1]}, {receiver: b}]}\nreceivers: [{name: a}, {name: b}]",
			"route: {receiver: 1}\nreceivers: [{name: 1}]"),
			texts("pa55word", "route: {", "- route", "receivers: [{name: pa55word}]", "route: {receiver: pa55word}",
				"route: pa55word\nreceivers: [{name: a}]", "route: {}\nreceivers: [{name: pa55word}]",
				"route: {receiver: pa55word}\nreceivers: [{name: a}]",
				"route: {receiver: pa55word}\nreceivers: {name: pa55word}",
				"route: {receiver: [pa55word]}\nreceivers: [{name: [pa55word]}, pa55word, 1]",
				"Route: {receiver: pa55word}\nReceivers: [{name: pa55word}]",
				"route: {receiver: a}\nroute: {receiver: a}\nreceivers: [{name: a}]",
				"route: {receiver: a, routes: [{receiver: pa55word}]}\nreceivers: [{name: a}]",
				"route: {receiver: a, routes: [{routes: [{receiver: pa55word}]}]}\nreceivers: [{name: a}]",
				"route: {receiver: a, routes: {receiver: a}}\nreceivers: [{name: a}]")},
		"password":    {texts("a b", `"`, "ä"), texts("pa55word\n", "a\x00b", "pa55\x7fword")},
		"md5Password": {texts("a b", "'"), texts("pa55\"word", "pa55word\n", "pä55word", strings.Repeat("pa55word", 11))},
	}
}

func without(items []string, item string) (out []string) {
	for _, other := range items {
		if other != item {
			out = append(out, other)
		}
	}
	return out
}

func sshKeyExamples(t *testing.T) examples {
	line := func(public any) string {
		key, err := ssh.NewPublicKey(public)
		require.NoError(t, err)
		return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	modulus := func(bits int) *rsa.PublicKey {
		return &rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(bits)), big.NewInt(1)), E: 65537}
	}
	block, err := ssh.MarshalPrivateKey(private, "pa55word")
	require.NoError(t, err)
	key := line(public)
	return examples{
		good: texts(key, key+" operators", key+" a b\n", line(curve.Public()), line(modulus(2048))),
		bad: texts("secret", key[:40], key+"\n"+key, "# operators\n"+key, "no-pty "+key, `command="ls" `+key,
			line(modulus(1024)), string(pem.EncodeToMemory(block)), "ssh-dss "+strings.Fields(key)[1]),
	}
}

func certificateExamples(t *testing.T) examples {
	issue := func(change func(*x509.Certificate)) string {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true,
			BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		issuer := *c
		change(c)
		der, err := x509.CreateCertificate(rand.Reader, c, &issuer, key.Public(), key)
		require.NoError(t, err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	ca := issue(func(*x509.Certificate) {})
	begin := "-----BEGIN CERTIFICATE-----\n"
	return examples{
		good: texts(ca, ca+"\n \t\n", ca+ca, "# company\n"+ca+"\n# old\n"+ca, strings.TrimSpace(ca),
			strings.ReplaceAll(ca, "\n", "\r\n"), "subject=CN=test CA\n"+ca, ca+"text", // the output of openssl has text
			withoutExtensions(t, ca)),
		bad: texts(begin, "text", ca[:100]+"\n"+ca, ca+begin, ca[:len(ca)-30], ca[1:], ca+ca[1:],
			strings.TrimSpace(ca)+ca, "# "+ca, " "+ca, ca+strings.ReplaceAll(ca, "\n", " "), "\ufeff"+ca,
			strings.Replace(ca, begin, begin+"Proc-Type: 4,ENCRYPTED\n\n", 1),
			strings.ReplaceAll(ca, "CERTIFICATE", "TRUSTED CERTIFICATE"),
			begin+"AAAA\n-----END CERTIFICATE-----\n",
			strings.ReplaceAll(ca, "CERTIFICATE", "PRIVATE KEY"), " ",
			issue(func(c *x509.Certificate) { c.IsCA = false }),
			withoutExtensions(t, issue(func(c *x509.Certificate) { c.Subject.CommonName = "host" })),
			issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
			ca+issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
			issue(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) })),
	}
}

// withoutExtensions returns a certificate of X.509 v1. Its signature is not valid.
func withoutExtensions(t *testing.T, text string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	var certificate struct {
		Content   asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	_, err := asn1.Unmarshal(block.Bytes, &certificate)
	require.NoError(t, err)
	content := asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true}
	for rest := certificate.Content.Bytes; len(rest) > 0; {
		var part asn1.RawValue
		rest, err = asn1.Unmarshal(rest, &part)
		require.NoError(t, err)
		if part.Class == asn1.ClassUniversal { // the version and the extensions have other classes
			content.Bytes = append(content.Bytes, part.FullBytes...)
		}
	}
	certificate.Content = content
	block.Bytes, err = asn1.Marshal(certificate)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(block))
}

// wrongTypes returns values that YAML reads as another type than that of the key.
func wrongTypes(t reflect.Type) []any {
	list, object := []any{"a"}, map[string]any{"a": "b"}
	switch {
	case t.Kind() == reflect.Pointer:
		return wrongTypes(t.Elem())
	case t.Kind() == reflect.Slice:
		return []any{"a", 1, true, object}
	case t.Kind() == reflect.Map, isObject(t):
		return []any{"a", 1, true, list}
	case t.Kind() == reflect.Bool:
		return []any{"yes", "true", 1, list, object}
	case t.Kind() == reflect.Int, t.Kind() == reflect.Float64:
		return []any{"1", true, list, object}
	}
	return []any{1, true, 1.5, json.Number("1e400"), list, object}
}

// decodeObject decodes an object with one other value, and returns the errors.
func decodeObject(t *testing.T, path string, value any) field.Errors {
	t.Helper()
	var object map[string]any
	require.NoError(t, yaml.UnmarshalStrict([]byte(complete), &object))
	if path != "" {
		set(object, strings.ReplaceAll(path, "[]", ".0"), value)
	}
	text, err := json.Marshal(object)
	require.NoError(t, err)
	var errs field.Errors
	if _, err := Decode("test", string(text)); err != nil {
		require.ErrorAs(t, err, &errs)
	}
	return errs
}

// TestEveryKeyAgainstEveryBadValue sets each key of the configuration to each bad value of its kind, and to values of
// other types. Each mistake must result in exactly one error, at the key. No error may show a secret.
func TestEveryKeyAgainstEveryBadValue(t *testing.T) {
	require.Empty(t, decodeObject(t, "", nil))
	all := examplesOf(t)
	count := 0
	for _, key := range schema("", reflect.TypeFor[Config]()) {
		t.Run(key.path, func(t *testing.T) {
			concrete := strings.ReplaceAll(key.path, "[]", "[0]")
			refused := func(value any, path string) {
				t.Helper()
				count++
				errs := decodeObject(t, key.path, value)
				if !assert.Len(t, errs, 1, "%#v: %v", value, errs) {
					return
				}
				assert.Truef(t, errs[0].Path == path || strings.HasPrefix(errs[0].Path, path), "%v: %v", value, errs)
				assert.NotContains(t, errs[0].Message, "%!")
				assert.NotContains(t, errs[0].Message, "pa55")
				assert.False(t, key.secret() && strings.Contains(errs[0].Message, "not "), errs)
			}
			for _, value := range wrongTypes(key.field.Type) {
				refused(value, concrete)
			}
			kind, args, optional := key.tag()
			element := key.field.Type
			switch element.Kind() {
			case reflect.Bool:
				return
			case reflect.Pointer:
				require.Equal(t, reflect.Bool, element.Elem().Kind())
				return
			case reflect.Slice, reflect.Map:
				element = element.Elem()
			}
			if isObject(element) {
				refused([]any{nil}, concrete)
				return
			}
			require.Contains(t, kinds, kind, "the key needs the tag `kind`")
			require.NotEmpty(t, kinds[kind].want(args))
			bad := all[kind].bad
			require.NotEmpty(t, bad, "the kind needs bad values")
			if kind == "number" {
				first, err := strconv.Atoi(args[0])
				require.NoError(t, err)
				last, err := strconv.Atoi(args[1])
				require.NoError(t, err)
				bad = append(bad, first-1, last+1)
			}
			switch key.field.Type.Kind() {
			case reflect.Slice:
				if bad = append(bad, ""); kind == "range" { // ranges that the cluster already uses
					bad = append(bad, "10.0.0.128/25", "10.244.1.0/25", "10.96.0.0/25")
				}
				for _, value := range append(bad, nil, 1, []any{"a"}) {
					refused([]any{value}, concrete+"[0]")
				}
				good := append(all[kind].good, choices(kind, args)...)
				if require.NotEmpty(t, good); key.field.Tag.Get("repeats") == "" {
					refused([]any{good[0], good[0]}, concrete+"[1]")
				}
			case reflect.Map:
				names := all[key.keysKind()]
				require.NotEmpty(t, names.good, "the key needs the tag `keys`")
				refused(map[string]any{names.good[0].(string): nil}, concrete)
				for _, name := range names.bad {
					refused(map[string]any{name.(string): append(all[kind].good, choices(kind, args)...)[0]}, concrete)
				}
				for _, value := range bad {
					if value != "" || !optional {
						refused(map[string]any{names.good[0].(string): value}, concrete)
					}
				}
			default:
				for _, value := range bad {
					if value != "" || !optional {
						refused(value, concrete)
					}
				}
			}
		})
	}
	t.Logf("%d bad values", count)
}

// TestSecretsAtOtherKeysAreNotShown checks secrets that a user set at the object, or at the list, of their key.
func TestSecretsAtOtherKeysAreNotShown(t *testing.T) {
	paths := map[string]bool{}
	for _, key := range schema("", reflect.TypeFor[Config]()) {
		for path := key.path; key.secret() && path != ""; path = path[:max(0, strings.LastIndex(path, "."))] {
			paths[path], paths[strings.TrimSuffix(path, "[]")] = true, true
		}
	}
	require.Contains(t, paths, "bgp.peers")
	for path := range paths {
		for _, value := range []any{
			"pa55word", []any{"pa55word"}, map[string]any{"secure": "pa55word"}, map[string]any{"value": []any{"pa55word"}},
			[]any{map[string]any{"secure": "pa55word"}},
		} {
			for _, err := range decodeObject(t, path, value) {
				assert.NotContains(t, err.Error(), "pa55", "%s: %v", path, value)
			}
		}
	}
}

// TestGoodValues checks that each kind accepts its values.
func TestGoodValues(t *testing.T) {
	all := examplesOf(t)
	used := map[string]bool{}
	for _, key := range schema("", reflect.TypeFor[Config]()) {
		kind, args, _ := key.tag()
		used[kind], used[key.keysKind()] = true, true
		list := key.field.Type.Kind() == reflect.Slice
		if kind == "" || kind == "range" && !list || key.field.Type.Kind() == reflect.Map || kind == "version" ||
			kind == "block" || key.path == "bgp.peers[].zones" {
			continue
		}
		for _, value := range append(all[kind].good, choices(kind, args)...) {
			if kind == "number" {
				continue
			}
			if list {
				value = []any{value}
			}
			for _, err := range decodeObject(t, key.path, value) {
				const refused = "^must be (a|an|one|between) |^must have (a|no) |^must contain"
				assert.NotRegexp(t, refused, err.Message, "%v: %v", value, err) // other errors are about several keys
			}
		}
	}
	for name := range kinds {
		assert.True(t, used[name], "no key has the kind %s", name)
	}
}

// TestEveryMistakeIsReported sets each key to a bad value in one configuration. Each must have its error.
func TestEveryMistakeIsReported(t *testing.T) {
	var object map[string]any
	require.NoError(t, yaml.UnmarshalStrict([]byte(complete), &object))
	all := examplesOf(t)
	var want []string
	for _, key := range schema("", reflect.TypeFor[Config]()) {
		kind, _, _ := key.tag()
		var value any = "wrong"
		path := strings.ReplaceAll(key.path, "[]", "[0]")
		switch {
		case key.field.Type.Kind() == reflect.Slice && isObject(key.field.Type.Elem()):
			continue
		case kind == "":
		case key.field.Type.Kind() == reflect.Slice:
			value, path = []any{all[kind].bad[0]}, path+"[0]"
		case key.field.Type.Kind() == reflect.Map:
			value = map[string]any{all[key.keysKind()].good[0].(string): all[kind].bad[0]}
		default:
			if value = all[kind].bad[0]; value == "" {
				value = all[kind].bad[1]
			}
			if kind == "number" {
				value = json.Number("1e400")
			}
		}
		set(object, strings.ReplaceAll(key.path, "[]", ".0"), value)
		want = append(want, path)
	}
	text, err := json.Marshal(object)
	require.NoError(t, err)
	var errs field.Errors
	_, err = Decode("test", string(text))
	require.ErrorAs(t, err, &errs)
	for _, path := range want {
		found := 0
		for _, e := range errs {
			if strings.HasPrefix(e.Path, path) {
				found++
			}
		}
		assert.Positive(t, found, "%s: %v", path, errs)
	}
	t.Logf("%d keys, %d errors", len(want), len(errs))
}

// TestBlanksAroundAnSSHKey checks that Nova gets a key without them. A text in several lines of YAML ends in a line
// feed.
func TestBlanksAroundAnSSHKey(t *testing.T) {
	key := sshKeyExamples(t).good[1].(string)
	object := valid(t)
	set(object, "ssh.publicKey", "\n"+key+"\r\n")
	assert.Equal(t, key, NewPlan(decoded(t, object)).SSH.PublicKey)
}

// TestExpiredCertificateNamesItself checks the message about one certificate of several.
func TestExpiredCertificateNamesItself(t *testing.T) {
	bad := certificateExamples(t).bad
	errs := decodeObject(t, "openstack.caCertificate", bad[len(bad)-2])
	require.Len(t, errs, 1)
	assert.Regexp(t, `^certificate 2 \(CN=test CA\) expired at 20.*Z: remove or replace it$`, errs[0].Message)
}

func TestWarnings(t *testing.T) {
	for _, row := range []struct {
		path  string
		value any
		want  string
	}{
		{"bootstrapTimeout", "90s", "bootstrapTimeout: 1m30s is short: machines often need 5m0s until they are ready"},
		{"ssh.publicKey", "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIKdtLKvpwRRMdmoo1Exj8/" +
			"MxSVOb5zN47eJmVg9ttVP2AAAABHNzaDo=",
			"ssh.publicKey: is the key of a security key: Nova refuses it if its Python package cryptography is older than 43"},
		{"artifacts", map[string]any{"mirror": "http://mirror.example.com", "username": "machines", "password": "pa55word"},
			"artifacts.mirror: begins with http, so artifacts.password crosses the network as plain text: use https"},
		{"dns.replicas", 5, "dns.replicas: 5 replicas are more than one for each of the 4 nodes"},
		{"etcd.zones", []any{"az1", "az2", "az1"},
			"etcd.zones[2]: az1 is also etcd.zones[0]: the zone gets more machines"},
		{"pools.0.maxUnavailable", 2,
			"pools[0].maxUnavailable: an update replaces all 2 machines of the pool at once"},
		{"pools.0.count", 11, "pools[0].count: 11 machines in one server group are more than Nova's default quota of 10: " +
			"set serverGroupMembers to the quota server_group_members of the project"},
		{"storage.classes.0.zone", "az2",
			"storage.classes[0].zone: no node is in az2, so no pod can use a volume of the class: zones with nodes are az1"},
	} {
		var object map[string]any
		require.NoError(t, yaml.UnmarshalStrict([]byte(complete), &object))
		assert.Empty(t, decoded(t, object).Warnings())
		set(object, row.path, row.value)
		assert.Equal(t, "["+row.want+"]", fmt.Sprint(decoded(t, object).Warnings()))
		if row.path == "pools.0.count" {
			set(object, "serverGroupMembers", 12)
			assert.Empty(t, decoded(t, object).Warnings(), "the project has a larger quota")
		}
		if row.path == "storage.classes.0.zone" {
			set(object, "storage.topology", false)
			assert.Empty(t, decoded(t, object).Warnings(), "Cinder's zones have other names")
		}
	}
}

// TestAllowedNetworksAreRulesOnce checks that a network that equals that of another rule results in no second rule.
// Neutron would refuse it.
func TestAllowedNetworksAreRulesOnce(t *testing.T) {
	c := small(t)
	own := map[string]bool{}
	for _, r := range NewPlan(c).Rules {
		own[r.From.String()] = true
	}
	for _, path := range []string{"ssh.allowedCIDRs", "api.allowedCIDRs", "network.allowedCIDRs"} {
		for network := range own {
			object := valid(t)
			set(object, path, []any{network})
			seen := map[Rule]bool{}
			for _, r := range NewPlan(decoded(t, object)).Rules {
				r.Name, r.Reason = "", ""
				assert.False(t, seen[r], "%s: %s: %v twice", path, network, r)
				seen[r] = true
			}
		}
	}
}
