package etcdctl

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestErrors(t *testing.T) {
	for script, want := range map[string]string{
		`echo '{"level":"warn"}' >&2; echo 'Error: no quorum' >&2; exit 1`: "etcdctl member list: no quorum",
		"echo 'etcdctl: no quorum' >&2; exit 1":                            "etcdctl member list: no quorum",
		"exit 3":                                                           "etcdctl member list: exit status 3",
		"kill -KILL $$":                                                    "etcdctl member list: signal: killed",
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "etcdctl"), []byte("#!/bin/sh\n"+script), 0o755))
		t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
		_, err := Client{}.Run(t.Context(), "member", "list", "--write-out=json")
		require.EqualError(t, err, want)
	}
	_, err := Run(exec.Command("/nonexistent"))
	require.EqualError(t, err, "/nonexistent: fork/exec /nonexistent: no such file or directory")
}

// etcdctl gets no secrets of its caller.
func TestEnvironment(t *testing.T) {
	t.Setenv("PATH", "/bin")
	t.Setenv("OS_APPLICATION_CREDENTIAL_SECRET", "secret")
	cmd := Client{PKI: "/pki", Endpoints: []string{"https://a:2379", "https://b:2379"}}.Command(t.Context(), "get", "key")
	assert.Equal(t, []string{"etcdctl", "get", "key"}, cmd.Args)
	assert.Equal(t, []string{"PATH=/bin", "ETCDCTL_ENDPOINTS=https://a:2379,https://b:2379",
		"ETCDCTL_CACERT=/pki/ca.crt", "ETCDCTL_CERT=/pki/client.crt", "ETCDCTL_KEY=/pki/client.key"}, cmd.Env)
}
