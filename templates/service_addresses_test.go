package templates

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/tests/guest"
)

const serviceAddresses = "/etc/kubernetes/cluster/service-addresses.yaml"

// keystone is an address in openstack.authURL of these tests.
const keystone = "172.31.250.1"

// serviceRequest is a request of the administrator or of a member of a project, for an object in the project's
// namespace.
type serviceRequest struct {
	member       bool
	method, path string
	body         string // JSON
	// part of the error message; the request is allowed if refused is empty
	refused string
}

// service returns the body of a Service with additional JSON fields of its spec.
func service(name, spec string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Service", "metadata": {"name": %q},
		"spec": {"ports": [{"port": 5000}], %s}}`, name, spec)
}

// created returns requests that create a Service, once as each user.
func created(spec, refused string) (requests []serviceRequest) {
	for _, member := range []bool{false, true} {
		body := strings.Replace(service("", spec), `"name": ""`, `"generateName": "new-"`, 1)
		requests = append(requests, serviceRequest{member, http.MethodPost, "services", body, refused})
	}
	return requests
}

func changed(member bool, path, body, refused string) serviceRequest {
	return serviceRequest{member, http.MethodPatch, "services/" + path, body, refused}
}

// ingress is the body of a change to the addresses in the status of a Service.
func ingress(addresses string) string {
	return `{"status": {"loadBalancer": {"ingress": [` + addresses + `]}}}`
}

// project returns the objects of tenant-sync for a project with a member, the project's namespace, and the lines of
// curl's configuration that impersonate the member.
func project(t *testing.T) (manifest, namespace, member string) {
	t.Helper()
	unlimited := tenancy.Quota{Cores: tenancy.Unlimited, RAM: tenancy.Unlimited, Gigabytes: tenancy.Unlimited,
		Volumes: tenancy.Unlimited, Snapshots: tenancy.Unlimited}
	plan, err := tenancy.NewPlan(tenancy.KeystoneSnapshot{
		Domains:     []tenancy.Domain{{ID: "default", Name: "Default", Enabled: true}},
		Projects:    []tenancy.Project{{ID: "0123456789", Name: "web", DomainID: "default", Enabled: true, Quota: unlimited}},
		Users:       []tenancy.User{{ID: "a11ce", Name: "alice", DomainID: "default", Enabled: true}},
		Roles:       []tenancy.Role{{ID: "r1", Name: "member"}},
		Assignments: []tenancy.Assignment{{RoleID: "r1", UserID: "a11ce", ProjectID: "0123456789"}},
	}, tenancy.Settings{PodCIDR: netip.MustParsePrefix("10.244.0.0/16")}, nil)
	require.NoError(t, err)
	for _, object := range plan.Objects() {
		text, err := yaml.Marshal(object)
		require.NoError(t, err)
		manifest += "---\n" + string(text)
	}
	return manifest, plan.Tenants[0].Namespace, fmt.Sprintf("header = \"Impersonate-User: %s\"\n"+
		"header = \"Impersonate-Group: %s\"\n", tenancy.Username("a11ce"), tenancy.Group("0123456789", "a11ce", "member"))
}

// TestServiceAddresses sends requests of the administrator and of a member of a project to a real API server. Without
// the policy, the member takes the addresses of Keystone and of the API. With the policy, nobody can take an address
// outside of the configured ranges. Services that are older than the policy can be written and deleted.
func TestServiceAddresses(t *testing.T) {
	t.Parallel()
	limitParallel(t)
	ranges := func(m *values) {
		m.Plan.BGPConfiguration.ServiceExternalIPs = []netip.Prefix{
			netip.MustParsePrefix("203.0.113.0/26"), netip.MustParsePrefix("192.0.2.8/32"),
		}
	}
	files := controlPlane(t, ranges)
	require.Contains(t, files[serviceAddresses], "failurePolicy: Fail\n")
	policy := func(change func(*values)) string {
		m := controlPlaneMachine()
		change(&m)
		return filesOf(t, m)[serviceAddresses]
	}
	files["/without-ranges.yaml"] = policy(func(m *values) { m.Plan.BGPConfiguration.ServiceLoadBalancerIPs = nil })
	files["/octavia.yaml"] = policy(func(m *values) {
		m.Plan.BGPConfiguration.ServiceExternalIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.8/32")}
		m.Plan.OpenStack.LoadBalancer = cluster.Octavia
		m.Plan.OpenStack.AuthURL = "http://" + keystone + ":5000/v3"
		m.Plan.Network.DNSServers = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
		m.Plan.BGP.Peers = []cluster.Peer{{Address: netip.MustParseAddr("10.0.0.254")}}
	})
	// Before Kubernetes 1.36, the API server itself accepts other notations of an address.
	const start = "/usr/local/sbin/run-kube-apiserver"
	require.Contains(t, files[start], " --secure-port=")
	files[start] = strings.Replace(files[start], " --secure-port=",
		" --feature-gates=StrictIPCIDRValidation=false --secure-port=", 1)

	const (
		noRange     = "must be in network.serviceExternalIPs (no range)"
		outside     = "must be in network.serviceExternalIPs (203.0.113.0/26, 192.0.2.8/32)"
		outsideOfLB = "must be in network.serviceLoadBalancerIPs (198.51.100.0/25, 198.51.100.128/25)"
		reserved    = ": must not be an address of a pod, ClusterIP, router"
		invalid     = "is invalid"
		stolen      = `"externalIPs": ["` + keystone + `"]`
		balanced    = `"type": "LoadBalancer", "loadBalancerIP": `
		condition   = `{"status": {"conditions": [{"type": "example.com/A", "status": "True", "reason": "A", "message": "",
			"lastTransitionTime": "2026-01-01T00:00:00Z"}]}}`
		vip           = `{"ip": %q, "ipMode": "VIP"}`
		dryRun, apply = "services?dryRun=All", "services/applied?fieldManager=test"
	)
	old := []serviceRequest{
		{true, http.MethodPost, "services", service("old", stolen), ""},
		changed(true, "old", `{"metadata": {"finalizers": ["example.com/test"]}}`, ""),
		{true, http.MethodPost, "services", service("repaired", stolen), ""},
		{true, http.MethodPost, "services", service("old-balancer", balanced+`"10.0.0.5"`), ""},
		changed(false, "old-balancer/status", ingress(fmt.Sprintf(vip, "10.0.0.5")), ""),
		{true, http.MethodPost, "services", service("clean", `"selector": {"a": "b"}`), ""},
		{true, http.MethodPost, "services", service("balancer", `"type": "LoadBalancer"`), ""},
	}
	without := append(created(stolen, noRange), created(`"externalIPs": ["203.0.113.1"]`, noRange)...)
	without = append(without, created(`"selector": {"a": "b"}`, "")...)
	without = append(without, created(balanced+`"198.51.100.1"`,
		"must be in network.serviceLoadBalancerIPs (no range)")...)

	with := []serviceRequest{
		changed(true, "old", `{"metadata": {"labels": {"a": "b"}}}`, ""),
		changed(false, "old/status", condition, ""),
		changed(true, "old", `{"spec": {"ports": [{"port": 443}]}}`, "spec.externalIPs: "+keystone+": "+outside),
		changed(true, "old", `{"spec": {"externalIPs": ["`+keystone+`", "203.0.113.1"]}}`, outside),
		{true, http.MethodDelete, "services/old", "", ""},
		changed(false, "old", `{"metadata": {"finalizers": null}}`, ""),
		{true, http.MethodGet, "services/old", "", "not found"},
		changed(true, "repaired", `{"spec": {"externalIPs": ["203.0.113.1"]}}`, ""),
		changed(true, "repaired", `{"spec": {"externalIPs": ["`+keystone+`"]}}`, outside),
		changed(true, "old-balancer", `{"metadata": {"labels": {"a": "b"}}}`, ""),
		changed(false, "old-balancer/status", condition, ""),
		changed(false, "old-balancer/status", ingress(fmt.Sprintf(vip, "10.0.0.20")), outsideOfLB),
		changed(false, "old-balancer/status", ingress(`{"hostname": "balancer.example.com"}`), ""),
		changed(false, "old-balancer/status", ingress(fmt.Sprintf(vip, "10.0.0.5")), outsideOfLB),

		changed(true, "clean", `{"spec": {`+stolen+`}}`, outside),
		changed(false, "clean", `{"spec": {`+stolen+`}}`, outside),
		{true, http.MethodPut, "services/put", service("put", stolen), outside},
		{true, http.MethodPatch, apply, service("applied", stolen), outside},
		{true, http.MethodPost, dryRun, service("dry", stolen), outside},
		changed(true, "balancer/status", ingress(fmt.Sprintf(vip, "10.0.0.5")), "cannot patch resource"),
		changed(true, "balancer/status", ingress(fmt.Sprintf(vip, "198.51.100.1")), "cannot patch resource"),
		changed(false, "balancer/status", ingress(fmt.Sprintf(vip, "198.51.100.1")), ""),
		changed(false, "balancer/status",
			ingress(fmt.Sprintf(vip, "198.51.100.1")+", "+fmt.Sprintf(vip, keystone)), keystone+": "+outsideOfLB),
		changed(false, "balancer/status", ingress(fmt.Sprintf(vip, "::ffff:10.0.0.5")), outsideOfLB),
		{true, http.MethodPost, "endpoints", `{"metadata": {"name": "clean"},
			"subsets": [{"addresses": [{"ip": "` + keystone + `"}]}]}`, "cannot create resource"},
	}
	for address, refused := range map[string]string{
		"203.0.113.0": "", "203.0.113.63": "", "192.0.2.8": "",
		keystone: outside, "203.0.112.255": outside, "203.0.113.64": outside, "192.0.2.9": outside, "8.8.8.8": outside,
		"10.0.0.1": outside, "10.0.0.5": outside, "10.0.0.20": outside, "10.0.0.64": outside, // of machines
		"10.96.0.1": outside, "10.96.0.10": outside, "10.244.0.5": outside, "198.51.100.1": outside,
		// other notations of 203.0.113.1 and of Keystone's address
		"::ffff:203.0.113.1": outside, "::ffff:" + keystone: outside, "::FFFF:cb00:7101": outside,
		"203.0.113.01": outside, "172.031.250.001": outside, "203.0.113.1/32": invalid, " 203.0.113.1": invalid,
		"3405803777": invalid, "0xcb.0.113.1": invalid, "203.0.113.1%eth0": invalid, "203.0.28929": invalid,
		"fd00::1": outside, "0.0.0.0": invalid, "127.0.0.1": invalid, "169.254.169.254": invalid, "": invalid,
		"203.0.113.1,": invalid, "router.example.com": invalid,
	} {
		with = append(with, created(fmt.Sprintf(`"externalIPs": [%q]`, address), refused)...)
	}
	many := func(n int) string { return strings.Repeat(`"203.0.113.1", `, n) }
	with = append(with, created(`"externalIPs": ["203.0.113.1", "`+keystone+`"]`, outside)...)
	with = append(with, created(`"externalIPs": [`+many(255)+`"203.0.113.2"]`, "")...)
	with = append(with, created(`"externalIPs": [`+many(255)+`"`+keystone+`"]`, outside)...)
	with = append(with, created(`"externalIPs": [`+many(60_000)+`"`+keystone+`"]`, "must have at most 256 addresses")...)
	with = append(with, created(`"type": "ExternalName", "externalName": "a.example.com", `+stolen, outside)...)
	with = append(with, created(`"clusterIP": "None", `+stolen, outside)...)
	for address, refused := range map[string]string{
		"198.51.100.7": "", "198.51.100.200": "", keystone: outsideOfLB, "10.0.0.5": outsideOfLB, "10.0.0.1": outsideOfLB,
		"203.0.113.1": outsideOfLB, "10.96.0.10": outsideOfLB, "::ffff:198.51.100.7": outsideOfLB,
		"198.51.100.07": outsideOfLB,
	} {
		with = append(with, created(fmt.Sprintf(balanced+"%q", address), refused)...)
	}

	var octavia []serviceRequest
	for address, refused := range map[string]string{
		"10.0.0.200": "", "203.0.113.200": "", // Neutron assigns both
		keystone: reserved, "192.0.2.53": reserved, "10.0.0.1": reserved, "10.0.0.5": reserved, "10.0.0.10": reserved,
		"10.0.0.20": reserved, "10.0.0.254": reserved, "10.96.0.1": reserved, "10.244.0.5": reserved,
		"::ffff:10.0.0.5": reserved, "10.0.0.05": reserved,
	} {
		octavia = append(octavia, created(fmt.Sprintf(balanced+"%q", address), refused)...)
		octavia = append(octavia, changed(false, "balancer/status", ingress(fmt.Sprintf(vip, address)), refused))
	}

	objects, namespace, member := project(t)
	files["/project.yaml"] = objects
	var requests []serviceRequest
	// curlConfig returns curl's configuration of requests. A single curl sends all of them on one connection. For each
	// one, it prints the response and a line with the number and the status code.
	curlConfig := func(list []serviceRequest) string {
		var out strings.Builder
		for _, r := range list {
			kind := "json"
			switch {
			case strings.Contains(r.path, "fieldManager"):
				kind = "apply-patch+yaml"
			case r.method == http.MethodPatch:
				kind = "merge-patch+json"
			}
			body := fmt.Sprintf("/requests/%d", len(requests))
			files[body] = r.body
			fmt.Fprintf(&out, `next
silent
show-error
user-agent = "test"
cacert = "/etc/kubernetes/pki/ca.crt"
cert = "/etc/kubernetes/pki/admin.crt"
key = "/etc/kubernetes/pki/admin.key"
url = "https://127.0.0.1:6443/api/v1/namespaces/%s/%s"
request = "%s"
header = "Content-Type: application/%s"
data-binary = "@%s"
write-out = "answer %d %%{http_code}\n"
`, namespace, r.path, r.method, kind, body, len(requests))
			if r.member {
				out.WriteString(member)
			}
			requests = append(requests, r)
		}
		return strings.TrimPrefix(out.String(), "next\n")
	}
	script := func(list []serviceRequest) string {
		file := fmt.Sprintf("/batches/%d", len(requests))
		files[file] = curlConfig(list)
		return "curl --config " + file + "\n"
	}
	files["/probe"] = curlConfig([]serviceRequest{{true, http.MethodPost, dryRun, service("probe", stolen), ""}})
	out, err := guest.Run(t, files, "unshare", "--net", "sh", "-c", prepareControlPlane+`
		# probe TEXT: a request of the member for Keystone's address has TEXT in its answer
		probe() { curl --config /probe | grep -F "$1"; }
		start kube-apiserver
		eventually check-kube-apiserver
		eventually kubectl apply --server-side --filename=/project.yaml
		eventually probe 'answer 0 201'
		`+script(old)+`
		kubectl apply --server-side --filename=/without-ranges.yaml
		eventually probe 'serviceExternalIPs (no range)'
		`+script(without)+`
		kubectl apply --server-side --filename=`+serviceAddresses+`
		eventually probe 'serviceExternalIPs (203.0.113.0/26, 192.0.2.8/32)'
		`+script(with)+`
		kubectl apply --server-side --filename=/octavia.yaml
		eventually probe 'serviceExternalIPs (192.0.2.8/32)'
		`+script(octavia)+`
	`)
	require.NoError(t, err, out)
	answers := regexp.MustCompile(`(?m)^(\{.*\})\nanswer (\d+) (\d+)$`).FindAllStringSubmatch(out, -1)
	require.Len(t, answers, len(requests)-1, out) // request 0 is the probe, which prints nothing
	for i, answer := range answers {
		require.Equal(t, strconv.Itoa(i+1), answer[2])
		code, err := strconv.Atoi(answer[3])
		require.NoError(t, err)
		request := requests[i+1]
		var status struct{ Message string }
		require.NoError(t, json.Unmarshal([]byte(answer[1]), &status), answer[0])
		what := fmt.Sprintf("%s %s as member %v: %.300s", request.method, request.path, request.member, request.body)
		if request.refused == "" {
			assert.Less(t, code, 300, "%s\n%s", what, status.Message)
		} else {
			assert.GreaterOrEqual(t, code, 400, what)
			assert.Contains(t, status.Message, request.refused, what)
		}
	}
}
