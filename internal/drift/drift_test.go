package drift

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/internal/readiness"
	"kubernetes-openstack/internal/status"
	"kubernetes-openstack/tests/golden"
	fake "kubernetes-openstack/tests/openstack"
)

// world is a stack, its cloud and its cluster.
type world struct {
	plan     cluster.Plan
	stack    status.Stack
	cloud    Cloud
	observed status.Cluster
}

// now is the time of the status.
var now = time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)

// newWorld returns a small cluster without a difference.
func newWorld(t *testing.T) *world {
	t.Helper()
	text, err := os.ReadFile("../../cluster/testdata/small.yaml")
	require.NoError(t, err)
	encoded, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	config, err := cluster.Decode("prod", string(encoded))
	require.NoError(t, err)
	w := &world{plan: cluster.NewPlan(config)}
	w.stack = status.Stack{Name: "prod", Outputs: object{"machines": object{}}, Resources: []status.Resource{
		{Type: "teardown:index:Leftovers", Name: "prod", Inputs: object{"cluster": "prod"}}}}
	w.cloud = Cloud{Lists: map[string][]object{}, Unread: map[string]string{}}
	w.observed = status.Cluster{Time: now, Version: w.plan.Kubernetes.Version,
		Consoles: map[string]readiness.Summary{}}
	for _, m := range w.plan.Machines {
		w.addMachine(m)
	}
	w.add("networking/secGroup:SecGroup", "prod-etcd", "group-etcd", "security_groups",
		object{"name": "prod-etcd", "tags": list("cluster=prod", "role=etcd")},
		object{"name": "prod-etcd", "tags": list("role=etcd", "cluster=prod")})
	w.add("networking/secGroupRule:SecGroupRule", "prod-etcd-ssh", "rule-1", "security_group_rules",
		object{"securityGroupId": "group-etcd", "direction": "ingress"},
		object{"security_group_id": "group-etcd", "direction": "ingress", "protocol": "tcp", "port_range_min": 22.0})
	w.add("networking/router:Router", "prod", "router-1", "routers",
		object{"name": "prod", "adminStateUp": true, "externalNetworkId": "external", "tags": list("cluster=prod")},
		object{"name": "prod", "admin_state_up": true, "tags": list("cluster=prod"),
			"external_gateway_info": object{"network_id": "external"}, "routes": list(object{"destination": "10.244.0.0/24"})})
	w.add("compute/serverGroup:ServerGroup", "prod-etcd", "servers-1", "server_groups",
		object{"name": "prod-etcd", "policies": list("anti-affinity")},
		object{"name": "prod-etcd", "policies": list("anti-affinity"), "members": list("a")})
	w.add("objectstorage/container:Container", "prod-etcd", "prod-etcd", "containers", object{"name": "prod-etcd"},
		object{"name": "prod-etcd"})
	// what controllers and OpenStack create is no difference
	w.cloud.Lists["volumes"] = append(w.cloud.Lists["volumes"], object{"id": "pvc", "name": "pvc-1", "size": 1.0,
		"metadata": object{"cinder.csi.openstack.org/cluster": "prod"}})
	w.cloud.Lists["ports"] = append(w.cloud.Lists["ports"],
		object{"id": "dhcp", "device_owner": "network:dhcp", "name": ""})
	w.cloud.Lists["loadbalancers"] = []object{{"id": "lb", "name": "kube_service_prod_default_web"}}
	w.cloud.Lists["security_group_rules"] = append(w.cloud.Lists["security_group_rules"], object{"id": "default",
		"security_group_id": "group-etcd", "direction": "egress", "ethertype": "IPv4"})
	w.cloud.Lists["servers"] = append(w.cloud.Lists["servers"], object{"id": "other", "name": "bastion",
		"metadata": object{"cluster": "staging"}})
	return w
}

// list returns the items as they are decoded from JSON.
func list(items ...any) []any { return items }

// add adds a resource to the state, and the object to the cloud.
func (w *world) add(typ, name, id, list string, inputs, o object) {
	w.stack.Resources = append(w.stack.Resources, status.Resource{Type: "openstack:" + typ, Name: name, ID: id,
		Inputs: inputs})
	o["id"] = id
	w.cloud.Lists[list] = append(w.cloud.Lists[list], o)
}

func (w *world) addMachine(m cluster.Machine) {
	tags := list("cluster=prod", "role="+string(m.Role))
	port := "port-" + m.ID
	w.add("networking/port:Port", m.ID, port, "ports",
		object{"name": m.ID, "adminStateUp": true, "networkId": "net", "securityGroupIds": list("group-etcd"), "tags": tags,
			"fixedIps": list(object{"__defaults": list("x"), "subnetId": "subnet", "ipAddress": m.Address.String()})},
		object{"name": m.ID, "admin_state_up": true, "network_id": "net", "security_groups": list("group-etcd"),
			"tags": tags, "fixed_ips": list(object{"subnet_id": "subnet", "ip_address": m.Address.String()}),
			"allowed_address_pairs": list(), "port_security_enabled": true, "status": "DOWN"})
	metadata := object{"cluster": "prod", "role": string(m.Role)}
	w.add("compute/instance:Instance", m.ID, "server-"+m.ID, "servers",
		object{"name": m.ID, "powerState": "active", "metadata": metadata, "networks": list(object{"port": port})},
		object{"name": m.ID, "status": "ACTIVE", "metadata": metadata, "networks": list(object{"port": port}),
			"flavor": object{"id": "1"}, "image": "", "key_name": nil, "OS-EXT-AZ:availability_zone": "nova"})
	w.stack.Resources[len(w.stack.Resources)-1].Outputs = object{"flavorId": "1", "imageId": "attempt to boot from volume"}
	w.stack.Outputs["machines"].(object)[m.ID] = object{"address": m.Address.String()}
	w.observed.Consoles[m.ID] = readiness.Summary{Reported: true, Ready: true}
	if m.Role == cluster.RoleEtcd {
		return
	}
	if m.Role == cluster.RoleControlPlane {
		w.observed.APIServers = append(w.observed.APIServers, m.Address.String())
	}
	n := status.Node{Name: m.ID, Instance: "server-" + m.ID, Kubelet: w.plan.Kubernetes.Version,
		Runtime: "containerd://" + version(m, "containerd"), OSImage: "CentOS Stream 9",
		Labels:     map[string]string{"kubernetes.io/hostname": m.ID},
		ServingEnd: now.AddDate(1, 0, 0), ClientEnd: now.AddDate(1, 0, 0)}
	maps.Copy(n.Labels, m.Labels)
	for _, taint := range m.Taints {
		n.Taints = append(n.Taints, taint.Key+"="+taint.Value+":"+taint.Effect)
	}
	w.observed.Nodes = append(w.observed.Nodes, n)
}

// object returns the object with this ID in a list.
func (w *world) object(list, id string) object {
	i := slices.IndexFunc(w.cloud.Lists[list], func(o object) bool { return o["id"] == id })
	return w.cloud.Lists[list][i]
}

// node returns a node.
func (w *world) node(name string) *status.Node {
	i := slices.IndexFunc(w.observed.Nodes, func(n status.Node) bool { return n.Name == name })
	return &w.observed.Nodes[i]
}

// remove removes an object from the cloud.
func (w *world) remove(list, id string) {
	w.cloud.Lists[list] = slices.DeleteFunc(w.cloud.Lists[list], func(o object) bool { return o["id"] == id })
}

// drifts are all kinds of differences. Each has one finding, "MACHINE|KIND|NAME|TEXT".
var drifts = []struct {
	name   string
	change func(*world)
	want   string
}{
	{"deleted instance", func(w *world) { w.remove("servers", "server-prod-a-0") },
		"prod-a-0|instance||OpenStack has no instance server-prod-a-0"},
	{"stopped instance", func(w *world) { w.object("servers", "server-prod-a-1")["status"] = "SHUTOFF" },
		"prod-a-1|instance||powerState is SHUTOFF, not active"},
	{"resized instance", func(w *world) { w.object("servers", "server-prod-a-1")["flavor"] = object{"id": "2"} },
		"prod-a-1|instance||flavorId is 2, not 1"},
	{"detached port", func(w *world) { w.object("servers", "server-prod-a-1")["networks"] = list() },
		`prod-a-1|instance||networks is [], not [{"port":"port-prod-a-1"}]`},
	{"second instance", func(w *world) {
		w.cloud.Lists["servers"] = append(w.cloud.Lists["servers"], object{"id": "second", "name": "prod-a-1"})
	}, "prod-a-1|instance||belongs to no resource of the stack: second"},
	{"renamed port", func(w *world) { w.object("ports", "port-prod-etcd-0")["name"] = "mine" },
		"prod-etcd-0|port||name is mine, not prod-etcd-0"},
	{"port without its group", func(w *world) {
		w.object("ports", "port-prod-etcd-0")["security_groups"] = list("default", "group-etcd")
	}, "prod-etcd-0|port||securityGroupIds is [default, group-etcd], not [group-etcd]"},
	{"address pair", func(w *world) {
		w.object("ports", "port-prod-etcd-0")["allowed_address_pairs"] = list(object{"ip_address": "0.0.0.0/0"})
	}, `prod-etcd-0|port||allowedAddressPairs is [{"ip_address":"0.0.0.0/0"}], not empty`},
	{"other address", func(w *world) {
		w.object("ports", "port-prod-etcd-0")["fixed_ips"] = list(object{"subnet_id": "subnet", "ip_address": "10.0.0.99"})
	}, `prod-etcd-0|port||fixedIps is [{"ipAddress":"10.0.0.99","subnetId":"subnet"}], not ` +
		`[{"ipAddress":"10.0.0.16","subnetId":"subnet"}]`},
	{"forgotten port", func(w *world) {
		w.cloud.Lists["ports"] = append(w.cloud.Lists["ports"], object{"id": "old", "name": "prod-b-0",
			"tags": list("cluster=prod", "role=worker")})
	}, "|port|prod-b-0|belongs to no resource of the stack: old"},
	{"added rule", func(w *world) {
		w.cloud.Lists["security_group_rules"] = append(w.cloud.Lists["security_group_rules"], object{"id": "hole",
			"security_group_id": "group-etcd", "direction": "ingress", "protocol": "tcp", "port_range_min": 2379.0,
			"port_range_max": 2380.0, "remote_ip_prefix": "0.0.0.0/0"})
	}, "|rule|prod-etcd tcp 2379-2380 from 0.0.0.0/0|belongs to no resource of the stack: hole"},
	{"deleted rule", func(w *world) { w.remove("security_group_rules", "rule-1") },
		"|rule|prod-etcd-ssh|OpenStack has no rule rule-1"},
	{"router without a gateway", func(w *world) { w.object("routers", "router-1")["external_gateway_info"] = nil },
		"|router|prod|externalNetworkId is empty, not external"},
	{"deleted container", func(w *world) { w.cloud.Lists["containers"] = []object{} },
		"|container|prod-etcd|OpenStack has no container prod-etcd"},
	{"unreachable Nova", func(w *world) {
		delete(w.cloud.Lists, "servers")
		w.cloud.Unread["servers"] = "connection refused"
	}, "|OpenStack API|servers|cannot be read: connection refused"},
	{"unreachable API", func(w *world) {
		w.observed = status.Cluster{Time: now, Unread: []status.Unread{{What: status.API, Reason: "no route to host"}}}
	}, "|Kubernetes API||cannot be read: no route to host"},
	{"other version", func(w *world) { w.observed.Version = "1.30.0" },
		"|Kubernetes API||version is 1.30.0, not 1.36.3"},
	{"failing check", func(w *world) { w.observed.FailingChecks = []string{"etcd"} },
		"|Kubernetes API|etcd|the check fails in /readyz"},
	{"stopped API server", func(w *world) { w.observed.APIServers = w.observed.APIServers[:1] },
		"prod-control-plane-1|Kubernetes API||kube-apiserver does not serve"},
	{"other kubelet", func(w *world) { w.node("prod-a-0").Kubelet = "1.30.0" },
		"prod-a-0|node||version of kubelet is 1.30.0, not 1.36.3"},
	{"other runtime", func(w *world) { w.node("prod-a-0").Runtime = "containerd://2.0.0" },
		"prod-a-0|node||container runtime is containerd://2.0.0, not containerd://2.3.4"},
	{"other operating system", func(w *world) { w.node("prod-a-0").OSImage = "Debian" },
		"prod-a-0|node||operating system is Debian, not CentOS Stream 9"},
	{"other instance", func(w *world) { w.node("prod-a-0").Instance = "new" },
		"prod-a-0|node||instance is new, not server-prod-a-0"},
	{"node that is not Ready", func(w *world) { w.node("prod-a-0").NotReady = "NodeStatusUnknown: no heartbeat" },
		"prod-a-0|node||is not Ready: NodeStatusUnknown: no heartbeat"},
	{"cordoned node", func(w *world) { w.node("prod-a-0").Cordoned = true },
		"prod-a-0|node||is cordoned: it accepts no new pods"},
	{"pressure", func(w *world) { w.node("prod-a-0").Problems = []string{"DiskPressure: the disk is full"} },
		"prod-a-0|node||DiskPressure: the disk is full"},
	{"changed label", func(w *world) { w.node("prod-a-0").Labels["kubernetes-openstack/pool"] = "b" },
		"prod-a-0|node||label kubernetes-openstack/pool is b, not a"},
	{"removed taint", func(w *world) { w.node("prod-control-plane-0").Taints = nil },
		"prod-control-plane-0|node||has no taint node-role.kubernetes.io/control-plane=:NoSchedule"},
	{"deleted node", func(w *world) {
		w.observed.Nodes = slices.DeleteFunc(w.observed.Nodes, func(n status.Node) bool { return n.Name == "prod-a-1" })
	}, "prod-a-1|node||is not registered"},
	{"foreign node", func(w *world) {
		w.observed.Nodes = append(w.observed.Nodes, status.Node{Name: "x",
			OSImage: "CentOS Stream 9"})
	}, "x|node||is not in the state"},
	{"kubelet does not renew", func(w *world) { w.node("prod-a-0").ServingEnd = now.AddDate(0, 0, 29) },
		"prod-a-0|certificate|serving certificate of kubelet|expires 2027-03-01, in 29 days"},
	{"expired certificate", func(w *world) { w.node("prod-a-0").ClientEnd = now.AddDate(0, 0, -1) },
		"prod-a-0|certificate|client certificate of kubelet|expired 2027-01-30"},
	{"certificate of another state", func(w *world) {
		w.observed.Served = []status.Certificate{{Name: "prod-etcd-0", PEM: "x", End: now}}
	}, "prod-etcd-0|certificate|server|is not in the state, and expires 2027-01-31"},
	{"pending request", func(w *world) {
		w.observed.Requests = []status.Request{{Name: "csr-1", Signer: "kubernetes.io/kubelet-serving",
			User: "system:node:prod-a-0", Age: time.Hour}, {Name: "csr-2", Age: time.Second}}
	}, "|certificate request|csr-1|is pending: kubernetes.io/kubelet-serving, of system:node:prod-a-0"},
	{"failing unit", func(w *world) {
		w.observed.Consoles["prod-etcd-0"] = readiness.Summary{Reported: true,
			Unfinished: []string{"etcd: waiting: no quorum, no answer from prod-etcd-1"}}
	}, "prod-etcd-0|unit|etcd|is waiting: no quorum, no answer from prod-etcd-1"},
	{"BGP session", func(w *world) {
		w.observed.Consoles["prod-a-0"] = readiness.Summary{Reported: true, Ready: true,
			Notices: map[string]string{"calico-peers": "no BGP session with 10.0.0.1: no answer"}}
	}, "prod-a-0|BGP session|calico-peers|no BGP session with 10.0.0.1: no answer"},
	{"unreachable member", func(w *world) {
		w.observed.Unread = []status.Unread{{What: status.EtcdServer, Name: "prod-etcd-0", Reason: "connection refused"}}
		w.stack.Resources = append(w.stack.Resources, certificate(w, "prod-etcd-1"))
	}, "prod-etcd-0|etcd server||cannot be read: connection refused"},
}

// certificate adds the certificate that a server presents, and returns it as a resource of the state.
func certificate(w *world, server string) status.Resource {
	r := status.Resource{Type: "tls:index/locallySignedCert:LocallySignedCert", Name: "prod-x",
		Outputs: object{"certPem": pemOf(now.AddDate(3, 0, 0))}}
	c := status.Stack{Resources: []status.Resource{r}}.Certificates()[0]
	c.Name = server
	w.observed.Served = append(w.observed.Served, c)
	return r
}

func (w *world) find() Report { return Find(&w.plan, w.stack, w.cloud, w.observed) }

func line(f Finding) string { return strings.Join([]string{f.Machine, f.Kind, f.Name, f.Text}, "|") }

func TestNoDrift(t *testing.T) {
	r := newWorld(t).find()
	assert.Empty(t, r.Findings)
	assert.Empty(t, r.Unknown)
	assert.Equal(t, "prod: no drift\n", r.String())
}

// TestEachDrift checks that each kind of difference gives exactly one finding.
func TestEachDrift(t *testing.T) {
	for _, row := range drifts {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			row.change(w)
			var got []string
			for _, f := range w.find().Findings {
				got = append(got, line(f))
			}
			assert.Equal(t, []string{row.want}, got)
		})
	}
}

// TestWithoutPlan checks that without a plan only versions, labels and taints are not compared.
func TestWithoutPlan(t *testing.T) {
	for _, row := range drifts {
		w := newWorld(t)
		row.change(w)
		want := 1
		if slices.Contains([]string{"other version", "other kubelet", "other runtime", "changed label", "removed taint"},
			row.name) {
			want = 0
		}
		assert.Len(t, Find(nil, w.stack, w.cloud, w.observed).Findings, want, row.name)
	}
}

// TestEmptyLists checks that a cluster without nodes or without API servers has a finding for each of them.
func TestEmptyLists(t *testing.T) {
	w := newWorld(t)
	nodes, servers := len(w.observed.Nodes), len(w.observed.APIServers)
	w.observed.Nodes = []status.Node{}
	assert.Len(t, w.find().Findings, nodes)
	w.observed.APIServers = []string{}
	assert.Len(t, w.find().Findings, nodes+servers)
}

// TestUnknown checks that a cloud without consoles, and members of etcd that only nodes reach, are no differences.
func TestUnknown(t *testing.T) {
	w := newWorld(t)
	w.observed.Consoles["prod-a-0"] = readiness.Summary{}
	w.observed.Unread = []status.Unread{
		{What: status.Console, Name: "prod-a-1", Reason: "501 Not Implemented"},
		{What: status.EtcdServer, Name: "prod-etcd-0", Reason: "i/o timeout"},
		{What: status.EtcdServer, Name: "prod-etcd-1", Reason: "i/o timeout"},
	}
	r := w.find()
	assert.Empty(t, r.Findings)
	assert.Equal(t, []string{
		"prod-a-1: cannot read its console: 501 Not Implemented",
		"members of etcd are unreachable from this host, so the certificates that they use are unknown: prod-etcd-0, " +
			"prod-etcd-1",
		"prod-a-0: its console has no report",
	}, r.Unknown)
}

// TestKeyPairOfAnotherUser checks that a key pair which OpenStack can hide from this user is unknown. A deleted one of
// this user is a difference. Without an instance, the owner is unknown.
func TestKeyPairOfAnotherUser(t *testing.T) {
	const missing = "|key pair|prod|OpenStack has no key pair prod"
	for owner, want := range map[string][]string{"owner": nil, "reader": {missing}, "": nil} {
		w := newWorld(t)
		w.cloud.User, w.cloud.Lists["keypairs"] = "reader", []object{}
		w.stack.Resources = append(w.stack.Resources, status.Resource{Type: "openstack:compute/keypair:Keypair",
			Name: "prod", ID: "prod"})
		if owner != "" {
			server := w.object("servers", "server-prod-a-0")
			server["key_name"], server["user_id"] = "prod", owner
		}
		r := w.find()
		var got []string
		for _, f := range r.Findings {
			got = append(got, line(f))
		}
		assert.Equal(t, want, got, owner)
		assert.Equal(t, want == nil, len(r.Unknown) == 1, "%s: %s", owner, r.Unknown)
	}
}

// TestEnds checks from which day the end of a certificate in the state is a finding.
func TestEnds(t *testing.T) {
	for days, want := range map[int]int{91: 0, 89: 1, -1: 1} {
		w := newWorld(t)
		w.stack.Resources = append(w.stack.Resources, status.Resource{
			Type: "tls:index/selfSignedCert:SelfSignedCert", Name: "prod-etcd-ca",
			Outputs: object{"certPem": pemOf(now.AddDate(0, 0, days))}})
		assert.Len(t, w.find().Findings, want, days)
	}
}

// TestReport compares the table and the JSON of a cluster with many differences with files.
func TestReport(t *testing.T) {
	w := newWorld(t)
	for _, row := range drifts {
		if !strings.HasPrefix(row.name, "unreachable") && row.name != "second instance" {
			row.change(w)
		}
	}
	w.observed.Unread = []status.Unread{{What: status.Console, Name: "prod-a-1", Reason: "501 Not Implemented"}}
	r := w.find()
	golden.Check(t, "report.txt", r.String())
	encoded, err := json.MarshalIndent(r.Findings[:2], "", "  ")
	require.NoError(t, err)
	golden.Check(t, "findings.json", string(encoded)+"\n")
}

// TestReportHasNoControlCharacters puts an escape code into each text that others choose.
func TestReportHasNoControlCharacters(t *testing.T) {
	const hostile = "\x1b]0;title\x07\u009b31m\u202e\r\nforged line\t"
	for name, change := range map[string]func(*world){
		"name of a node": func(w *world) { w.observed.Nodes = append(w.observed.Nodes, status.Node{Name: hostile}) },
		"condition":      func(w *world) { w.node("prod-a-0").NotReady = hostile },
		"request": func(w *world) {
			w.observed.Requests = []status.Request{{Name: hostile, Signer: hostile, User: hostile, Age: time.Hour}}
		},
		"notice": func(w *world) {
			w.observed.Consoles["prod-a-0"] = readiness.Summary{Reported: true, Notices: map[string]string{"x": hostile}}
		},
		"unread console": func(w *world) {
			w.observed.Unread = []status.Unread{{What: status.Console, Name: "prod-a-1", Reason: hostile}}
		},
		"unread list": func(w *world) { w.cloud.Unread["servers"] = hostile },
		"name of a port": func(w *world) {
			w.cloud.Lists["ports"] = append(w.cloud.Lists["ports"], object{"id": "x", "name": hostile,
				"tags": list("cluster=prod")})
		},
	} {
		w := newWorld(t)
		change(w)
		text := w.find().String()
		assert.Contains(t, text, "title", name)
		assert.NotContains(t, text, "\nforged", name)
		assert.NotRegexp(t, `[^\n[:print:]]`, text, name)
	}
}

// TestReadCloud checks that only GET requests are sent after the login, that all pages and all kinds are read, and that
// a cloud that fails gives a reason for each list.
func TestReadCloud(t *testing.T) {
	c := fake.Start(t, "compute", "block-storage", "network", "load-balancer")
	for key, value := range c.Env() {
		t.Setenv(key, value)
	}
	c.Add("servers", fake.Thing{Object: object{"id": "server", "name": "prod-a-0"}})
	c.Add("ports", fake.Thing{Object: object{"id": "port", "device_id": "server"}})
	c.Add("ports", fake.Thing{Object: object{"id": "other", "project_id": "theirs"}})
	c.Add("volumes", fake.Thing{Object: object{"id": "volume", "attachments": list(object{"server_id": "server"})}})
	project, err := openstack.Connect(t.Context(), Services...)
	require.NoError(t, err)
	cloud := ReadCloud(t.Context(), project, time.Minute)
	assert.Empty(t, cloud.Unread)
	assert.Equal(t, project.UserID, cloud.User)
	assert.NotEmpty(t, cloud.User)
	for _, k := range kinds {
		if k.list != "containers" { // this cloud has no Swift
			assert.Contains(t, slices.Collect(maps.Keys(cloud.Lists)), k.list)
		}
	}
	require.Len(t, cloud.Lists["ports"], 1)
	assert.Equal(t, list(object{"port": "port"}), cloud.Lists["servers"][0]["networks"])
	assert.Equal(t, []object{{"id": "server/volume"}}, cloud.Lists["attachments"])
	for _, request := range c.Requests("") {
		assert.Regexp(t, `^(GET |POST /v3/auth/tokens$)`, request)
	}

	c.Down(true)
	cloud = ReadCloud(t.Context(), project, time.Minute)
	assert.Empty(t, cloud.Lists)
	assert.Len(t, cloud.Unread, 16)
	assert.Contains(t, cloud.Unread["servers"], "503")
}

// pemOf returns a certificate with this end.
func pemOf(end time.Time) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.AddDate(-3, 0, 0), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
