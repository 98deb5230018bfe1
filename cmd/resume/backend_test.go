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
	dead := ended.Process.Pid
	host, err := os.Hostname()
	require.NoError(t, err)

	for name, test := range map[string]struct {
		pids []int
		host string
		want string
	}{
		"none":                {nil, host, ""},
		"dead":                {[]int{dead}, host, ""},
		"alive":               {[]int{os.Getpid()}, host, fmt.Sprintf("process %d, which is running", os.Getpid())},
		"one of them alive":   {[]int{dead, os.Getpid()}, host, fmt.Sprintf("process %d, which is running", os.Getpid())},
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
		})
	}
}

func TestZombieIsDead(t *testing.T) {
	killed := exec.Command("sleep", "60")
	require.NoError(t, killed.Start())
	assert.True(t, alive(killed.Process.Pid))
	require.NoError(t, killed.Process.Kill())
	assert.Eventually(t, func() bool { return !alive(killed.Process.Pid) }, 5*time.Second, 10*time.Millisecond)
	assert.Error(t, killed.Wait())
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
