//go:build e2e

package tests

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPowerCuts cuts the power of each machine of small clusters at a random moment of its first boot, and then of
// the machines of the last cluster: of a boot, of a shutdown, or while they run. Each time, all machines must be ready
// again, and the cluster must work. `make power-cuts` runs it. CUTS is the minimum of cuts of first boots, and of later
// cuts. SEED repeats the plan of an earlier run.
func TestPowerCuts(t *testing.T) {
	number := func(name string, otherwise uint64) uint64 {
		n, err := strconv.ParseUint(cmp.Or(os.Getenv(name), fmt.Sprint(otherwise)), 10, 64)
		require.NoError(t, err, name)
		return n
	}
	seed, atLeast := number("SEED", rand.Uint64N(10_000)), int(number("CUTS", 20))
	random := rand.New(rand.NewPCG(seed, 0))
	clouds := ownProject(t, "power-cuts")
	p := &powerCuts{openstack: connect(t, clouds)}
	p.engine = newEngine(t, "cuts", cloudEnv+"; export OS_CLIENT_CONFIG_FILE='"+clouds+"'", smallCluster(t, 1))
	before := p.openstack.inventory(t)
	t.Cleanup(func() {
		t.Logf("\nseed %d\n%s", seed, p.table())
		if t.Failed() {
			p.engine.keepLogs()
		}
		out, err := p.engine.try("destroy", "--yes", "--skip-preview")
		assert.NoError(t, err, out)
		assert.Empty(t, p.openstack.createdSince(t, before))
	})

	t.Logf("seed %d", seed)
	moments := spread(random, atLeast, longestFirstBoot)
	for round := 0; len(moments) > 0; round++ {
		if round > 0 {
			p.engine.must("destroy", "--yes", "--skip-preview")
		}
		members := []int{1, 3}[round%2]
		p.engine.configure(t, smallCluster(t, members))
		names := p.name(members)
		moments = append(moments, spread(random, max(0, len(names)-len(moments)), longestFirstBoot)...)
		var cuts []*powerCut
		for i, name := range names {
			cuts = append(cuts, &powerCut{machine: name, kind: firstBoot, moment: moments[i], pause: pauses[random.IntN(3)]})
		}
		moments = moments[len(names):]
		p.firstBoots(t, cuts)
		p.check(t)
	}

	writer := p.engine.api(t).startWriter(t)
	for done := 0; done < atLeast; done += len(p.machines) {
		var cuts []*powerCut
		for i, name := range p.machines {
			kind := laterKinds[(done+i)%len(laterKinds)]
			cuts = append(cuts, &powerCut{machine: name, kind: kind, pause: pauses[random.IntN(3)],
				moment: time.Duration(random.Float64() * float64(longest[kind]))})
		}
		p.run(t, cuts)
		requireReady(t, cuts)
		p.check(t)
	}
	writer.check(t)
}

// smallCluster returns an edit of the development stack: a control plane, two workers, and this number of etcd members.
func smallCluster(t *testing.T, members int) func(string) string {
	t.Helper()
	tenant := patched(t, "tenant.yaml")
	small := strings.NewReplacer("    etcd:\n", fmt.Sprintf("    etcd:\n      count: %d\n", members),
		"    controlPlane:\n      count: 2", "    controlPlane:\n      count: 1",
		"    devcloud: true\n", "    devcloud: true\n    bootstrapTimeout: 10m\n").Replace
	return func(text string) string { return tenant(small(text)) }
}

const (
	firstBoot = "first boot"
	boot      = "boot"
	shutdown  = "shutdown"
	running   = "running"
)

var laterKinds = []string{boot, running, boot, shutdown, boot}

// longest is the latest moment of a cut: until the machine is ready, and while a shutdown takes some time.
var longest = map[string]time.Duration{boot: 40 * time.Second, shutdown: 4 * time.Second, running: 20 * time.Second}

const longestFirstBoot = 80 * time.Second

// pauses are the times without power.
var pauses = []time.Duration{0, 0, 20 * time.Second}

// spread returns n random moments. There is one in each nth of the duration, so that no part of a boot is left out.
func spread(random *rand.Rand, n int, duration time.Duration) (moments []time.Duration) {
	for i := range n {
		moments = append(moments, time.Duration((float64(i)+random.Float64())/float64(n)*float64(duration)))
	}
	random.Shuffle(n, func(i, j int) { moments[i], moments[j] = moments[j], moments[i] })
	return moments
}

// powerCuts is a run of the test.
type powerCuts struct {
	engine    *engine
	openstack cloud
	machines  []string // of the current cluster
	cuts      []*powerCut
}

// powerCut is a planned power cut, and its result.
type powerCut struct {
	machine, kind string
	moment        time.Duration // since the instance is active, since the request to stop, or since the last check
	pause         time.Duration // without power

	step   string // the last line of the console before the cut
	result string
	ready  string // seconds until the machine reported ready
}

// name sets the names of the cluster's machines.
func (p *powerCuts) name(members int) []string {
	p.machines = []string{"cuts-control-plane-0", "cuts-worker-0", "cuts-worker-1"}
	for i := range members {
		p.machines = append(p.machines, fmt.Sprintf("cuts-etcd-%d", i))
	}
	return p.machines
}

// firstBoots creates the cluster, and meanwhile makes the cuts. If an `up` sees an instance without power, it fails,
// and an operator repeats it.
func (p *powerCuts) firstBoots(t *testing.T, cuts []*powerCut) {
	t.Helper()
	var up sync.WaitGroup
	var err error
	up.Go(func() {
		for range 3 {
			var out string
			if out, err = p.engine.try("up", "--yes", "--skip-preview"); err == nil {
				return
			}
			err = fmt.Errorf("%w: %s", err, out)
			t.Log("up failed: ", out)
		}
	})
	p.run(t, cuts)
	up.Wait()
	require.NoError(t, err)
	requireReady(t, cuts)
}

// run makes the cuts in parallel, and waits until all machines have reported ready since their last start.
func (p *powerCuts) run(t *testing.T, cuts []*powerCut) {
	t.Helper()
	p.cuts = append(p.cuts, cuts...)
	var all sync.WaitGroup
	for _, cut := range cuts {
		all.Go(func() {
			started, err := p.make(t, cut)
			if err == nil {
				err = p.waitReady(t, cut, started)
			}
			if err != nil {
				cut.result = err.Error()
			}
			t.Log(cut)
		})
	}
	all.Wait()
}

func requireReady(t *testing.T, cuts []*powerCut) {
	t.Helper()
	for _, cut := range cuts {
		require.Equal(t, "ready", cut.result, cut.machine)
	}
}

// make makes a cut and starts the machine again. It returns the machine's last boot before the start.
func (p *powerCuts) make(t *testing.T, cut *powerCut) (last string, err error) {
	ctx, compute := t.Context(), p.openstack.clients["compute"]
	if cut.kind == firstBoot {
		err = p.waitStatus(t, cut.machine, "ACTIVE")
	}
	if err != nil {
		return "", err
	}
	id, err := p.id(t, cut.machine)
	if err != nil {
		return "", err
	}
	if cut.kind == boot || cut.kind == shutdown {
		err = servers.Stop(ctx, compute, id).ExtractErr()
	}
	if err == nil && cut.kind == boot {
		if err = p.waitStatus(t, cut.machine, "SHUTOFF"); err == nil {
			err = servers.Start(ctx, compute, id).ExtractErr()
		}
		if err == nil {
			err = p.waitStatus(t, cut.machine, "ACTIVE")
		}
	}
	if err != nil {
		return "", err
	}
	time.Sleep(cut.moment)
	if err := p.engine.cutPower(cut.machine); err != nil {
		if cut.kind != shutdown || !strings.Contains(err.Error(), "is not running") {
			return "", err
		}
		cut.step = "off already"
	}
	console, err := p.console(t, cut.machine)
	if err != nil {
		return "", err
	}
	cut.step = cmp.Or(cut.step, lastLine(console))
	if err := p.waitStatus(t, cut.machine, "SHUTOFF"); err != nil {
		return "", err
	}
	time.Sleep(cut.pause)
	return lastBoot(console), servers.Start(ctx, compute, id).ExtractErr()
}

// waitReady waits until the machine reports ready in another boot than last. Otherwise the error is its last report.
func (p *powerCuts) waitReady(t *testing.T, cut *powerCut, last string) error {
	console := ""
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(2 * time.Second) {
		var err error
		if console, err = p.console(t, cut.machine); err != nil || lastBoot(console) == last {
			continue
		}
		_, report, _ := strings.Cut(console, lastBoot(console))
		if ready := readyAfter.FindStringSubmatch(report); ready != nil {
			cut.result, cut.ready = "ready", ready[1]
			return nil
		}
	}
	return fmt.Errorf("not ready: %s", lastLine(console))
}

var (
	readyAfter = regexp.MustCompile(`bootstrap: ready after (\d+) s`)
	bootLine   = regexp.MustCompile(`bootstrap: boot \S+`)
	report     = regexp.MustCompile(`bootstrap: ([a-z0-9-]+: .*|ready .*)`)
	escapes    = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")
)

// lastBoot returns the report's line with the ID of the last boot, or "".
func lastBoot(console string) string {
	all := bootLine.FindAllString(console, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// lastLine returns the last line of the report in the last boot. Before the report begins, it returns the last line of
// the console.
func lastLine(console string) string {
	console = console[max(0, strings.LastIndex(console, "Welcome to ")):]
	if lines := report.FindAllStringSubmatch(console, -1); len(lines) > 0 {
		return strings.TrimSpace(lines[len(lines)-1][1])
	}
	console = strings.ToValidUTF8(escapes.ReplaceAllString(console, ""), "…")
	lines := strings.FieldsFunc(console, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return "no output"
	}
	return strings.TrimSpace(lines[len(lines)-1])
}

func (p *powerCuts) console(t *testing.T, machine string) (string, error) {
	id, err := p.id(t, machine)
	if err != nil {
		return "", err
	}
	return servers.ShowConsoleOutput(t.Context(), p.openstack.clients["compute"], id,
		servers.ShowConsoleOutputOpts{}).Extract()
}

// instance returns a machine's instance, or an empty one if it does not exist.
func (p *powerCuts) instance(t *testing.T, machine string) (servers.Server, error) {
	pages, err := servers.List(p.openstack.clients["compute"], servers.ListOpts{Name: "^" + machine + "$"}).
		AllPages(t.Context())
	if err != nil {
		return servers.Server{}, err
	}
	list, err := servers.ExtractServers(pages)
	if err != nil || len(list) == 0 {
		return servers.Server{}, err
	}
	return list[0], nil
}

func (p *powerCuts) id(t *testing.T, machine string) (string, error) {
	server, err := p.instance(t, machine)
	return server.ID, err
}

// waitStatus waits until the machine's instance exists and has the status.
func (p *powerCuts) waitStatus(t *testing.T, machine, status string) error {
	var server servers.Server
	for end := time.Now().Add(15 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var err error
		if server, err = p.instance(t, machine); err != nil || server.Status == status {
			return err
		}
	}
	return fmt.Errorf("the status of the instance is not %s, but %q", status, server.Status)
}

// check checks that the cluster works: the API, the nodes, all pods, and the files of all machines.
func (p *powerCuts) check(t *testing.T) {
	t.Helper()
	api := p.engine.api(t)
	api.waitForNodes(t, 3, 5*time.Minute)
	assert.Equal(t, "ok", api.kubectl(t, "get", "--raw", "/readyz"))
	api.apply(t, "hello.yaml")
	api.await(t, "rollout", "status", "deployment/hello")
	service := strings.TrimSpace(api.kubectl(t, "get", "service", "hello", "--output", "jsonpath={.spec.clusterIP}"))
	for _, machine := range p.machines {
		if strings.Contains(machine, "worker") {
			assert.Contains(t, p.engine.on(t, machine,
				"curl -sS --retry 20 --retry-delay 1 --retry-all-errors --max-time 5 http://"+service), "hello-")
		}
		assert.Empty(t, p.engine.on(t, machine, damaged), machine)
	}
	api.await(t, "wait", "--all-namespaces", "--all", "--for=condition=Ready", "pods")
}

// damaged prints what a power failure has damaged on a machine.
const damaged = `
	for file in /etc/machine-id /etc/hostname /etc/passwd /etc/shadow /etc/network/interfaces.d/*; do
		[ -s "$file" ] || echo "$file is empty"
	done
	mkdir -p /run/sshd
	sshd -t 2>&1
	[ -s /home/debian/.ssh/authorized_keys ] || echo "no authorized keys"
	dpkg --audit
	for name in client server; do
		file=/var/lib/kubelet/pki/kubelet-$name-current.pem
		[ ! -e /etc/kubernetes ] || verify-key-pair $file $file
	done
	[ ! -e /etc/calico/pki ] || verify-key-pair /etc/calico/pki/etcd.crt /etc/calico/pki/etcd.key
	systemctl list-units --failed --plain --no-legend
	python3 -c '
import gzip, yaml
with gzip.open("/var/lib/cloud/instance/user-data.txt") as data:
    files = yaml.load(data, yaml.CSafeLoader)["write_files"]
for file in files:
    with open(file["path"]) as found:
        if found.read() != file["content"] and file["path"] != "/etc/calico/confd.env":
            print(file["path"], "differs from the user-data")'
`

// table returns all cuts and their results.
func (p *powerCuts) table() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "machine\tkind\tmoment\tpause\tlast line of the console\tresult\tseconds until ready")
	for _, cut := range p.cuts {
		fmt.Fprintln(w, cut)
	}
	w.Flush()
	return out.String()
}

func (c *powerCut) String() string {
	return fmt.Sprintf("%s\t%s\t%.1f s\t%.0f s\t%s\t%s\t%s", c.machine, c.kind, c.moment.Seconds(), c.pause.Seconds(),
		c.step, c.result, c.ready)
}
