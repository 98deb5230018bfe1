package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fake starts an OpenStack with these objects, by the path of their list. It filters lists as the real one
// does.
func fake(t *testing.T, held map[string][]object) *cloud {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		write := func(body any) { assert.NoError(t, json.NewEncoder(w).Encode(body)) }
		kind := path.Base(r.URL.Path)
		if all, ok := held[r.URL.Path]; ok {
			some := []object{}
			for _, o := range all {
				if matches(t, o, r) {
					some = append(some, o)
				}
			}
			key := map[string]string{"detail": path.Base(path.Dir(r.URL.Path)), "os-server-groups": "server_groups"}[kind]
			if key == "" {
				key = strings.ReplaceAll(kind, "-", "_")
			}
			write(object{key: some})
			return
		}
		for _, o := range held[path.Dir(r.URL.Path)] {
			if o["id"] != kind && o["name"] != kind {
				continue
			}
			if etag, _ := o["etag"].(string); strings.HasPrefix(r.URL.Path, "/v1/") { // Swift
				w.Header().Set("ETag", etag)
				return
			}
			write(object{map[string]string{"os-keypairs": "keypair", "os-volume_attachments": "volumeAttachment",
				"servers": "server", "volumes": "volume"}[path.Base(path.Dir(r.URL.Path))]: o})
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	client := func(prefix string) *gophercloud.ServiceClient {
		provider := &gophercloud.ProviderClient{TokenID: "t"}
		return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: server.URL + prefix,
			ResourceBase: server.URL + prefix}
	}
	return &cloud{ID: "ours", UserID: "us",
		Network: client("/v2.0/"), Compute: client("/v2.1/"), Volume: client("/v3/"), Identity: client("/v3/"),
		ObjectStore: client("/v1/AUTH_ours/")}
}

func matches(t *testing.T, o object, r *http.Request) bool {
	for key, values := range r.URL.Query() {
		for _, value := range values {
			got, _ := o[key].(string)
			switch {
			case key == "fixed_ips":
				field, want, _ := strings.Cut(value, "=")
				if got, _ := o["fixed_ips"].([]object); len(got) == 0 || got[0][field] != want {
					return false
				}
			case strings.HasPrefix(r.URL.Path, "/v2.1/servers") && key == "name":
				if !regexp.MustCompile(value).MatchString(got) {
					return false
				}
			case got != value:
				return false
			}
		}
	}
	return true
}

// samples has the inputs of each type, and a list in which exactly one object matches them.
var samples = map[string]struct {
	inputs string
	list   string
	ours   object
	others []object
	id     string
}{
	networkTyp: {
		`{"name": "dev", "tags": ["cluster=dev"]}`, "/v2.0/networks",
		object{"id": "n", "name": "dev", "project_id": "ours", "tags": []string{}},
		[]object{
			{"id": "name", "name": "dev2", "project_id": "ours"},
			{"id": "project", "name": "dev", "project_id": "theirs"},
			{"id": "tags", "name": "dev", "project_id": "ours", "tags": []string{"owner=me"}},
			{"id": "age", "name": "dev", "project_id": "ours", "created_at": "2026-11-22T11:50:00Z"},
		}, "n",
	},
	"openstack:networking/subnet:Subnet": {
		`{"name": "dev", "networkId": "n", "cidr": "10.0.0.0/24"}`, "/v2.0/subnets",
		object{"id": "s", "name": "dev", "network_id": "n", "cidr": "10.0.0.0/24"},
		[]object{{"id": "network", "name": "dev", "network_id": "n2", "cidr": "10.0.0.0/24"}}, "s",
	},
	"openstack:networking/router:Router": {
		`{"name": "dev"}`, "/v2.0/routers",
		object{"id": "r", "name": "dev", "project_id": "ours"},
		[]object{{"id": "project", "name": "dev", "project_id": "theirs"}}, "r",
	},
	"openstack:networking/routerInterface:RouterInterface": {
		`{"routerId": "r", "subnetId": "s"}`, "/v2.0/ports",
		object{"id": "i", "device_id": "r", "fixed_ips": []object{{"subnet_id": "s"}}},
		[]object{
			{"id": "gateway", "device_id": "r", "fixed_ips": []object{{"subnet_id": "external"}}},
			{"id": "machine", "device_id": "m", "fixed_ips": []object{{"subnet_id": "s"}}},
		}, "i",
	},
	"openstack:networking/port:Port": {
		`{"name": "dev-etcd-0", "networkId": "n", "fixedIps": [{"subnetId": "s", "ipAddress": "10.0.0.16"}], "tags": ` +
			`["cluster=dev", "role=etcd"]}`, "/v2.0/ports",
		object{"id": "p", "name": "dev-etcd-0", "network_id": "n", "tags": []string{"role=etcd", "cluster=dev"},
			"fixed_ips": []object{{"subnet_id": "s", "ip_address": "10.0.0.16"}}},
		[]object{
			{"id": "network", "name": "dev-etcd-0", "network_id": "n2",
				"fixed_ips": []object{{"subnet_id": "s", "ip_address": "10.0.0.16"}}},
			{"id": "address", "name": "dev-etcd-0", "network_id": "n",
				"fixed_ips": []object{{"subnet_id": "s", "ip_address": "10.0.0.17"}}},
		}, "p",
	},
	"openstack:networking/floatingIp:FloatingIp": {
		`{"pool": "public", "description": "API of dev", "tags": ["cluster=dev"]}`, "/v2.0/floatingips",
		object{"id": "f", "description": "API of dev", "project_id": "ours"},
		[]object{
			{"id": "description", "description": "", "project_id": "ours"},
			{"id": "project", "description": "API of dev", "project_id": "theirs"},
			{"id": "tags", "description": "API of dev", "project_id": "ours", "tags": []string{"owner=me"}},
		}, "f",
	},
	"openstack:networking/floatingIpAssociate:FloatingIpAssociate": {
		`{"floatingIp": "203.0.113.10", "portId": "p"}`, "/v2.0/floatingips",
		object{"id": "f", "floating_ip_address": "203.0.113.10", "port_id": "p"},
		[]object{
			{"id": "free", "floating_ip_address": "203.0.113.10", "port_id": nil},
			{"id": "address", "floating_ip_address": "203.0.113.11", "port_id": "p"},
		}, "f",
	},
	"openstack:networking/secGroup:SecGroup": {
		`{"name": "dev-etcd", "description": "etcd machines of dev"}`, "/v2.0/security-groups",
		object{"id": "g", "name": "dev-etcd", "description": "etcd machines of dev", "project_id": "ours"},
		[]object{{"id": "description", "name": "dev-etcd", "description": "mine", "project_id": "ours"}}, "g",
	},
	"openstack:networking/secGroupRule:SecGroupRule": {
		`{"securityGroupId": "g", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "portRangeMin": 2379, ` +
			`"portRangeMax": 2379, "remoteIpPrefix": "10.0.0.16/28"}`,
		"/v2.0/security-group-rules",
		object{"id": "ru", "security_group_id": "g", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
			"port_range_min": 2379, "port_range_max": 2379, "remote_ip_prefix": "10.0.0.16/28"},
		[]object{
			{"id": "all", "security_group_id": "g", "direction": "ingress", "ethertype": "IPv4",
				"remote_ip_prefix": "10.0.0.16/28"},
			{"id": "port", "security_group_id": "g", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
				"port_range_min": 2380, "port_range_max": 2380, "remote_ip_prefix": "10.0.0.16/28"},
			{"id": "prefix", "security_group_id": "g", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
				"port_range_min": 2379, "port_range_max": 2379, "remote_ip_prefix": "10.0.0.32/28"},
			{"id": "group", "security_group_id": "g2", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
				"port_range_min": 2379, "port_range_max": 2379, "remote_ip_prefix": "10.0.0.16/28"},
		}, "ru",
	},
	"openstack:compute/serverGroup:ServerGroup": {
		`{"name": "dev-etcd"}`, "/v2.1/os-server-groups",
		object{"id": "sg", "name": "dev-etcd"}, []object{{"id": "name", "name": "dev-worker"}}, "sg",
	},
	"openstack:compute/keypair:Keypair": {
		`{"name": "dev", "publicKey": "ssh-ed25519 A\n"}`, "/v2.1/os-keypairs",
		object{"name": "dev", "public_key": "ssh-ed25519 A"}, nil, "dev",
	},
	"openstack:identity/applicationCredential:ApplicationCredential": {
		`{"name": "dev-1", "description": "controllers of dev"}`, "/v3/users/us/application_credentials",
		object{"id": "a", "name": "dev-1", "description": "controllers of dev", "project_id": "ours"},
		[]object{
			{"id": "name", "name": "dev-2", "description": "controllers of dev", "project_id": "ours"},
			{"id": "description", "name": "dev-1", "description": "mine", "project_id": "ours"},
			{"id": "project", "name": "dev-1", "description": "controllers of dev", "project_id": "theirs"},
		}, "a",
	},
	instance: {
		`{"name": "dev-etcd-0", "metadata": {"cluster": "dev", "role": "etcd"}}`, "/v2.1/servers/detail",
		object{"id": "m", "name": "dev-etcd-0", "metadata": object{"cluster": "dev", "role": "etcd"}},
		[]object{
			{"id": "name", "name": "dev-etcd-01", "metadata": object{"cluster": "dev", "role": "etcd"}},
			{"id": "metadata", "name": "dev-etcd-0"},
		}, "m",
	},
	"openstack:compute/volumeAttach:VolumeAttach": {
		`{"instanceId": "m", "volumeId": "v"}`, "/v2.1/servers/m/os-volume_attachments",
		object{"id": "v", "volumeId": "v", "serverId": "m"}, []object{{"id": "v2", "volumeId": "v2", "serverId": "m"}}, "m/v",
	},
	"openstack:blockstorage/volume:Volume": {
		`{"name": "dev-etcd-0", "metadata": {"cluster": "dev", "role": "etcd"}}`, "/v3/volumes/detail",
		object{"id": "v", "name": "dev-etcd-0", "metadata": object{"cluster": "dev", "role": "etcd"}},
		[]object{{"id": "metadata", "name": "dev-etcd-0", "metadata": object{"cluster": "prod", "role": "etcd"}}}, "v",
	},
	"openstack:objectstorage/container:Container": {
		`{"name": "dev-etcd", "forceDestroy": true}`, "/v1/AUTH_ours",
		object{"name": "dev-etcd"}, []object{{"name": "dev-etcd2"}}, "dev-etcd",
	},
	objectTyp: {
		`{"containerName": "dev-etcd", "name": "saved.db", "source": "./saved.db", "etag": "900150983cd24fb0"}`,
		"/v1/AUTH_ours/dev-etcd",
		object{"name": "saved.db", "etag": "900150983cd24fb0"}, []object{{"name": "saved"}}, "dev-etcd/saved.db",
	},
}

const objectTyp = "openstack:objectstorage/containerObject:ContainerObject"

// createOf returns a state with a pending create of the type, and the create.
func createOf(t *testing.T, resources, typ string) (*state, []create) {
	t.Helper()
	s := export(t, resources, creating(`{"urn": "urn:pulumi:dev::p::`+typ+`::x", "custom": true, "type": "`+typ+
		`", "inputs": `+samples[typ].inputs+`}`))
	creates, err := s.creates()
	require.NoError(t, err)
	return s, creates
}

func TestFind(t *testing.T) {
	for typ, sample := range samples {
		t.Run(typ, func(t *testing.T) {
			held := map[string][]object{
				sample.list:   append([]object{sample.ours}, sample.others...),
				"/v3/volumes": {{"id": "v", "status": "in-use"}},
			}
			find := func(resources string) map[string][]candidate {
				s, creates := createOf(t, resources, typ)
				found, busy, err := find(context.Background(), fake(t, held), creates, s)
				require.NoError(t, err)
				assert.Empty(t, busy)
				return found
			}
			found := find("")
			require.Len(t, found, 1)
			ours := found["urn:pulumi:dev::p::"+typ+"::x"]
			require.Len(t, ours, 1)
			assert.Equal(t, sample.id, ours[0].ID)
			replaced := []string{instance, "openstack:identity/applicationCredential:ApplicationCredential"}
			assert.Equal(t, slices.Contains(replaced, typ), ours[0].Redo != "")

			assert.Empty(t, find(`{"urn": "urn:x", "type": "`+typ+`", "id": "`+sample.id+`"}`), "in the state already")
			held[sample.list] = sample.others
			assert.Empty(t, find(""), "nothing there")
		})
	}
}

func TestFindForeignKeypair(t *testing.T) {
	const typ = "openstack:compute/keypair:Keypair"
	s, creates := createOf(t, "", typ)
	found, _, err := find(context.Background(), fake(t, map[string][]object{
		samples[typ].list: {{"name": "dev", "public_key": "ssh-ed25519 B"}},
	}), creates, s)
	require.NoError(t, err)
	assert.Empty(t, found)
}

// TestFindOtherUpload checks that an object of an earlier upload is no candidate, so the next create replaces it.
func TestFindOtherUpload(t *testing.T) {
	s, creates := createOf(t, "", objectTyp)
	found, _, err := find(context.Background(), fake(t, map[string][]object{
		samples[objectTyp].list: {{"name": "saved.db", "etag": "another"}},
	}), creates, s)
	require.NoError(t, err)
	assert.Empty(t, found)
}

// TestFindWithoutSwift checks that a create in a cloud without Swift has left nothing.
func TestFindWithoutSwift(t *testing.T) {
	for _, typ := range []string{"openstack:objectstorage/container:Container", objectTyp} {
		s, creates := createOf(t, "", typ)
		c := fake(t, nil)
		c.ObjectStore = nil
		found, _, err := find(context.Background(), c, creates, s)
		require.NoError(t, err)
		assert.Empty(t, found)
	}
}

func TestFindTooMany(t *testing.T) {
	s, creates := createOf(t, "", networkTyp)
	c := fake(t, map[string][]object{"/v2.0/networks": {
		{"id": "younger", "name": "dev", "project_id": "ours", "created_at": "2026-11-22T12:02:00Z"},
		{"id": "older", "name": "dev", "project_id": "ours", "created_at": "2026-11-22T12:01:00Z"},
	}})
	_, _, err := find(context.Background(), c, creates, s)
	require.ErrorContains(t, err, networkTyp+
		" x: its create was interrupted or failed 1 times, but OpenStack has 2 matching resources")
	assert.ErrorContains(t, err, "older created 2026-11-22T12:01:00Z")
	assert.ErrorContains(t, err, "younger created 2026-11-22T12:02:00Z")

	creates[0].Times = 2 // interrupted twice: both belong to it
	found, _, err := find(context.Background(), c, creates, s)
	require.NoError(t, err)
	both := found[creates[0].URN]
	require.Len(t, both, 2)
	assert.Equal(t, "older", both[0].ID)
	assert.True(t, s.adopt(creates[0], both[0]))
	assert.False(t, s.adopt(creates[0], both[1]), "one stays, the other is deleted")
}

// TestFindBuilding checks that resume waits for a resource that OpenStack still creates or deletes.
func TestFindBuilding(t *testing.T) {
	volume := func(status string) object {
		return object{"id": "x", "name": "dev-etcd-0", "status": status, "metadata": object{"cluster": "dev", "role": "etcd"}}
	}
	server := func(status string, task any) object {
		return object{"id": "x", "name": "dev-etcd-0", "status": status, "OS-EXT-STS:task_state": task,
			"metadata": object{"cluster": "dev", "role": "etcd"}}
	}
	const volumeType = "openstack:blockstorage/volume:Volume"
	const noUserData = "Nova does not return its user-data"
	for name, test := range map[string]struct {
		typ, kind string
		existing  object
		building  bool
		redo      string
	}{
		"new volume":             {volumeType, "/v3/volumes", volume("creating"), true, ""},
		"volume":                 {volumeType, "/v3/volumes", volume("available"), false, ""},
		"volume being deleted":   {volumeType, "/v3/volumes", volume("deleting"), true, ""},
		"failed volume":          {volumeType, "/v3/volumes", volume("error"), false, "its status is error"},
		"new instance":           {instance, "/v2.1/servers", server("BUILD", "spawning"), true, noUserData},
		"instance":               {instance, "/v2.1/servers", server("ACTIVE", nil), false, noUserData},
		"deleted instance":       {instance, "/v2.1/servers", server("DELETED", nil), true, noUserData},
		"instance being deleted": {instance, "/v2.1/servers", server("ACTIVE", "deleting"), true, noUserData},
	} {
		t.Run(name, func(t *testing.T) {
			s, creates := createOf(t, "", test.typ)
			c := fake(t, map[string][]object{samples[test.typ].list: {test.existing}, test.kind: {test.existing}})
			found, busy, err := find(t.Context(), c, creates, s)
			require.NoError(t, err)
			want := candidate{ID: "x", Building: test.building, Redo: test.redo}
			assert.Equal(t, []candidate{want}, found[creates[0].URN])
			assert.Equal(t, test.building, len(busy) > 0)

			busy, err = stillDeleting(t.Context(), c, []object{{"type": test.typ, "id": "x", "urn": "urn:pulumi:dev::p::t::x"}})
			require.NoError(t, err)
			assert.Equal(t, test.building, len(busy) > 0, "a pending delete")
			busy, err = stillDeleting(t.Context(), c,
				[]object{{"type": test.typ, "id": "gone"}, {"type": networkTyp, "id": "n"}})
			require.NoError(t, err)
			assert.Empty(t, busy)
		})
	}
}

func TestFindUnknownType(t *testing.T) {
	s := export(t, "", creating(
		`{"urn": "urn:pulumi:dev::p::openstack:dns/zone:Zone::z", "custom": true, "type": "openstack:dns/zone:Zone"}`))
	creates, err := s.creates()
	require.NoError(t, err)
	_, _, err = find(context.Background(), fake(t, nil), creates, s)
	assert.ErrorContains(t, err, "openstack:dns/zone:Zone z: resume does not support this type")
}

// TestFindersSupportAllTypes fails if the program declares a type that resume does not support.
func TestFindersSupportAllTypes(t *testing.T) {
	golden, err := os.ReadFile("../../tests/testdata/dev.golden")
	require.NoError(t, err)
	types := regexp.MustCompile(`(?m)^ *(openstack:\S+/\S+:\S+) `).FindAllStringSubmatch(string(golden), -1)
	require.NotEmpty(t, types)
	for _, match := range types {
		assert.Contains(t, finders, match[1])
		assert.Contains(t, samples, match[1])
	}
}
