package cluster

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/field"
	"kubernetes-openstack/internal/tenancy"
)

// tenants returns the small configuration with tenancy, as an object.
func tenants(t *testing.T) map[string]any {
	t.Helper()
	object := valid(t)
	set(object, "tenancy", map[string]any{
		"enabled": true, "reader": map[string]any{"username": "reader", "password": "secret"},
	})
	set(object, "artifacts", map[string]any{"mirror": "https://mirror.example.com", "checksums": map[string]any{
		"tenant-sync": strings.Repeat("0", 64), "keystone-webhook": strings.Repeat("1", 64),
		"node-approver": strings.Repeat("2", 64),
	}})
	return object
}

func TestTenancy(t *testing.T) {
	object := tenants(t)
	p := NewPlan(decoded(t, object))
	assert.Equal(t, Tenancy{
		Enabled: true,
		Settings: tenancy.Settings{
			Authorizer: tenancy.RBAC, OnProjectDelete: tenancy.CloseNamespace, PodCIDR: netip.MustParsePrefix("10.244.0.0/16"),
		},
		Interval: time.Minute,
		Reader:   Reader{Username: "reader", Domain: "Default", Password: "secret"},
	}, p.Tenancy)

	set(object, "tenancy.roles", map[string]any{"operator": "admin"})
	set(object, "tenancy.exclude", []any{"service@Default"})
	set(object, "tenancy.authorizer", "abac")
	set(object, "tenancy.onProjectDelete", "delete")
	set(object, "tenancy.interval", "10s")
	p = NewPlan(decoded(t, object))
	assert.Equal(t, tenancy.Mapping{
		Roles: map[string]tenancy.Access{"operator": tenancy.Admin}, Exclude: []string{"service@Default"},
	}, p.Tenancy.Mapping, "configured roles replace the default roles")
	assert.Equal(t, "abac delete 10s",
		string(p.Tenancy.Authorizer)+" "+p.Tenancy.OnProjectDelete+" "+p.Tenancy.Interval.String())
}

func TestTenancyErrors(t *testing.T) {
	for _, row := range []struct {
		path  string
		value any
		want  string
	}{
		{"tenancy.colour", "red", "tenancy.colour: unknown key: docs/configuration.md lists all keys"},
		{"tenancy.podCIDR", "10.0.0.0/8", "tenancy.podCIDR: unknown key: docs/configuration.md lists all keys"},
		{"tenancy.roles", map[string]any{"member": "write"},
			`tenancy.roles[member]: must be view, edit or admin, not "write"`},
		{"tenancy.exclude", []any{"@Default"},
			`tenancy.exclude[0]: must be NAME@DOMAIN or the ID of a project, not "@Default"`},
		{"tenancy.authorizer", "webhook", `tenancy.authorizer: must be rbac or abac, not "webhook"`},
		{"tenancy.onProjectDelete", "keep", `tenancy.onProjectDelete: must be close or delete, not "keep"`},
		{"tenancy.interval", "9s", "tenancy.interval: must be a duration from 10s to 24h, not 9s"},
		{"tenancy.interval", 60, "tenancy.interval: must be a duration such as 15m, not 60"},
		{"tenancy.reader.username", nil,
			"tenancy.reader.username: must be set to the name of the OpenStack user that reads projects, users and roles"},
		{"tenancy.reader.domain", "",
			"tenancy.reader.domain: must be set to the name of the domain of tenancy.reader.username"},
		{"tenancy.reader.password", nil, "tenancy.reader.password: must be set to the password of tenancy.reader.username"},
		{"tenancy.reader.password", 12345, "tenancy.reader.password: must be a string in quotes"},
		{"network.podCIDR", "pods", `network.podCIDR: must be an IPv4 CIDR such as 10.0.0.0/24, not "pods"`},
	} {
		t.Run(row.path, func(t *testing.T) {
			object := tenants(t)
			set(object, row.path, row.value)
			text, err := json.Marshal(object)
			require.NoError(t, err)
			_, err = Decode("test", string(text))
			var errs field.Errors
			require.ErrorAs(t, err, &errs)
			require.Len(t, errs, 1, "%s", errs)
			assert.Equal(t, row.want, errs[0].Error())
			assert.NotContains(t, err.Error(), "12345")
		})
	}
}

// Only control planes get the programs and certificates of tenancy, and only if it is enabled.
func TestTenancyIsOnControlPlanesAlone(t *testing.T) {
	tenancyFiles := func(c Config) (out []string) {
		for _, m := range NewPlan(c).Machines {
			for _, a := range m.Artifacts {
				if strings.Contains(a.URL, "kubernetes-openstack") && a.Name != "node-approver" &&
					a.Name != "etcd-join" {
					out = append(out, m.ID+" "+a.URL+" in "+a.Directory)
				}
			}
			for _, f := range m.PKI {
				if of := f.Of[0]; strings.HasSuffix(of, "keystone-auth") || of == "tenant-sync" {
					out = append(out, m.ID+" "+f.Path+" of "+of)
				}
			}
		}
		return out
	}
	assert.Empty(t, tenancyFiles(small(t)))
	object := tenants(t)
	set(object, "controlPlane.count", 1)
	c := decoded(t, object)
	const programs = "https://mirror.example.com/" +
		"github.com/kubernetes-openstack/kubernetes-openstack/releases/download/v0.1.0"
	assert.Equal(t, []string{
		"test-control-plane-0 " + programs + "/keystone-webhook in /usr/local/bin",
		"test-control-plane-0 " + programs + "/tenant-sync in /usr/local/bin",
		"test-control-plane-0 /etc/kubernetes/pki/keystone-auth.crt of control-plane-0-keystone-auth",
		"test-control-plane-0 /etc/kubernetes/pki/keystone-auth.key of control-plane-0-keystone-auth",
		"test-control-plane-0 /etc/kubernetes/pki/tenant-sync.crt of tenant-sync",
		"test-control-plane-0 /etc/kubernetes/pki/tenant-sync.key of tenant-sync",
	}, tenancyFiles(c))
	for _, cert := range NewPlan(c).Certificates {
		switch cert.Name {
		case "control-plane-0-keystone-auth":
			assert.True(t, cert.Server && !cert.Client, "the certificate is not valid for a client")
			assert.Equal(t, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, cert.Addresses)
		case "tenant-sync":
			assert.True(t, cert.Client && !cert.Server)
			assert.Equal(t, "tenant-sync", cert.CommonName+cert.Organization)
		}
	}
}
