package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/readiness"
	"kubernetes-openstack/internal/status"
	"kubernetes-openstack/tests/golden"
)

var now = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

// hidden is in all secrets of the states.
const hidden = "hunter2"

// object is a JSON object.
type object = map[string]any

// secret returns a secret as `pulumi stack export --show-secrets` prints it.
func secret(text string) object {
	plaintext, _ := json.Marshal(text)
	return object{"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": string(plaintext)}
}

// certificate returns a certificate that ends at this time.
func certificate(t *testing.T, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.AddDate(-3, 0, 0), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// state returns the state of a stack with 3 members of etcd, 2 control planes and 2 workers.
func state(t *testing.T, name string, summary object) []byte {
	t.Helper()
	var resources []object
	add := func(kind, name, id string, inputs, outputs object) {
		resources = append(resources, object{"urn": "urn:pulumi:s::kubernetes-openstack::" + kind + "::" + name, "type": kind,
			"id": id, "custom": true, "inputs": inputs, "outputs": outputs})
	}
	machines := object{}
	for role, n := range map[string]int{"etcd": 3, "control-plane": 2, "worker": 2} {
		for i := range n {
			id := fmt.Sprintf("%s-%s-%d", name, role, i)
			machines[id] = object{"role": role, "address": fmt.Sprint("10.0.0.", i+1), "id": "id of " + id}
			add(status.InstanceType, id, "id of "+id,
				object{"flavorName": "c4.large", "metadata": object{"role": role}, "userData": secret(hidden)},
				object{"region": "east", "userData": secret(hidden)})
		}
	}
	add("openstack:blockstorage/volume:Volume", name+"-etcd-0", "v", object{"size": 20, "volumeType": "ssd"}, nil)
	add("tls:index/locallySignedCert:LocallySignedCert", name+"-admin", "c", object{"caPrivateKeyPem": secret(hidden)},
		object{"certPem": certificate(t, now.AddDate(0, 0, 300))})
	outputs := object{"machines": machines, "kubeconfig": secret("kubeconfig with " + hidden),
		"sshPrivateKey": secret(hidden)}
	if summary != nil {
		outputs["cluster"] = summary
	}
	resources = append(resources, object{"urn": "urn:pulumi:s::kubernetes-openstack::pulumi:pulumi:Stack::s",
		"type": "pulumi:pulumi:Stack", "outputs": outputs})
	text, err := json.Marshal(object{"version": 3, "deployment": object{
		"manifest": object{"time": now.Add(-50 * time.Hour)}, "resources": resources}})
	require.NoError(t, err)
	return text
}

// summary returns the output `cluster` of a stack.
func summary() object {
	return object{"region": "east", "backupInterval": "1h0m0s",
		"versions": object{"kubernetes": "1.36.3", "etcd": "3.6.14", "calico": "3.28.5"},
		"prices": object{"currency": "EUR", "flavors": object{"c4.large": 60.5}, "volumes": object{"ssd": 0.1},
			"floatingIP": 0}}
}

// healthy returns the facts of a cluster without a fault.
func healthy(stack status.Stack) Facts {
	f := Facts{Backup: now.Add(-25 * time.Minute), Unknown: map[Part]string{},
		Status: status.Cluster{Version: "1.36.3", Consoles: map[string]readiness.Summary{}}}
	for _, m := range stack.Machines() {
		f.Status.Consoles[m.Name] = readiness.Summary{Reported: true, Ready: true}
		if m.Role != "etcd" {
			f.Status.Nodes = append(f.Status.Nodes, status.Node{Name: m.Name, Instance: m.Instance, Kubelet: "1.36.3",
				ServingEnd: now.AddDate(0, 0, 200), ClientEnd: now.AddDate(0, 0, 210)})
		}
	}
	return f
}

// unreach changes facts to those of a cluster whose API does not answer.
func unreach(f Facts, reason string) Facts {
	f.Status.Version, f.Status.Nodes = "", nil
	f.Status.Unread = []status.Unread{{What: status.API, Reason: reason}}
	return f
}

const hostile = "<script>alert(1)</script>\x1b[31m&\"'"

// report returns a list with a healthy cluster and with each fault.
func report(t *testing.T) Report {
	t.Helper()
	old := summary()
	old["prices"] = object{"flavors": object{"c4.large": 60.5}, "currency": "EUR"}
	states := map[string][]byte{
		"prod-east": state(t, "prod-east", summary()), "prod-north": state(t, "prod-north", summary()),
		"prod-south": state(t, "prod-south", summary()), "staging": state(t, "staging", old),
		"dev": state(t, "dev", nil), "no-login": state(t, "no-login", summary()),
		"empty": []byte(`{"version": 3, "deployment": {"manifest": {"time": "2027-01-30T12:00:00Z"}}}`),
		"wrong": []byte("no JSON"), hostile: state(t, "hostile", summary()),
	}
	reader := Reader{
		State: func(_ context.Context, stack string) ([]byte, error) {
			if stack == "locked" {
				return nil, errors.New("pulumi stack export: PULUMI_CONFIG_PASSPHRASE=" + hidden + " is wrong\nmore")
			}
			return states[stack], nil
		},
		Cluster: func(_ context.Context, stack status.Stack) Facts {
			f := healthy(stack)
			switch stack.Name {
			case "dev":
				f.Status.Consoles["dev-etcd-2"] = readiness.Summary{} // it may have stopped
			case "prod-north":
				f = unreach(f, "Get \"https://10.0.0.10:6443/version\": dial tcp 10.0.0.10:6443: i/o timeout")
			case "prod-south":
				f.Status.FailingChecks = []string{"etcd"}
				f.Status.Nodes[0].NotReady = "KubeletNotReady: token " + hidden
				f.Status.Consoles["prod-south-etcd-1"] = readiness.Summary{Reported: true}
				f.Status.Consoles["prod-south-worker-1"] = readiness.Summary{Reported: true, Ready: true,
					Notices: map[string]string{"calico-peers": "no BGP session with 10.0.0.1: no answer"}}
				f.Status.Consoles["prod-south-worker-0"] = readiness.Summary{} // an empty console
				f.Status.Served = []status.Certificate{{Name: "API", End: now.AddDate(0, 0, 20)}}
				f.Backup = now.Add(-2 * time.Hour)
				f.Drift = 3
			case "staging":
				f.Status.Nodes[1].Kubelet = "1.35.2"
				f.Status.Served = []status.Certificate{{Name: "staging-etcd-0", End: now.AddDate(0, 0, -1)}}
				f.Backup = time.Time{}
			case "no-login":
				f.Unknown = map[Part]string{EtcdPart: "no login", BGPPart: "no login", BackupPart: "no login",
					DriftPart: "no login"}
				f.Status.Consoles = nil
			case hostile:
				f = unreach(f, hostile+" https://user:"+hidden+"@example.com "+strings.Repeat("long ", 100))
			}
			return f
		},
		Parallel: 4, Timeout: time.Minute,
	}
	names := []string{"dev", "empty", "locked", "no-login", "prod-east", "prod-north", "prod-south", "staging", "wrong",
		hostile}
	return Report{now, reader.List(t.Context(), names, func(Row) {})}
}

// TestFormats compares the three formats with testdata, and checks that none has a secret of a state or of an error, or
// a name that formats the output.
func TestFormats(t *testing.T) {
	r := report(t)
	text, err := r.JSON()
	require.NoError(t, err)
	page, err := r.Page()
	require.NoError(t, err)
	for file, got := range map[string]string{
		"table.txt": r.Table(), "list.json": string(text), "page.html": string(page),
	} {
		golden.Check(t, file, got)
		assert.NotContains(t, got, hidden, file)
		assert.NotContains(t, got, "\x1b", file)
	}
	assert.NotContains(t, string(page), "<script>alert")
	assert.Equal(t, 1, strings.Count(string(page), "<script>"))
}

// TestEmptyList checks that a backend without stacks is no error.
func TestEmptyList(t *testing.T) {
	r := Report{now, []Row{}}
	assert.Contains(t, r.Table(), "0 stacks, 0 of them with a ready API\n")
	text, err := r.JSON()
	require.NoError(t, err)
	assert.Contains(t, string(text), `"clusters": []`)
	_, err = r.Page()
	require.NoError(t, err)
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Minute: "0 min", 0: "0 min", 90 * time.Second: "2 min", 119 * time.Minute: "119 min", 2 * time.Hour: "2 h",
		47 * time.Hour: "47 h", 48 * time.Hour: "2 d", 300 * 24 * time.Hour: "300 d",
	} {
		assert.Equal(t, want, ageCell(d).Text, d)
	}
}
