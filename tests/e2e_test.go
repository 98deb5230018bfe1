//go:build e2e

package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/turns"
	"kubernetes-openstack/internal/unchanged"
)

const cloudEnv = toolchainEnv + `; eval "$(go run ./hack/devcloud env)"`

// TestE2ELife runs the life of one cluster on a real OpenStack with the real engine. It kills and resumes an
// `up`, checks etcd, checks that there is no drift, replaces a member, and checks that destroy deletes
// everything.
func TestE2ELife(t *testing.T) {
	t.Parallel()
	skipUnchanged(t)
	e := newEngine(t, "e2e", cloudEnv, patched(t, "e2e.yaml"))
	openstack := connect(t, e.getenv("OS_CLIENT_CONFIG_FILE"))
	before := openstack.inventory(t)
	t.Cleanup(func() { // after any failure, the next run starts with a clean project
		if t.Failed() {
			defer turns.Shared(t)()
			e.keepLogs()
			if out, err := e.try("destroy", "--yes", "--skip-preview"); err != nil {
				t.Log(out) // not logged otherwise, so that the log ends with the cause of the failure
			}
		}
	})

	step(t, "up is killed while it creates an instance", func(t *testing.T) {
		e.killDuring(t, "Instance e2e-etcd-0 creating", "up", "--yes", "--skip-preview")
	})
	step(t, "up continues after resume", func(t *testing.T) {
		e.run(t, "go run ./cmd/resume -s e2e")
		e.must("up", "--yes", "--skip-preview")
	})
	api := e.api(t)
	step(t, "all nodes are Ready when up ends", func(t *testing.T) {
		waiting, err := api.notReady(4)
		require.NoError(t, err)
		require.Empty(t, waiting)
		t.Log("\n" + api.kubectl(t, "get", "nodes", "--output", "wide"))
	})
	step(t, "all machines report that they are ready", func(t *testing.T) {
		for _, name := range machines {
			e.waitForMachine(t, name)
		}
	})
	step(t, "the API server accepts the manifests of both DNS servers", func(t *testing.T) {
		api.acceptsDNS(t, cluster.SkyDNS)
		api.acceptsDNS(t, cluster.CoreDNS)
	})
	step(t, "a preview after a refresh has no changes", func(t *testing.T) {
		e.must("refresh", "--yes", "--skip-preview")
		e.must("preview", "--expect-no-changes")
	})
	step(t, "up exports all outputs", func(t *testing.T) {
		var outputs struct {
			Machines                                 map[string]struct{ Address, ID, Role string }
			Endpoints                                struct{ API string }
			Kubeconfig, SSHPrivateKey, CACertificate string
		}
		require.NoError(t, json.Unmarshal([]byte(e.must("stack", "output", "--json")), &outputs))
		assert.Len(t, outputs.Machines, 7)
		assert.Equal(t, "10.0.0.145", outputs.Machines["e2e-etcd-1"].Address)
		assert.Equal(t, "https://10.0.0.138:6443", outputs.Endpoints.API)
		assert.Contains(t, outputs.CACertificate, "BEGIN CERTIFICATE")
		assert.Equal(t, "[secret] [secret]", outputs.Kubeconfig+" "+outputs.SSHPrivateKey)
	})
	step(t, "the state contains no secret in plain text", func(t *testing.T) {
		state := e.must("stack", "export")
		assert.Contains(t, state, "BEGIN CERTIFICATE")
		assert.NotContains(t, state, "PRIVATE KEY")
		assert.NotContains(t, state, "H4sI", "gzipped user-data begins with this")
		assert.Contains(t, e.must("stack", "export", "--show-secrets"), "H4sI")
	})
	step(t, "the user-data of workers contains no private key", func(t *testing.T) {
		const userData = "curl -sS --fail http://169.254.169.254/openstack/latest/user_data | zcat" // user-data in Nova
		assert.Contains(t, e.on(t, "e2e-etcd-0", userData), "PRIVATE KEY")
		worker := e.on(t, "e2e-worker-0", userData)
		assert.Contains(t, worker, "BEGIN CERTIFICATE")
		assert.NotContains(t, worker, "PRIVATE KEY")
	})
	step(t, "the bootstrap token of a node is worthless", func(t *testing.T) {
		assert.Equal(t, "401 401 401 401", strings.TrimSpace(e.on(t, "e2e-worker-0", `
			for node in e2e-worker-0 e2e-worker-1 e2e-worker-9 e2e-control-plane-0; do
				request=$(openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null \
					-subj "/O=system:nodes/CN=system:node:$node" 2>/dev/null | base64 --wrap=0)
				echo '{"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
					"metadata": {"generateName": "leaked-"}, "spec": {"request": "'$request'",
					"signerName": "kubernetes.io/kube-apiserver-client-kubelet",
					"usages": ["digital signature", "client auth"]}}' |
					curl --silent --output /dev/null --write-out '%{http_code} ' --cacert /etc/kubernetes/pki/ca.crt \
						--oauth2-bearer "$(cat /run/kubelet/bootstrap-token)" --json @- \
						https://127.0.0.1:7443/apis/certificates.k8s.io/v1/certificatesigningrequests
			done`)))
		assert.NotContains(t, api.kubectl(t, "get", "csr", "--output", "name"), "leaked-")
		assert.NotContains(t, api.kubectl(t, "get", "secrets", "--namespace=kube-system", "--output", "name"),
			"bootstrap-token-")
	})
	step(t, "push updates a changed template on a running machine", func(t *testing.T) {
		const worker, file, older = "e2e-worker-0", "/etc/metadata-filter.nft", "s/169.254.169.254/169.254.169.253/"
		push := func() string { return e.run(t, `go run ./cmd/push --stack "$1" "$2"`, e.stack, worker) }
		assert.Equal(t, worker+" is up to date\n", push())
		e.on(t, worker, "sed -i "+older+" "+file+" && systemctl restart metadata-filter && "+
			// simulates the user-data of an older template
			"zcat /var/lib/cloud/instance/user-data.txt | sed "+older+" | gzip >/var/lib/pushed")
		begin := time.Now()
		assert.Equal(t, "write "+file+"\nrestart metadata-filter.service\n", push())
		t.Logf("pushed after %.0f s", time.Since(begin).Seconds())
		assert.Contains(t, e.on(t, worker, "nft list ruleset"), "ip daddr 169.254.169.254")
		assert.Equal(t, worker+" is up to date\n", push())
	})
	step(t, "nodes have the configured labels and taints", func(t *testing.T) {
		nodes := api.kubectl(t, "get", "nodes", "--output",
			`jsonpath={range .items[*]}{.metadata.name} {.spec.providerID} {.metadata.labels} {.spec.taints}{"\n"}{end}`)
		for line := range strings.Lines(nodes) {
			name, rest, _ := strings.Cut(line, " ")
			assert.Contains(t, rest, "openstack:///"+openstack.server(t, name))
			assert.Contains(t, rest, `"topology.kubernetes.io/region":"RegionOne"`)
			controlPlane := strings.Contains(name, "control-plane")
			assert.Equal(t, controlPlane, strings.Contains(rest, `"node-role.kubernetes.io/control-plane":""`), line)
			assert.Equal(t, controlPlane,
				strings.Contains(rest, `{"effect":"NoSchedule","key":"node-role.kubernetes.io/control-plane"}`), line)
			assert.Contains(t, rest, `"topology.kubernetes.io/zone":"nova"`) // OpenStack's controller sets it on control planes
			for _, own := range []string{
				`"example.com/disk":"ssd"`, `"kubernetes-openstack/pool":"worker"`,
				`{"effect":"PreferNoSchedule","key":"example.com/best-left","value":"yes"}`,
			} {
				assert.Equal(t, !controlPlane, strings.Contains(rest, own), line)
			}
		}
	})
	step(t, "a Deployment rolls out, and logs and exec work", func(t *testing.T) {
		api.apply(t, "hello.yaml")
		api.await(t, "rollout", "status", "deployment/hello")
		assert.Contains(t, api.kubectl(t, "logs", "--selector=app=hello", "--tail=-1"), "hello from hello-")
		assert.Contains(t, api.kubectl(t, "exec", "deployment/hello", "--", "wget", "-q", "-O-", "http://127.0.0.1:8080"),
			"hello-")
		service := strings.TrimSpace(api.kubectl(t, "get", "service", "hello", "--output", "jsonpath={.spec.clusterIP}"))
		// kube-proxy gets the endpoints of pods after the pods are Ready
		assert.Contains(t, e.on(t, "e2e-worker-0",
			"curl -sS --retry 10 --retry-delay 1 --retry-connrefused --max-time "+answerSeconds+" http://"+service), "hello-")
		assert.Contains(t, api.kubectl(t, "version"), "Server Version: v1.36")
	})
	step(t, "a Secret is encrypted in etcd", func(t *testing.T) {
		api.kubectl(t, "create", "secret", "generic", "treasure", "--from-literal=gold=glittering")
		stored := e.on(t, "e2e-etcd-0", "etcdctl get /registry/secrets/default/treasure")
		assert.Contains(t, stored, "k8s:enc:secretbox:v1:")
		assert.NotContains(t, stored, "glittering")
	})
	tenancyByRBAC, changeToABAC, tenancyByABAC := testTenancy(t, e, api)
	traffic, disturbances := testNetwork(t, e, api, openstack)
	dnsCases, dnsChange := testDNS(t, e, api)
	keeper := &keeper{api: api}
	inParallel(t, map[string]func(*testing.T){
		"tenancy": tenancyByRBAC,
		"network": traffic,
		"metrics": func(t *testing.T) { testMetrics(t, api) },
		"storage": func(t *testing.T) { testStorage(t, keeper, openstack) },
		"DNS":     dnsCases,
	})
	dnsChange(t)
	disturbances(t)
	// All steps that run alone follow one another. If other suites run at the same time, the test waits for them once.
	changeToABAC(t)
	testOutages(t, e, api, openstack, keeper)
	stepExclusive(t, "stopping each etcd member and each control plane loses no write", func(t *testing.T) {
		writer := api.startWriter(t)
		for _, names := range [][]string{{"e2e-etcd-0", "e2e-control-plane-0"}, {"e2e-etcd-1", "e2e-control-plane-1"},
			{"e2e-etcd-2"}} {
			time.Sleep(3 * time.Second)
			writer.longestGap()
			openstack.stop(t, names...)
			time.Sleep(15 * time.Second)
			down := writer.longestGap()
			for _, name := range names {
				openstack.start(t, name)
			}
			e.waitForEtcd(t)
			for _, controlPlane := range names[1:] { // the other one may stop when these are ready
				eventually(t, 5*time.Minute, func() error {
					out, err := e.ssh(controlPlane, "check-kube-apiserver && systemctl is-active api-vip").CombinedOutput()
					if err != nil {
						err = fmt.Errorf("%s: %w: %s", controlPlane, err, out)
					}
					return err
				})
			}
			t.Logf("%v: longest gap %.1f s while they stopped, %.1f s while they started", names, down.Seconds(),
				writer.longestGap().Seconds())
		}
		writer.check(t)
		for _, name := range machines[:5] {
			e.waitForMachine(t, name)
		}
	})
	tenancyByABAC(t)
	step(t, "the cluster recovers after a reboot of all machines, one with a blank etcd volume", func(t *testing.T) {
		members := e.members(t)
		writer := api.startWriter(t)
		e.on(t, "e2e-etcd-1", "systemctl stop etcd-auth etcd")
		writer.waitForMore(t, 10) // e2e-etcd-1 has none of these
		e.on(t, "e2e-etcd-2", blankVolume)
		boots := map[string]string{}
		for _, name := range slices.Backward(machines) { // e2e-etcd-0 has all writes, and boots last
			boots[name] = e.on(t, name, bootID)
			openstack.reboot(t, name)
		}
		begin := time.Now()
		for _, name := range machines {
			eventually(t, 5*time.Minute, func() error {
				out, err := e.ssh(name, bootID).CombinedOutput()
				if err == nil && string(out) == boots[name] {
					err = fmt.Errorf("%s has not rebooted yet", name)
				}
				return err
			})
			e.waitForMachine(t, name)
		}
		e.waitForEtcd(t)
		api.waitForNodes(t, 4, 3*time.Minute)
		eventually(t, time.Minute, func() error { // each node drained itself before the reboot
			cordoned, err := api.try("get", "nodes", "--output", "jsonpath={.items[*].spec.unschedulable}")
			if err == nil && strings.TrimSpace(cordoned) != "" {
				err = fmt.Errorf("nodes are cordoned: %s", cordoned)
			}
			return err
		})
		api.await(t, "rollout", "status", "deployment/hello")
		// encrypted before the reboots
		assert.Equal(t, "Z2xpdHRlcmluZw==", api.field(t, ".data.gold", "secret", "treasure"))
		api.kubectl(t, "create", "secret", "generic", "treasure-2", "--from-literal=gold=glittering")
		assert.Contains(t, e.on(t, "e2e-etcd-0", "etcdctl get /registry/secrets/default/treasure-2"), "k8s:enc:secretbox:v1:")
		t.Logf("all nodes are Ready and the Deployment is available %.0f s after the reboots", time.Since(begin).Seconds())
		writer.check(t)
		e.checkJoined(t, members, "e2e-etcd-2", begin)
	})
	testRestore(t, e, api, openstack, keeper)
	step(t, "destroy of an unreachable cluster lists the data and deletes everything", func(t *testing.T) {
		for _, name := range []string{"e2e-control-plane-0", "e2e-control-plane-1"} {
			_ = e.ssh(name, "systemctl poweroff --force --force").Run()
		}
		out := e.must("destroy", "--yes", "--skip-preview")
		for _, claim := range []string{"data-keeper-0", "restored"} {
			assert.Contains(t, out, "claim default/"+claim)
		}
		assert.Contains(t, out, "VolumeSnapshot default/keeper")
		assert.Empty(t, openstack.createdSince(t, before))
	})
}

// skipUnchanged skips a suite if it has passed and its inputs have not changed. The inputs include all
// programs of the repository.
func skipUnchanged(t *testing.T) {
	t.Helper()
	unchanged.Skip(t, "..", []string{"../..."}, []string{
		"Makefile", "Pulumi.yaml", "Pulumi.dev.yaml", "hack/devcloud/host-packages",
		"cmd/pulumi-resource-teardown/pulumi-resource-teardown",
		"tests/testdata", "docs/listeners.md",
	})
}

// keepLogs copies the logs of all services and machines to the state folder before the test deletes the
// machines. .ci/run archives the folder.
func (e *engine) keepLogs() {
	if out, err := e.shell(`exec go run ./hack/devcloud logs --copy "$1"`,
		dirs.State("failed", e.t.Name())).CombinedOutput(); err != nil {
		e.t.Logf("cannot copy the logs: %v: %s", err, out)
	}
}

var machines = []string{"e2e-etcd-0", "e2e-etcd-1", "e2e-etcd-2", "e2e-control-plane-0", "e2e-control-plane-1",
	"e2e-worker-0", "e2e-worker-1"}

// step runs one part of a suite in parallel with steps of other suites. It ends the test after a failure,
// because each step depends on the previous one.
func step(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	part(t, name, turns.Shared, f)
}

// stepExclusive runs a step that counts lost requests, measures gaps, or stops services that other suites need.
// No other step runs at the same time.
func stepExclusive(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	part(t, name, turns.Exclusive, f)
}

func part(t *testing.T, name string, turn func(testing.TB) (end func()), f func(*testing.T)) {
	t.Helper()
	turns.SkipLate(t, name)
	defer turn(t)()
	if !t.Run(name, f) {
		t.FailNow()
	}
}

// inParallel runs sequences of steps, as many at a time as -parallel allows. It ends the test if one fails.
func inParallel(t *testing.T, rows map[string]func(*testing.T)) {
	t.Helper()
	passed := t.Run("in parallel", func(t *testing.T) {
		for name, row := range rows {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				row(t)
			})
		}
	})
	if !passed {
		t.FailNow()
	}
}

func (e *engine) getenv(name string) string {
	for _, entry := range e.env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// run runs a line of shell and returns its output. A failure ends the test.
func (e *engine) run(t testing.TB, line string, args ...string) string {
	t.Helper()
	out, err := e.shell(line, args...).CombinedOutput()
	require.NoError(t, err, "%s\n%s", line, out)
	return string(out)
}

// on runs a command on a machine and returns its output. A failure ends the test.
func (e *engine) on(t testing.TB, machine, command string) string {
	t.Helper()
	out, err := e.ssh(machine, command).CombinedOutput()
	require.NoError(t, err, "%s: %s\n%s", machine, command, out)
	return string(out)
}

// ssh returns a command that runs on a machine.
func (e *engine) ssh(machine, command string) *exec.Cmd {
	return e.shell(`exec "$1" exec "$2" -- "$3"`, e.devcloud(), machine, command)
}

// cutPower cuts the power of a machine: no data that it has not synced survives.
func (e *engine) cutPower(machine string) error {
	out, err := e.shell(`exec "$1" power-cut "$2"`, e.devcloud(), machine).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return err
}

// killDuring runs pulumi and kills the engine with SIGKILL when it prints line, so that the engine cannot
// clean up.
func (e *engine) killDuring(t *testing.T, line string, args ...string) {
	t.Helper()
	cmd := e.command(args...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	seen := false
	var printed strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		printed.WriteString(lines.Text() + "\n")
		if !seen && strings.Contains(lines.Text(), line) {
			seen = true
			require.NoError(t, cmd.Process.Kill())
		}
	}
	_ = cmd.Wait()
	e.output.add(printed.String())
	require.True(t, seen, "the output does not contain %q:\n%s", line, &printed)
}

const bootID = "cat /proc/sys/kernel/random/boot_id"

// waitForMachine waits until the machine reports that all steps since its last boot are done.
func (e *engine) waitForMachine(t testing.TB, name string) {
	t.Helper()
	eventually(t, 5*time.Minute, func() error {
		out, err := e.ssh(name, "journalctl --boot --quiet --output cat --unit bootstrap-report").CombinedOutput()
		var last string // without lines that may follow the ready line
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, ": notice: ") && !strings.Contains(line, ": done after ") {
				last = line
			}
		}
		if err == nil && !strings.HasPrefix(last, "bootstrap: ready") {
			err = fmt.Errorf("%s: %s", name, last)
		}
		return err
	})
}

// waitForEtcd waits until all members are healthy.
func (e *engine) waitForEtcd(t *testing.T) {
	t.Helper()
	begin := time.Now()
	var out string
	for time.Since(begin) < turns.Patience*2*time.Minute {
		health, err := e.ssh("e2e-etcd-0", "etcdctl endpoint health --cluster").CombinedOutput()
		out = string(health)
		if err == nil && strings.Count(out, "is healthy") == 3 {
			t.Logf("healthy after %.0f s", time.Since(begin).Seconds())
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("etcd is not healthy:\n%s", out)
}
