package dns

import (
	"embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/assert"

	"kubernetes-openstack/cluster"
)

//go:embed objects.yaml.tmpl
var templates embed.FS

// Cluster is what the cases depend on.
type Cluster struct {
	ClusterIP  netip.Addr // of the Service web: a free address
	PendingPod string     // address of the pod pending-0
}

// Names that the DNS servers of the data centre must resolve.
var (
	// Upstream is the server of all names outside of the cluster.
	Upstream = map[string][4]byte{"mirror.devcloud.test.": {172, 31, 250, 1}}
	// Stub is the server of the stub domain.
	Stub = map[string][4]byte{"name.stub.test.": {192, 0, 2, 200}}
)

// StubDomain is the stub domain of the cases.
const StubDomain = "stub.test"

// many returns the addresses of the Service many.
func many() (addresses []string) {
	for i := range 60 {
		addresses = append(addresses, fmt.Sprintf("198.51.100.%d", i+1))
	}
	return addresses
}

// Objects returns the objects of the cases as YAML for kubectl.
func (c Cluster) Objects() (string, error) {
	t, err := template.ParseFS(templates, "objects.yaml.tmpl")
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, struct {
		ClusterIP netip.Addr
		Many      []string
	}{c.ClusterIP, many()})
	return out.String(), err
}

// Case is a query and its answer, as Ask returns it.
type Case struct {
	Name, Type string
	Want       string
	// SkyDNS is SkyDNS's answer if it differs. Difference is its description in docs/network.md.
	SkyDNS, Difference string
	UDP                string // the answer over UDP, if it differs
}

// Cases returns the table.
func (c Cluster) Cases() []Case {
	const zone = ".dns-cases.svc.cluster.local."
	reverse := func(ip netip.Addr) string {
		parts := strings.Split(ip.String(), ".")
		slices.Reverse(parts)
		return strings.Join(parts, ".") + ".in-addr.arpa."
	}
	address := func(text string) netip.Addr { return netip.MustParseAddr(text) }
	dashed := strings.ReplaceAll(c.ClusterIP.String(), ".", "-")
	records := func(kind string, values ...string) string {
		for i := range values {
			values[i] = kind + " " + values[i]
		}
		slices.Sort(values)
		return strings.Join(values, ", ")
	}
	return []Case{
		// a Service with a ClusterIP
		{Name: "web" + zone, Type: "A", Want: records("A", c.ClusterIP.String())},
		{Name: "WEB" + strings.ToUpper(zone), Type: "A", Want: records("A", c.ClusterIP.String())},
		{Name: "web" + zone, Type: "AAAA", Want: "NODATA"},
		{Name: "web" + zone, Type: "CNAME", Want: "NODATA"},
		{Name: "_http._tcp.web" + zone, Type: "SRV", Want: "SRV 80 web" + zone},
		{Name: "_dns._udp.web" + zone, Type: "SRV", Want: "SRV 53 web" + zone},
		{Name: "_http._udp.web" + zone, Type: "SRV", Want: "NXDOMAIN"},
		{Name: "_none._tcp.web" + zone, Type: "SRV", Want: "NXDOMAIN"},
		{Name: reverse(c.ClusterIP), Type: "PTR", Want: "PTR web" + zone},
		{Name: "missing" + zone, Type: "A", Want: "NXDOMAIN"},
		{Name: "web.missing.svc.cluster.local.", Type: "A", Want: "NXDOMAIN"},
		{Name: "kubernetes.default.svc.cluster.local.", Type: "AAAA", Want: "NODATA"},
		{Name: "_https._tcp.kubernetes.default.svc.cluster.local.", Type: "SRV",
			Want: "SRV 443 kubernetes.default.svc.cluster.local."},

		// a headless Service
		{Name: "db" + zone, Type: "A", Want: records("A", "192.0.2.11", "192.0.2.12")},
		{Name: "db-0.db" + zone, Type: "A", Want: "A 192.0.2.11"},
		{Name: "192-0-2-12.db" + zone, Type: "A", Want: "A 192.0.2.12"},
		{Name: "db-0.db" + zone, Type: "AAAA", Want: "NODATA"},
		{Name: "db-2.db" + zone, Type: "A", Want: "NXDOMAIN"}, // not ready
		{Name: "db-9.db" + zone, Type: "A", Want: "NXDOMAIN"},
		{Name: "_sql._tcp.db" + zone, Type: "SRV", Want: records("SRV 5432", "192-0-2-12.db"+zone, "db-0.db"+zone)},
		{Name: reverse(address("192.0.2.11")), Type: "PTR", Want: "PTR db-0.db" + zone},
		{Name: reverse(address("192.0.2.12")), Type: "PTR", Want: "PTR 192-0-2-12.db" + zone, SkyDNS: "REFUSED",
			Difference: "PTR of an endpoint without a host name"},
		{Name: "pending" + zone, Type: "A", Want: "A " + c.PendingPod},
		{Name: "pending-0.pending" + zone, Type: "A", Want: "A " + c.PendingPod},
		{Name: "many" + zone, Type: "A", Want: records("A", many()...), UDP: "TRUNCATED"},
		{Name: "empty" + zone, Type: "A", Want: "NXDOMAIN"},

		// names outside of the cluster
		{Name: "external" + zone, Type: "CNAME", Want: "CNAME mirror.devcloud.test."},
		{Name: "external" + zone, Type: "A", Want: "A 172.31.250.1, CNAME mirror.devcloud.test."},
		{Name: "external-stub" + zone, Type: "A", Want: "A 192.0.2.200, CNAME name.stub.test.", SkyDNS: "NODATA",
			Difference: "external name in a stub domain"},
		{Name: "mirror.devcloud.test.", Type: "A", Want: "A 172.31.250.1"},
		{Name: "name.stub.test.", Type: "A", Want: "A 192.0.2.200"},
		{Name: "name.stub.test.", Type: "AAAA", Want: "NODATA"},
		{Name: "unknown.example.", Type: "A", Want: "REFUSED"},

		// pods and the zone
		{Name: "10-1-2-3.dns-cases.pod.cluster.local.", Type: "A", Want: "A 10.1.2.3"},
		{Name: "10-1-2-3.missing.pod.cluster.local.", Type: "A", Want: "NXDOMAIN", SkyDNS: "A 10.1.2.3",
			Difference: "pod's name in a namespace that does not exist"},
		{Name: "no-address.dns-cases.pod.cluster.local.", Type: "A", Want: "NXDOMAIN"},
		{Name: "dns-version.cluster.local.", Type: "TXT", Want: "TXT 1.1.0"},
		{Name: "cluster.local.", Type: "SOA", Want: "SOA ns.dns.cluster.local."},
		{Name: "dns-cases.svc.cluster.local.", Type: "A", Want: "NODATA", SkyDNS: "NXDOMAIN",
			Difference: "name of a namespace"},
		{Name: "web" + zone, Type: "SRV", Want: records("SRV", "53 web"+zone, "80 web"+zone),
			SkyDNS: "SRV 0 " + dashed + ".web" + zone, Difference: "SRV of a Service without a port's name"},
		{Name: "_http._tcp.web" + zone, Type: "A", Want: records("A", c.ClusterIP.String())},
	}
}

// Run asks a server of a provider for all names, over UDP and TCP.
func Run(t *testing.T, c Cluster, provider, server string, dial Dial) {
	t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		for _, row := range c.Cases() {
			want := row.Want
			if provider == cluster.SkyDNS && row.SkyDNS != "" {
				want = row.SkyDNS
			}
			if network == "udp" && row.UDP != "" {
				want = row.UDP
			}
			answer, err := Ask(t.Context(), dial, network, server, row.Name, row.Type)
			if assert.NoError(t, err, "%s: %s %s over %s", provider, row.Name, row.Type, network) {
				assert.Equal(t, want, answer, "%s: %s %s over %s", provider, row.Name, row.Type, network)
			}
		}
	}
}
