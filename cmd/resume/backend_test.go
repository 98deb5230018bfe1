package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/progress"
)

func TestDeadLocks(t *testing.T) {
	ended := exec.Command("true")
	require.NoError(t, ended.Run())
	dead, engine := ended.Process.Pid, startPulumi(t).Process.Pid
	host, err := os.Hostname()
	require.NoError(t, err)

	for name, test := range map[string]struct {
		pids []int
		host string
		want string
	}{
		"none":                {nil, host, ""},
		"dead":                {[]int{dead}, host, ""},
		"another program":     {[]int{os.Getpid()}, host, ""},
		"alive":               {[]int{engine}, host, fmt.Sprintf("process %d, which is running", engine)},
		"one of them alive":   {[]int{dead, engine}, host, fmt.Sprintf("process %d, which is running", engine)},
		"dead, on other host": {[]int{dead}, "elsewhere", fmt.Sprintf("process %d of me on elsewhere", dead)},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for i, pid := range test.pids {
				text := fmt.Sprintf(`{"pid":%d,"username":"me","hostname":%q,"timestamp":"2026-11-22T12:00:00Z"}`, pid, test.host)
				require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprint(i, ".json")), []byte(text), 0o600))
			}
			locks, err := deadLocks(folder)
			if test.want != "" {
				assert.ErrorContains(t, err, test.want)
				return
			}
			require.NoError(t, err)
			assert.Len(t, locks, len(test.pids))
			for file, pid := range locks {
				assert.FileExists(t, file)
				assert.Contains(t, test.pids, pid)
			}
		})
	}
}

// TestUnlock checks that only the locks of dead processes are removed, and no lock of another operator.
func TestUnlock(t *testing.T) {
	ended := exec.Command("true")
	require.NoError(t, ended.Run())
	host, err := os.Hostname()
	require.NoError(t, err)
	b := &backend{folder: t.TempDir(), project: "p"}
	locks := filepath.Join(b.folder, "locks/organization/p/dev")
	require.NoError(t, os.MkdirAll(locks, 0o700))
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(locks, name), []byte(text), 0o600))
	}
	write("1.json", fmt.Sprintf(`{"pid":%d,"hostname":%q}`, ended.Process.Pid, host))
	write("1.json.attrs", "{}")
	write("2.json", fmt.Sprintf(`{"pid":%d,"hostname":%q}`, ended.Process.Pid, host))
	require.NoError(t, b.unlock("organization/p/dev", progress.New(io.Discard, "")))
	left, err := os.ReadDir(locks)
	require.NoError(t, err)
	assert.Empty(t, left)

	write("1.json", fmt.Sprintf(`{"pid":%d,"hostname":%q}`, ended.Process.Pid, host))
	write("2.json", fmt.Sprintf(`{"pid":%d,"hostname":%q}`, startPulumi(t).Process.Pid, host))
	assert.ErrorContains(t, b.unlock("dev", progress.New(io.Discard, "")), "which is running")
	assert.FileExists(t, filepath.Join(locks, "1.json"))
	assert.FileExists(t, filepath.Join(locks, "2.json"))
}

// startPulumi starts a process whose program is called pulumi. It ends with the test.
func startPulumi(t *testing.T) *exec.Cmd {
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	text, err := os.ReadFile(sleep)
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), "pulumi")
	require.NoError(t, os.WriteFile(program, text, 0o700))
	engine := exec.Command(program, "60")
	require.NoError(t, engine.Start())
	t.Cleanup(func() {
		_ = engine.Process.Kill()
		_ = engine.Wait()
	})
	return engine
}

func TestZombieIsDead(t *testing.T) {
	killed := startPulumi(t)
	assert.True(t, alive(killed.Process.Pid))
	require.NoError(t, killed.Process.Kill())
	assert.Eventually(t, func() bool { return !alive(killed.Process.Pid) }, 5*time.Second, 10*time.Millisecond)
}

func TestExpand(t *testing.T) {
	folder, err := expand("/var/state?no_tmp_dir=true")
	require.NoError(t, err)
	assert.Equal(t, "/var/state", folder)
	folder, err = expand("~/state")
	require.NoError(t, err)
	assert.True(t, filepath.IsAbs(folder))
	assert.Equal(t, "state", filepath.Base(folder))
}

func TestRemoveIncomplete(t *testing.T) {
	b := &backend{folder: t.TempDir(), project: "p"}
	stacks := filepath.Join(b.folder, "stacks/p")
	require.NoError(t, os.MkdirAll(stacks, 0o700))
	for name, text := range map[string]string{
		"dev.json": "{}", "dev.json.attrs": "", "prod.json": "{}", "prod.json.attrs": `{"user.content_type":"text/plain"}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(stacks, name), []byte(text), 0o600))
	}
	require.NoError(t, b.removeIncomplete(progress.New(io.Discard, "")))
	assert.NoFileExists(t, filepath.Join(stacks, "dev.json.attrs"))
	assert.FileExists(t, filepath.Join(stacks, "prod.json.attrs"))
	assert.FileExists(t, filepath.Join(stacks, "dev.json"))
}
