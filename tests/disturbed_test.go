//go:build e2e

package tests

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/disturb"
)

var (
	firstSeed = flag.Int("seed", 1, "the seed of the first run")
	runs      = flag.Int("runs", 20, "the number of runs of each kind")
)

// TestDisturbed creates, changes and destroys small clusters, and disturbs each of the three commands at a random
// moment. In one kind of runs it kills the engine, in the other kind the APIs fail for 30 s. Each time, resume and the
// next command must finish. Then OpenStack must have the same resources as without a disturbance, each of them once.
//
// The clusters are those of tests/scale on Nova's fake driver: OpenStack, the engine and the providers are real, and no
// machine runs.
func TestDisturbed(t *testing.T) {
	requireFake(t, "make disturb")
	report := &disturbances{}
	defer report.print(t)
	calm := newLife(t, fmt.Sprintf("calm-%d", *firstSeed), report)
	for i := range stages {
		calm.calm(t, &stages[i])
	}
	t.Run("seed", func(t *testing.T) {
		for seed := *firstSeed; seed < *firstSeed+*runs; seed++ {
			for kind, run := range runKinds {
				if kind == "two" && seed%5 != 1 {
					continue
				}
				name := fmt.Sprintf("%s-%d", kind, seed)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					random := rand.New(rand.NewPCG(uint64(seed), uint64(len(kind))))
					l := newLife(t, name, report)
					for i, s := range stages {
						if !run(l, t, s, random, seed+i) {
							return
						}
					}
				})
			}
		}
	})
}

// runKinds are the kinds of runs. Each function runs a stage, and returns false if its result is wrong. number counts
// the stages of all runs.
var runKinds = map[string]func(l *life, t *testing.T, s stage, random *rand.Rand, number int) bool{
	"kill": (*life).kill,
	"api":  (*life).fail,
	"two":  (*life).two,
}

// stage is a command in the life of a cluster. It runs with a configuration that edit has changed.
type stage struct {
	name, command string
	edit          func(string) string
	// The undisturbed run sets the number of its requests, and the resources in OpenStack after it.
	requests  int
	resources []string
}

var stages = []stage{
	{name: "up", command: "up", edit: unedited},
	{name: "rolling change", command: "up", edit: changedMachines},
	{name: "destroy", command: "destroy", edit: changedMachines},
}

// changedMachines changes the user-data of all machines.
func changedMachines(text string) string {
	return strings.ReplaceAll(text, "http://172.31.250.1", "http://172.31.250.2")
}

// life is the life of one cluster in its own OpenStack project, to which the engine connects through its own proxy.
type life struct {
	name      string
	engine    *engine
	proxy     *disturb.Proxy
	openstack cloud
	before    []string
	report    *disturbances
}

// lives counts the clusters.
var lives atomic.Int32

func newLife(t *testing.T, name string, report *disturbances) *life {
	t.Helper()
	host := fmt.Sprintf("127.1.%d.%d", *firstSeed%256, lives.Add(1))
	l := &life{name: name, report: report, proxy: disturb.Start(t, host, 5000, 8774, 8776, 9292, 9696)}
	direct := ownProject(t, name)
	l.openstack = connect(t, direct)
	l.before = l.openstack.inventory(t)
	text, err := os.ReadFile(direct)
	require.NoError(t, err)
	clouds := filepath.Join(t.TempDir(), "clouds.yaml")
	require.NoError(t, os.WriteFile(clouds, []byte(strings.ReplaceAll(string(text), "127.0.0.1", host)), 0o600))
	tenant, small := patched(t, "tenant.yaml"), patched(t, "disturbed.yaml")
	l.engine = newProjectEngine(t, "tests/scale", name, cloudEnv+"; export OS_CLIENT_CONFIG_FILE='"+clouds+"'",
		func(text string) string { return small(tenant(text)) })
	return l
}

// configure writes the configuration of a stage.
func (l *life) configure(t *testing.T, s stage) {
	t.Helper()
	tenant, small := patched(t, "tenant.yaml"), patched(t, "disturbed.yaml")
	l.engine.configure(t, func(text string) string { return s.edit(small(tenant(text))) })
}

// calm runs a stage without a disturbance, and records its requests and its result.
func (l *life) calm(t *testing.T, s *stage) {
	t.Helper()
	l.configure(t, *s)
	l.proxy.At(0, nil)
	begin := time.Now()
	l.engine.must(s.command, "--yes", "--skip-preview")
	s.requests = l.proxy.Count()
	s.resources = l.resources(t)
	if s.command == "destroy" {
		require.Empty(t, s.resources)
	}
	l.report.add(t,
		row{life: l.name, stage: s.name, moment: fmt.Sprintf("%d requests", s.requests), seconds: time.Since(begin)})
}

// resources returns the resources in the project without their IDs, as soon as Neutron has created or deleted its own
// ports for DHCP.
func (l *life) resources(t *testing.T) []string {
	t.Helper()
	for last := -1; ; time.Sleep(2 * time.Second) {
		created := l.openstack.createdSince(t, l.before)
		for i, resource := range created {
			created[i] = strings.ReplaceAll(resource[:strings.LastIndex(resource, " ")], l.name, "NAME")
		}
		if slices.Sort(created); len(created) == last {
			return created
		}
		last = len(created)
	}
}

// kill runs a stage and kills the engine up to a second after a random request. So the request is on its way, or
// OpenStack has executed it, or the engine has recorded it.
func (l *life) kill(t *testing.T, s stage, random *rand.Rand, _ int) bool {
	t.Helper()
	delay := time.Duration(random.IntN(1000)) * time.Millisecond
	return l.disturbed(t, s, fmt.Sprintf("kill after %.1f s", delay.Seconds()), random, func(command *exec.Cmd) {
		time.AfterFunc(delay, func() { _ = command.Process.Kill() })
	})
}

// fail runs a stage in which the APIs fail for 30 s.
func (l *life) fail(t *testing.T, s stage, random *rand.Rand, number int) bool {
	t.Helper()
	fault := disturb.Faults[number%len(disturb.Faults)]
	return l.disturbed(t, s, string(fault), random, func(*exec.Cmd) { l.proxy.Disturb(fault, 30*time.Second) })
}

// disturbed runs a stage until it succeeds, and checks its result. begin disturbs it at a random request.
func (l *life) disturbed(t *testing.T, s stage, by string, random *rand.Rand, begin func(command *exec.Cmd)) bool {
	t.Helper()
	l.configure(t, s)
	started := time.Now()
	r := row{life: l.name, stage: s.name, disturbance: by, moment: "not reached"}
	defer func() {
		r.seconds = time.Since(started)
		l.report.add(t, r)
	}()
	command, output := l.engine.command(s.command, "--yes", "--skip-preview"), filepath.Join(t.TempDir(), "output")
	file, err := os.Create(output) // a pipe would stay open as long as a provider runs
	require.NoError(t, err)
	defer file.Close()
	command.Stdout, command.Stderr = file, file
	number := 1 + random.IntN(s.requests)
	l.proxy.At(number, func(request string) {
		r.moment = fmt.Sprintf("%d/%d %s", number, s.requests, short(request))
		begin(command)
	})
	require.NoError(t, command.Start())
	err = command.Wait()
	l.proxy.At(0, nil)
	text, readErr := os.ReadFile(output)
	require.NoError(t, readErr)
	r.pending = l.pending(t)
	if err == nil {
		r.ended = "succeeded by itself"
	} else {
		t.Logf("%s, %s at %s, pending %s: %v\n%s", s.name, by, r.moment, r.pending, err, tail(string(text)))
		if !l.recover(t, s, &r) {
			return false
		}
	}
	l.proxy.Wait()
	return l.check(t, s, &r)
}

// recover runs resume, and again when the disturbance has ended. Then it runs the command again.
func (l *life) recover(t *testing.T, s stage, r *row) bool {
	t.Helper()
	out, err := l.resume()
	if err != nil {
		t.Logf("resume: %v\n%s", err, out)
		r.ended = "resume failed, "
		l.proxy.Wait()
		out, err = l.resume()
	}
	if !assert.NoError(t, err, "resume: %s", out) {
		r.ended += "resume failed"
		return false
	}
	t.Logf("resume:\n%s", strings.Join(reports.FindAllString(out, -1), "\n"))
	r.ended += counted(out)
	l.proxy.Wait()
	out, err = l.engine.try(s.command, "--yes", "--skip-preview")
	if !assert.NoError(t, err, "the next %s: %s", s.command, out) {
		r.ended += ", " + s.command + " failed"
		return false
	}
	r.ended += ", " + s.command
	return true
}

func (l *life) resume() (string, error) {
	const line = `cd "$1" && exec go run ../../cmd/resume -s "$2"`
	out, err := l.engine.shell(line, l.engine.project, l.name).CombinedOutput()
	return string(out), err
}

// check checks that OpenStack has the same resources as after an undisturbed stage, and that the state has them, too.
func (l *life) check(t *testing.T, s stage, r *row) bool {
	t.Helper()
	ok := assert.Equal(t, s.resources, l.resources(t), "resources in OpenStack after %s with %s", s.name, r.disturbance)
	if s.command == "up" {
		out, err := l.engine.try("preview", "--refresh", "--expect-no-changes", "--diff")
		ok = assert.NoError(t, err, "a preview: %s", out) && ok
	} else {
		ok = assert.Empty(t, l.state(t).Resources) && ok
	}
	if !ok {
		r.ended += ", WRONG RESULT"
	}
	return ok
}

// two runs a stage, and up to a second later another command on the same stack. Each of the two succeeds or is refused.
// Then the stage succeeds.
func (l *life) two(t *testing.T, s stage, random *rand.Rand, number int) bool {
	t.Helper()
	l.configure(t, s)
	begin, delay := time.Now(), time.Duration(random.IntN(1000))*time.Millisecond
	other := []string{"up", "destroy"}[number%2]
	results := make(chan string)
	for i, command := range []string{s.command, other} {
		go func() {
			time.Sleep(time.Duration(i) * delay)
			out, err := l.engine.try(command, "--yes", "--skip-preview")
			switch {
			case err == nil:
				results <- command + " succeeded"
			case strings.Contains(out, "the stack is currently locked by "):
				results <- command + " was refused"
			default:
				assert.NoError(t, err, out)
				results <- command + " FAILED"
			}
		}()
	}
	r := row{life: l.name, stage: s.name, disturbance: fmt.Sprintf("%s after %.1f s", other, delay.Seconds())}
	r.ended = <-results + ", " + <-results
	out, err := l.engine.try(s.command, "--yes", "--skip-preview")
	ok := assert.NoError(t, err, out)
	ok = l.check(t, s, &r) && ok
	r.seconds = time.Since(begin)
	l.report.add(t, r)
	return ok
}

// checkpoint is the part of the state that the tests read.
type checkpoint struct {
	Resources         []struct{ URN string }
	PendingOperations []struct {
		Type     string
		Resource struct{ URN string }
	} `json:"pending_operations"`
}

// state reads the file of the state, because `pulumi stack export` cannot read every file that a killed engine leaves.
func (l *life) state(t *testing.T) checkpoint {
	t.Helper()
	folder := strings.TrimPrefix(l.engine.env[len(l.engine.env)-1], "PULUMI_BACKEND_URL=file://")
	text, err := os.ReadFile(filepath.Join(folder, ".pulumi/stacks/scale", l.name+".json"))
	require.NoError(t, err)
	var file struct{ Checkpoint struct{ Latest checkpoint } }
	require.NoError(t, json.Unmarshal(text, &file))
	return file.Checkpoint.Latest
}

// pending returns the pending operations, such as "2 creating Port, deleting Instance".
func (l *life) pending(t *testing.T) string {
	t.Helper()
	count := map[string]int{}
	for _, op := range l.state(t).PendingOperations {
		token := strings.Split(op.Resource.URN, "::")[2]
		count[op.Type+" "+token[strings.LastIndex(token, ":")+1:]]++
	}
	return joined(count)
}

// joined returns the counted texts, sorted.
func joined(count map[string]int) string {
	var all []string
	for text, n := range count {
		if n > 1 {
			text = fmt.Sprintf("%d %s", n, text)
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(all, ", "), "nothing")
}

// reports matches the lines of resume itself.
var reports = regexp.MustCompile(`(?m)^resume .*$`)

// resumed matches the lines of what resume did with one resource.
var resumed = regexp.MustCompile(`(?m)^resume +\S+  (adopt|clear|delete|replace) `)

// counted returns the number of resources by what resume did with them.
func counted(output string) string {
	count := map[string]int{}
	for _, match := range resumed.FindAllStringSubmatch(output, -1) {
		count[match[1]]++
	}
	return "resume: " + joined(count)
}

var apis = strings.NewReplacer(":5000/v3/", "identity ", ":8774/v2.1/", "compute ", ":8776/v3/", "volume ",
	":9292/v2/", "image ", ":9696/v2.0/", "network ")

// ids matches IDs of resources and projects.
var ids = regexp.MustCompile(`[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}`)

// short shortens the name of a request.
func short(request string) string { return ids.ReplaceAllString(apis.Replace(request), "ID") }

// tail returns the last lines of an output.
func tail(output string) string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(output), "\n"), func(line string) bool {
		return strings.HasPrefix(strings.TrimSpace(line), "@ ")
	})
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

// disturbances is the table of all disturbed commands.
type disturbances struct {
	mu   sync.Mutex
	rows []row
}

type row struct {
	life, stage, moment, disturbance, pending, ended string
	seconds                                          time.Duration
}

const columns = "%-8s | %-14s | %-50s | %-18s | %-60s | %-60s | %s"

func (r row) String() string {
	return fmt.Sprintf(columns, r.life, r.stage, r.moment, r.disturbance, r.pending, r.ended,
		fmt.Sprintf("%4.0f", r.seconds.Seconds()))
}

func (d *disturbances) add(t *testing.T, r row) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rows = append(d.rows, r)
	t.Log(r)
}

// print prints the table.
func (d *disturbances) print(t *testing.T) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.SortStableFunc(d.rows, func(a, b row) int { return strings.Compare(a.life, b.life) })
	var table strings.Builder
	fmt.Fprintf(&table, columns+"\n", "Seed", "Command", "Request", "Disturbance", "Pending operations", "Then", "Seconds")
	for _, r := range d.rows {
		fmt.Fprintln(&table, strings.TrimRight(r.String(), " "))
	}
	fmt.Println(table.String())
}
