// Package guest runs commands in the root filesystem of the machines' image, for tests that need the
// machines' tools.
package guest

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

//go:embed run.sh
var script string

// Run runs cmd as root in a copy-on-write view of the image, and returns its standard output and error. files
// maps absolute paths to contents that are added to the view. Files in a bin or sbin folder, and below /usr/libexec,
// are executable. cmd uses the network of the caller. It has its own mounts and processes, which end with it. The image
// is $GUEST_IMAGE (a squashfs), or the one that devcloud builds. Runs may be parallel. A run that hangs is killed after
// 20 minutes, so that its output is still seen.
func Run(t testing.TB, files map[string]string, cmd ...string) (output string, err error) {
	t.Helper()
	b, err := base()
	require.NoError(t, err, "no guest image, run make test")
	dir := b.add(t, files)
	defer func() { require.NoError(t, os.RemoveAll(dir)) }()
	return b.run(t.Context(), dir, script, []string{"--mount", "--pid"},
		append([]string{layers(t)}, cmd...)...)
}

// add creates the folder of a run with its files.
func (b *mounted) add(t testing.TB, files map[string]string) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp(b.path("runs"), "")
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "files"), 0o755))
	for name, content := range files {
		require.NoError(t, b.write(filepath.Join(dir, "files", name), content))
	}
	return dir
}

// run runs a script in new namespaces with the path of dir, which add created, and with arguments.
func (b *mounted) run(ctx context.Context, dir, script string, namespaces []string,
	arguments ...string) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "nsenter", slices.Concat([]string{"--mount=" + b.proc("ns/mnt"), "--", "unshare"},
		namespaces, []string{"--fork", "--kill-child", "--propagation", "private", "sh", "-c", script, "guest",
			"/dev/shm/runs/" + filepath.Base(dir)}, arguments)...)
	// The kernel shares the processors between sessions. With its own session, a run gets a fair share, as a
	// machine does.
	run.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	run.WaitDelay = 5 * time.Second // a process that outlives the script and holds its output is an error, not a hang
	err = run.Run()
	return out.String(), err
}

//go:embed base.sh
var baseScript string

// mounted is the process that holds the mounts of all runs. It mounts the image only once, so that pages of
// the image stay in memory from one run to the next. It ends with the test process.
type mounted struct {
	process *os.Process
	input   io.Closer // held open; the end of this process closes it

	mu    sync.Mutex
	large map[file]string // paths of shared files, because a program has up to 100 MB
}

type file struct {
	content string
	mode    os.FileMode
}

var base = sync.OnceValues(func() (*mounted, error) { return mountImage("GUEST_IMAGE") })

// mountImage mounts the squashfs in an environment variable, or the one that devcloud builds with `image` and the
// arguments.
func mountImage(variable string, arguments ...string) (*mounted, error) {
	if path := os.Getenv(variable); path != "" {
		return mount(path)
	}
	build := exec.Command("go", append([]string{"run", "kubernetes-openstack/hack/devcloud", "image"}, arguments...)...)
	var stderr bytes.Buffer
	build.Stderr = &stderr
	out, err := build.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", &stderr, err)
	}
	return mount(strings.TrimSpace(string(out)))
}

// mount mounts a squashfs.
func mount(image string) (*mounted, error) {
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", baseScript, "base", image)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(output, make([]byte, len("ready\n"))); err != nil {
		return nil, fmt.Errorf("mount %s: %w: %s", image, cmd.Wait(), &stderr)
	}
	return &mounted{process: cmd.Process, input: input, large: map[file]string{}}, nil
}

func (b *mounted) proc(name string) string { return fmt.Sprintf("/proc/%d/%s", b.process.Pid, name) }

// path returns a path in the tmpfs, as this process sees it.
func (b *mounted) path(elem ...string) string {
	return filepath.Join(append([]string{b.proc("root/dev/shm")}, elem...)...)
}

func (b *mounted) write(target, content string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if strings.HasSuffix(filepath.Dir(target), "bin") || strings.Contains(target, "/usr/libexec/") {
		mode = 0o755
	}
	if len(content) < 1<<20 {
		return os.WriteFile(target, []byte(content), mode)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	first, written := b.large[file{content, mode}]
	if !written {
		first = b.path("large", fmt.Sprint(len(b.large)))
		if err := os.WriteFile(first, []byte(content), mode); err != nil {
			return err
		}
		b.large[file{content, mode}] = first
	}
	return os.Link(first, target)
}
