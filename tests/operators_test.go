package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/openstack"
)

// TestTwoOperators checks with the real engine that only one command at a time changes a stack. The other command names
// the process with the lock. resume removes the lock of a killed engine, and no other.
func TestTwoOperators(t *testing.T) {
	t.Parallel()
	cloud := openstack.Start(t, "compute", "block-storage", "network")
	started, proceed := make(chan bool), make(chan bool)
	wait := true
	s := newStack(t, func(*pulumi.Context) error {
		if wait {
			started <- true
			<-proceed
		}
		return nil
	}, projectIn(t, ""))
	setEnv(t, s, cloud.Env())
	resume := resumeOf(t, s)
	up := func() (string, error) {
		result, err := s.Up(t.Context())
		return result.StdOut + fmt.Sprint(err), err
	}
	ended := make(chan error, 1)
	begin := func() (engine int) {
		go func() { _, err := up(); ended <- err }()
		<-started
		return lockOf(t, s.Workspace().GetEnvVars()["PULUMI_BACKEND_URL"])
	}

	t.Log("the second command changes nothing while the first one runs")
	engine := begin()
	out, err := up()
	assert.Error(t, err)
	assert.Contains(t, out, "the stack is currently locked by 1 lock(s)")
	assert.Contains(t, out, fmt.Sprintf("(pid %d)", engine))
	out, err = resume()
	assert.Error(t, err)
	assert.Contains(t, out, fmt.Sprintf("the stack is locked by process %d, which is running: wait until it ends", engine))
	proceed <- true
	require.NoError(t, <-ended)

	t.Log("after a kill of the first one, resume removes its lock")
	engine = begin()
	require.NoError(t, syscall.Kill(engine, syscall.SIGKILL))
	close(proceed)
	assert.Error(t, <-ended)
	wait = false
	out, err = up()
	assert.Error(t, err)
	assert.Contains(t, out, "the stack is currently locked by 1 lock(s)")
	out, err = resume()
	require.NoError(t, err, out)
	assert.Contains(t, out, fmt.Sprintf("unlocked test: process %d, which held the lock, has ended", engine))
	assert.Contains(t, out, "stack test has nothing to resume")
	out, err = up()
	require.NoError(t, err, out)

	t.Log("resume does not undo the changes of a command that ran while it searched")
	interrupt(t, s)
	path, _ := stateFile(t, s)
	logins := len(cloud.Requests("POST /v3/auth/tokens"))
	go func() {
		for len(cloud.Requests("POST /v3/auth/tokens")) == logins { // the search has not begun
			time.Sleep(50 * time.Millisecond)
		}
		text, err := os.ReadFile(path)
		assert.NoError(t, err)
		changed := strings.ReplaceAll(string(text), `"other"`, `"another"`)
		assert.NoError(t, os.WriteFile(path, []byte(changed), 0o600))
	}()
	out, err = resume()
	assert.Error(t, err)
	assert.Contains(t, out, "another command has changed the state of test meanwhile, so nothing was changed")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"another"`)
	out, err = resume()
	require.NoError(t, err, out)
	assert.Contains(t, out, "clear   openstack:networking/secGroup:SecGroup other: no resource to adopt")
}

// lockOf returns the process of the only lock in a backend.
func lockOf(t *testing.T, backend string) int {
	t.Helper()
	files, err := filepath.Glob(strings.TrimPrefix(backend, "file://") + "/.pulumi/locks/organization/*/*/*.json")
	require.NoError(t, err)
	require.Len(t, files, 1)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	var lock struct{ PID int }
	require.NoError(t, json.Unmarshal(text, &lock))
	return lock.PID
}
