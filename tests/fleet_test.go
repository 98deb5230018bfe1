package tests

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/fleet"
	"kubernetes-openstack/tests/openstack"
)

// mockedFleet is a backend with states that mocks have made, and what the states refer to: an OpenStack, a Kubernetes
// API, and one that never answers.
type mockedFleet struct {
	t          testing.TB
	folder     string // of the project
	env        []string
	state      string // of a stack prod
	api        string // kubeconfig of an API
	refused    string // kubeconfig of an API that refuses connections
	deaf       string // kubeconfig of an API that never answers
	salt       string
	passphrase config.Crypter
}

// markerOfFleet is in all secrets of the states.
const markerOfFleet = "PRIVATE KEY"

// newFleet returns a backend without stacks.
func newFleet(t testing.TB) *mockedFleet {
	t.Helper()
	var stack struct{ EncryptionSalt string }
	text, err := os.ReadFile("../Pulumi.dev.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &stack))
	crypter, err := cachedCrypter(stack.EncryptionSalt)
	require.NoError(t, err)
	f := &mockedFleet{t: t, folder: t.TempDir(), salt: stack.EncryptionSalt, passphrase: crypter}

	r := &recorder{}
	config := stackConfig(t, "../examples/Pulumi.prod.yaml")
	require.NoError(t, runWith(r, "prod", config, &watcher{}, false))
	server := httptest.NewTLSServer(kubernetesOf(r))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	f.api = kubeconfigOf(server.URL, ca)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections, and never answers
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	f.refused = kubeconfigOf("https://127.0.0.1:1", ca)
	f.deaf = kubeconfigOf("https://"+listener.Addr().String(), ca)

	cloud := openstack.Start(t, "compute", "block-storage", "network", "load-balancer")
	cloud.Console = "bootstrap: ready after 9 s\n"
	env := cloud.Env()
	env["OS_PROJECT_NAME"] = "project" // of the mocks
	backend := filepath.Join(f.folder, "backend")
	env["PULUMI_BACKEND_URL"], env["PULUMI_CONFIG_PASSPHRASE"] = "file://"+backend, "devcloud"
	env["PULUMI_HOME"] = dirs.State("pulumi-home")
	env["PATH"] = filepath.Join(env["PULUMI_HOME"], "bin") + ":" + os.Getenv("PATH")
	f.env = os.Environ()
	for key, value := range env {
		f.env = append(f.env, key+"="+value)
	}
	stacks := filepath.Join(backend, ".pulumi/stacks/kubernetes-openstack")
	require.NoError(t, os.MkdirAll(stacks, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(backend, ".pulumi/meta.yaml"), []byte("version: 1\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(f.folder, "Pulumi.yaml"),
		[]byte("name: kubernetes-openstack\nruntime: go\n"), 0o600))
	f.state = f.checkpoint(r, config)
	return f
}

// idOf returns an ID as OpenStack has it for an ID of the mocks.
func idOf(id string) string { return strings.ReplaceAll(id, "/", "-") }

// kubernetesOf returns an API whose nodes are the instances that the mocks have recorded.
func kubernetesOf(r *recorder) http.Handler {
	var nodes []map[string]any
	for _, instance := range withToken(r, instanceToken) {
		if !strings.Contains(instance.Name, "-etcd-") {
			nodes = append(nodes, map[string]any{
				"metadata": map[string]any{"name": instance.Name},
				"spec":     map[string]any{"providerID": "openstack:///" + idOf("Instance/"+instance.Name)},
				"status": map[string]any{"nodeInfo": map[string]any{"kubeletVersion": "v1.36.3"},
					"conditions": []map[string]any{{"type": "Ready", "status": "True"}}},
			})
		}
	}
	responses := map[string]any{
		"/version": map[string]any{"gitVersion": "v1.36.3"}, "/api/v1/nodes": map[string]any{"items": nodes},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response, known := responses[r.URL.Path]
		if !known {
			response = map[string]any{}
		}
		_ = json.NewEncoder(w).Encode(response) // the client reports a broken connection
	})
}

// kubeconfigOf returns a kubeconfig for a server with this CA.
func kubeconfigOf(server string, ca []byte) string {
	text, _ := yaml.Marshal(map[string]any{ // it cannot fail
		"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": []map[string]any{{"name": "c", "cluster": map[string]any{"server": server,
			"certificate-authority-data": ca}}},
		"users":    []map[string]any{{"name": "c", "user": map[string]any{"token": markerOfFleet}}},
		"contexts": []map[string]any{{"name": "c", "context": map[string]any{"cluster": "c", "user": "c"}}},
	})
	return string(text)
}

// kubeconfigPlace stands for the kubeconfig in a state.
const kubeconfigPlace = "the place of the kubeconfig"

// checkpoint returns the state of a stack prod with the recorded resources, as Pulumi stores it.
func (f *mockedFleet) checkpoint(r *recorder, configuration map[string]string) string {
	f.t.Helper()
	c, err := cluster.Decode("prod", configuration["kubernetes-openstack:cluster"])
	require.NoError(f.t, err)
	summary, err := cluster.NewPlan(c).Summary().Output()
	require.NoError(f.t, err)
	urn := func(token, name string) string {
		return "urn:pulumi:prod::kubernetes-openstack::" + token + "::" + name
	}
	resources := []map[string]any{{"urn": urn("pulumi:pulumi:Stack", "kubernetes-openstack-prod"),
		"type": "pulumi:pulumi:Stack", "custom": false, "outputs": map[string]any{
			"cluster": summary, "kubeconfig": kubeconfigPlace, "sshPrivateKey": f.secret(markerOfFleet)}}}
	for _, res := range r.resources {
		id, outputs, err := (&recorder{}).NewResource(res)
		require.NoError(f.t, err)
		resources = append(resources, map[string]any{"urn": urn(res.TypeToken, res.Name), "type": res.TypeToken,
			"id": idOf(id), "custom": res.Custom, "inputs": f.stored(resource.NewObjectProperty(res.Inputs)),
			"outputs": f.stored(resource.NewObjectProperty(outputs))})
	}
	for _, r := range resources {
		if r["custom"] != true {
			delete(r, "id") // only custom resources have one
		}
	}
	text, err := json.Marshal(map[string]any{"version": 3, "checkpoint": map[string]any{
		"stack": "organization/kubernetes-openstack/prod", "latest": map[string]any{
			"manifest":  map[string]any{"time": time.Now().Add(-50 * time.Hour), "magic": "", "version": ""},
			"resources": resources,
			"secrets_providers": map[string]any{"type": "passphrase",
				"state": map[string]any{"salt": f.salt}},
		}}})
	require.NoError(f.t, err)
	return string(text)
}

// secret returns a secret as Pulumi stores it.
func (f *mockedFleet) secret(value any) map[string]any {
	f.t.Helper()
	text, err := json.Marshal(value)
	require.NoError(f.t, err)
	ciphertext, err := f.passphrase.EncryptValue(f.t.Context(), string(text))
	require.NoError(f.t, err)
	return map[string]any{resource.SigKey: resource.SecretSig, "ciphertext": ciphertext}
}

// stored returns a value as Pulumi stores it.
func (f *mockedFleet) stored(value resource.PropertyValue) any {
	switch {
	case value.IsSecret():
		return f.secret(f.stored(value.SecretValue().Element))
	case value.IsObject():
		out := map[string]any{}
		for key, element := range value.ObjectValue() {
			out[string(key)] = f.stored(element)
		}
		return out
	case value.IsArray():
		out := []any{}
		for _, element := range value.ArrayValue() {
			out = append(out, f.stored(element))
		}
		return out
	}
	return value.Mappable()
}

// add adds a stack to the backend.
func (f *mockedFleet) add(stack, kubeconfig string) {
	f.t.Helper()
	secret, err := json.Marshal(f.secret(kubeconfig))
	require.NoError(f.t, err)
	text := strings.NewReplacer(`"`+kubeconfigPlace+`"`, string(secret), "urn:pulumi:prod::", "urn:pulumi:"+stack+"::",
		"organization/kubernetes-openstack/prod", "organization/kubernetes-openstack/"+stack).Replace(f.state)
	file := filepath.Join(f.folder, "backend/.pulumi/stacks/kubernetes-openstack", stack+".json")
	require.NoError(f.t, os.WriteFile(file, []byte(text), 0o600))
}

// addDamaged adds a stack whose state was not written to its end.
func (f *mockedFleet) addDamaged(stack string) {
	f.t.Helper()
	f.add(stack, f.api)
	file := filepath.Join(f.folder, "backend/.pulumi/stacks/kubernetes-openstack", stack+".json")
	require.NoError(f.t, os.Truncate(file, 1000))
}

// run runs the command fleet with these variables and arguments, and returns its list.
func (f *mockedFleet) run(program string, env map[string]string, args ...string) (list fleet.Report, progress string) {
	f.t.Helper()
	cmd := exec.Command(program, append(args, "-json")...)
	cmd.Dir, cmd.Env = f.folder, f.env
	for key, value := range env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	require.NoError(f.t, err, stderr.String())
	assert.NotContains(f.t, string(text)+stderr.String(), markerOfFleet)
	require.NoError(f.t, json.Unmarshal(text, &list))
	return list, stderr.String()
}

// TestFleet checks the command fleet with the real Pulumi: a cluster that answers, one that does not, a stack without
// resources, and stacks whose secrets or whose project it cannot read.
func TestFleet(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add("east", f.api)
	f.add("west", f.refused)
	create := exec.Command(filepath.Join(dirs.State("pulumi-home"), "bin/pulumi"), "stack", "init", "new", "--no-select")
	create.Dir, create.Env = f.folder, f.env
	out, err := create.CombinedOutput()
	require.NoError(t, err, string(out))

	page := filepath.Join(f.folder, "fleet.html")
	list, progress := f.run(built(t, "fleet"), nil, "-timeout", "1m", "-html", page)
	assert.Contains(t, progress, "3/3 ")
	assert.Contains(t, progress, "east: API ready\n")
	require.Len(t, list.Rows, 3)
	east, empty, west := list.Rows[0], list.Rows[1], list.Rows[2]
	assert.Equal(t, []string{"east", "new", "west"}, []string{east.Stack, empty.Stack, west.Stack})
	assert.Equal(t, fleet.Ready, east.API)
	assert.Equal(t, "east", east.Region)
	assert.Equal(t, cluster.Versions{Kubernetes: "1.36.3", Etcd: "3.6.14", Calico: "3.28.5"}, east.Versions)
	assert.Equal(t, []string{"1.36.3"}, east.Running)
	assert.Equal(t, &fleet.Count{Ready: 12, Planned: 12}, east.Nodes)
	assert.Equal(t, &fleet.Count{Ready: 5, Planned: 5}, east.Etcd)
	assert.Equal(t, &fleet.Count{Ready: 12, Planned: 12}, east.BGP)
	assert.InDelta(t, 5*60+3*240.5+6*480+3*520+5*20*0.1, east.Cost.PerMonth, 0.01)
	assert.Positive(t, *east.Drift, "the fake OpenStack has none of the resources")
	assert.Equal(t, map[fleet.Part]string{fleet.BackupPart: "the cloud has no object storage"}, east.Unknown)
	assert.Equal(t, "the stack has no machines", empty.API)
	assert.Contains(t, west.API, "unreachable: ")
	assert.Equal(t, east.Etcd, west.Etcd, "the consoles of an unreachable cluster are read")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Contains(t, string(text), "<td class=\"number good\" data-sort=\"1.0000\">12/12</td>")
	assert.NotContains(t, string(text), markerOfFleet)

	list, _ = f.run(built(t, "fleet"), map[string]string{"OS_PROJECT_NAME": "theirs"}, "-timeout", "1m")
	const other = "the login is for OpenStack project theirs (theirs), and the stack is in project project: add a cloud " +
		"with the name of the stack to clouds.yaml"
	assert.Equal(t, other, list.Rows[0].Unknown[fleet.BGPPart])
	assert.Equal(t, fleet.Ready, list.Rows[0].API)

	list, _ = f.run(built(t, "fleet"), map[string]string{"PULUMI_CONFIG_PASSPHRASE": "wrong"}, "-timeout", "1m")
	assert.Equal(t, "unknown: the state has no kubeconfig that this host can decrypt", list.Rows[0].API)
	assert.InDelta(t, east.Cost.PerMonth, list.Rows[0].Cost.PerMonth, 0.01, "from the state")
}

// TestDamagedState checks that a state that Pulumi cannot read hides no other stack, although `pulumi stack ls` fails.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add("east", f.api)
	f.addDamaged("west")
	for _, stack := range []string{"east", "west"} {
		require.NoError(t, os.WriteFile(filepath.Join(f.folder, "Pulumi."+stack+".yaml"), nil, 0o600))
	}
	cmd := exec.Command(built(t, "fleet"), "-timeout", "1m")
	cmd.Dir, cmd.Env = f.folder, f.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	table, err := cmd.Output()
	assert.Equal(t, 1, cmd.ProcessState.ExitCode(), err)
	assert.Contains(t, stderr.String(), "the list has only stacks with a file Pulumi.NAME.yaml: pulumi stack ls: ")
	assert.Regexp(t, `(?m)^east .* ready$`, string(table))
	assert.Regexp(t, `(?m)^west .* unknown: pulumi stack export: `, string(table))
}

// TestUnexpectedArgument checks that a program does not ignore the name of a stack after it.
func TestUnexpectedArgument(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"drift", "fleet", "resume"} {
		out, err := exec.Command(built(t, program), "prod").CombinedOutput()
		require.Error(t, err, program)
		assert.Equal(t, program+": unexpected argument \"prod\": only flags are allowed\n", string(out))
	}
}

// BenchmarkFleet lists 30 stacks with the real Pulumi. Their states are those of mocks. Three clusters do not answer.
func BenchmarkFleet(b *testing.B) {
	f := newFleet(b)
	for i := range 30 {
		kubeconfig := f.api
		if i%10 == 0 {
			kubeconfig = f.deaf
		}
		f.add(fmt.Sprintf("stack-%02d", i), kubeconfig)
	}
	program := built(b, "fleet")
	begin := time.Now()
	list, _ := f.run(program, nil)
	seconds := time.Since(begin).Seconds()
	ready := 0
	for _, row := range list.Rows {
		if row.API == fleet.Ready {
			ready++
		}
	}
	require.Equal(b, 27, ready)
	record(b, fmt.Sprintf("%8s %12s %8s\n%8d %12d %8.1f\n", "Stacks", "unreachable", "seconds", len(list.Rows),
		len(list.Rows)-ready, seconds))
	b.ReportMetric(seconds, "s/30-stacks")
	b.ReportMetric(0, "ns/op")
}
