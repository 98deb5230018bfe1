package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// program writes a program that runs script, and returns its path.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh -e\n"+script), 0o700))
	return path
}

func line(namespace, group, resource string) string {
	return fmt.Sprintf(`{"kind":"Policy","spec":{"group":%q,"namespace":%q,"resource":%q}}`+"\n", group, namespace,
		resource)
}

func TestPolicyFile(t *testing.T) {
	dir := t.TempDir()
	path, loaded, broken := filepath.Join(dir, "policy.jsonl"), filepath.Join(dir, "loaded"), filepath.Join(dir, "broken")
	reload := fmt.Sprintf("test -e %[1]s.reload\ntest ! -e %[3]s\ncat %[1]s >>%[2]s\necho loaded >>%[2]s\n", path, loaded,
		broken)
	f := &policyFile{path: path, reload: program(t, reload)}
	prepare := func() error { return nil }
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if !errors.Is(err, os.ErrNotExist) {
			require.NoError(t, err)
		}
		return string(text)
	}

	t.Log("without a policy file, an empty policy is no change")
	require.NoError(t, f.write(nil, prepare))
	assert.Empty(t, read(loaded))

	t.Log("a policy is written and then loaded, once")
	require.NoError(t, f.write([]byte("one\n"), prepare))
	require.NoError(t, f.write([]byte("one\n"), prepare))
	assert.Equal(t, "one\nloaded\n", read(loaded))

	t.Log("if prepare fails, nothing is written")
	require.ErrorContains(t, f.write([]byte("two\n"), func() error { return errLost }),
		path+" was not written: another process has acquired the Lease")
	assert.Equal(t, "one\n", read(path))
	require.NoError(t, f.write([]byte("one\n"), prepare))
	assert.Equal(t, "one\nloaded\n", read(loaded))

	t.Log("after a failed reload, the next run reloads, although the file has not changed")
	require.NoError(t, os.WriteFile(broken, nil, 0o600))
	require.ErrorContains(t, f.write([]byte("two\n"), prepare),
		path+" was written, but kube-apiserver may not have read it: "+f.reload+": exit status 1")
	assert.Equal(t, "two\n", read(path))
	require.Error(t, f.write([]byte("two\n"), prepare))
	require.NoError(t, os.Remove(broken))
	require.NoError(t, f.write([]byte("two\n"), prepare))
	assert.Equal(t, "one\nloaded\ntwo\nloaded\n", read(loaded))
	require.NoError(t, f.write([]byte("two\n"), prepare))
	assert.Equal(t, "one\nloaded\ntwo\nloaded\n", read(loaded))

	t.Log("no temporary files are left")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 2)

	t.Log("without ABAC, nothing happens")
	require.NoError(t, (&policyFile{}).write([]byte("one\n"), prepare))
}

func TestPolicyChanges(t *testing.T) {
	f := &policyFile{path: filepath.Join(t.TempDir(), "policy.jsonl")}
	old := "# a comment\n" + line("a", "alice", "pods") + line("a", "bob", "pods") + line("a", "bob", "secrets")
	require.NoError(t, os.WriteFile(f.path, []byte(old), 0o600))
	policy := []byte(line("a", "bob", "pods") + line("b", "bob", "pods"))

	lines, err := f.changes(policy)
	require.NoError(t, err)
	assert.Equal(t, []string{"+ access to namespace b for group bob", "- access to namespace a for group alice",
		"~ access to namespace a for group bob"}, lines)
	lines, err = f.changes([]byte(old))
	require.NoError(t, err)
	assert.Empty(t, lines)

	less, err := f.revoked(policy)
	require.NoError(t, err)
	assert.Equal(t, line("a", "bob", "pods"), string(less))
}
