package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/internal/review"
)

// engine runs the real Pulumi engine on one stack, which has its own backend and its own configuration file.
type engine struct {
	t       testing.TB
	project string // path of its folder, relative to the repository's root
	stack   string
	env     []string
	backend string // folder of the state
	// devcloud returns the path of the command devcloud. The first call builds it.
	devcloud func() string
	output   transcript
}

// transcript is what pulumi printed, except for commands that show secrets.
type transcript struct {
	mutex sync.Mutex
	text  strings.Builder
}

func (o *transcript) add(text string) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.text.WriteString(text)
}

func (o *transcript) String() string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.text.String()
}

// newEngine creates a stack of the repository's own project; see newProjectEngine.
func newEngine(t testing.TB, stack, setup string, edit func(string) string) *engine {
	t.Helper()
	return newProjectEngine(t, ".", stack, setup, edit)
}

// newProjectEngine creates a stack with the development stack's configuration, after edit has changed its
// text. setup is shell code that exports the environment. After the test, it deletes the stack's state and
// its file.
func newProjectEngine(t testing.TB, project, stack, setup string, edit func(string) string) *engine {
	t.Helper()
	e := &engine{t: t, project: project, stack: stack, backend: t.TempDir()}
	e.devcloud = sync.OnceValue(e.buildDevcloud)
	e.configure(t, edit)

	show := exec.Command("bash", "-euo", "pipefail", "-c", setup+"; env -0")
	show.Dir, show.Stderr = "..", os.Stderr
	env, err := show.Output()
	require.NoError(t, err, "the toolchain must be built and devcloud must be up: run this test with make")
	e.env = append(strings.Split(strings.Trim(string(env), "\x00"), "\x00"), "PULUMI_BACKEND_URL=file://"+e.backend)
	e.must("stack", "init", "--no-select") // parallel tests may select a stack
	return e
}

// configure writes the stack's file from the development stack's file, after edit has changed its text.
func (e *engine) configure(t testing.TB, edit func(string) string) {
	t.Helper()
	text, err := os.ReadFile("../Pulumi.dev.yaml")
	require.NoError(t, err)
	// a destroy deletes the container, so each stack has its own
	dev := replaced(t, "{container: dev-etcd}", "{container: "+e.stack+"-etcd}")(string(text))
	file := filepath.Join("..", e.project, "Pulumi."+e.stack+".yaml")
	require.NoError(t, os.WriteFile(file, []byte(edit(dev)), 0o600))
	e.t.Cleanup(func() { os.Remove(file) })
}

func unedited(text string) string { return text }

// patched returns an edit that applies a merge patch in testdata; see merged.
func patched(t testing.TB, patch string) func(string) string {
	t.Helper()
	change, err := os.ReadFile(filepath.Join("testdata", patch))
	require.NoError(t, err)
	return merged(t, string(change))
}

// merged returns an edit that applies a merge patch (RFC 7396) in YAML to the cluster's configuration in a stack's
// text.
func merged(t testing.TB, patch string) func(string) string {
	t.Helper()
	change, err := yaml.YAMLToJSON([]byte(patch))
	require.NoError(t, err)
	change = fmt.Appendf(nil, `{"config": {"kubernetes-openstack:cluster": %s}}`, change)
	return func(text string) string {
		stack, err := yaml.YAMLToJSON([]byte(text))
		require.NoError(t, err)
		stack, err = jsonpatch.MergePatch(stack, change)
		require.NoError(t, err)
		return string(stack)
	}
}

const toolchainEnv = `eval "$(go run ./hack/toolchain env)"`

// noCloud is toolchainEnv with a login to an OpenStack that does not exist.
const noCloud = toolchainEnv +
	"; export OS_AUTH_URL=http://127.0.0.1:1/v3 OS_USERNAME=u OS_PASSWORD=p OS_PROJECT_NAME=p OS_DOMAIN_NAME=Default"

// command returns `pulumi ARGS… --stack STACK`, which runs in the project's folder.
func (e *engine) command(args ...string) *exec.Cmd {
	args = append(args, "--cwd", e.project, "--stack", e.stack, "--non-interactive", "--color=never")
	return e.shell(`exec pulumi "$@"`, args...)
}

// shell returns a bash command, which runs in the repository's root with the engine's environment.
func (e *engine) shell(line string, args ...string) *exec.Cmd {
	cmd := exec.Command("bash", append([]string{"-c", line, "bash"}, args...)...)
	cmd.Dir, cmd.Env = "..", e.env
	return cmd
}

// buildDevcloud builds devcloud only once, because tests that wait run hundreds of its commands.
func (e *engine) buildDevcloud() string {
	e.t.Helper()
	path := filepath.Join(e.t.TempDir(), "devcloud")
	out, err := e.shell(`exec go build -o "$1" ./hack/devcloud`, path).CombinedOutput()
	require.NoError(e.t, err, string(out))
	return path
}

// try runs pulumi and returns its standard output and error.
func (e *engine) try(args ...string) (string, error) {
	out, err := e.command(args...).CombinedOutput()
	if !slices.Contains(args, "--show-secrets") {
		e.output.add(string(out))
	}
	return string(out), err
}

func (e *engine) must(args ...string) string {
	e.t.Helper()
	out, err := e.try(args...)
	require.NoError(e.t, err, out)
	return out
}

// TestPreviewNeedsNoNetwork checks that a reviewer's preview needs no cloud and no network. It runs in a
// network namespace that has only the interface lo. No secret of the configuration is in its output, in its files or in
// the arguments of a process.
func TestPreviewNeedsNoNetwork(t *testing.T) {
	t.Parallel()
	markers := map[string]string{}
	e := newEngine(t, "test", noCloud, withMarkers(t, markers))
	secrets := newSearch(markers)
	arguments := watchArguments(secrets)
	out, err := e.shell(
		`exec unshare --net bash -c 'ip link set lo up; exec pulumi preview --diff --stack test --color never'`).
		CombinedOutput()
	assert.Empty(t, arguments())
	require.NoError(t, err, string(out))
	assert.NotEmpty(t, markers)
	assert.Empty(t, secrets.in(string(out)))
	assert.Empty(t, secrets.inFolder(t, e.backend))
	assert.Contains(t, string(out), "openstack:compute/instance:Instance: (create)")
	assert.Contains(t, string(out), "changes of machines: 7\n")
	assert.NotContains(t, string(out), "warning: ")
	assert.NotContains(t, string(out), "PRIVATE KEY")
	assert.NotContains(t, string(out), "#cloud-config", "user-data")
	assert.NotContains(t, string(out), "H4sI", "gzipped user-data begins with this")
}

// TestWrongConfigurationAtPreview checks that ten mistakes give ten lines at preview, and that nothing is
// created.
func TestWrongConfigurationAtPreview(t *testing.T) {
	t.Parallel()
	mistakes, err := os.ReadFile("../cluster/testdata/ten-mistakes.yaml")
	require.NoError(t, err)
	want, err := os.ReadFile("../cluster/testdata/ten-mistakes.txt")
	require.NoError(t, err)
	e := newEngine(t, "mistakes", toolchainEnv, func(string) string {
		indented := bytes.ReplaceAll(append([]byte("\n"), bytes.TrimSpace(mistakes)...), []byte("\n"), []byte("\n    "))
		return "config:\n  kubernetes-openstack:cluster:" + string(indented) + "\n"
	})
	out, err := e.try("preview")
	require.Error(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(want)), "\n") {
		assert.Contains(t, out, strings.TrimSpace(line))
	}
}

// TestPolicyAtPreview checks that a preview has the warnings of package policy, that it fails for its errors, and that
// its review has both.
func TestPolicyAtPreview(t *testing.T) {
	t.Parallel()
	e := newEngine(t, "policy", toolchainEnv, merged(t, "devcloud: false\nssh: {allowedCIDRs: [0.0.0.0/0]}"))
	out, err := e.command("preview", "--json").Output()
	require.Error(t, err)
	assert.Contains(t, string(out), "policy: protect: is false. ")
	assert.NotContains(t, string(out), "openstack:networking", "no resource was declared")
	r, err := review.New("policy", out, time.Now())
	require.NoError(t, err, string(out))
	assert.Equal(t, review.Refused, r.Result)
	text := review.WholeText([]review.Review{r})
	assert.Contains(t, text, "\n- warning: `protect`: is false. ")
	const open = ": 0.0.0.0/0 is open to the world. "
	assert.Contains(t, text, "The preview failed:\n")
	assert.Equal(t, 2, strings.Count(text, open), "in the error of the preview, and in the list of rules: %s", text)
}
