//go:build e2e

// Package runner executes the GitHub workflow of examples/ci with the runner of Gitea. The module has the runner's
// version. A Gitea server is not needed: the test has the part of its API that the runner uses.
package runner

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	runnerv1 "code.gitea.io/actions-proto-go/runner/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	root       = "../../.."
	workflows  = root + "/examples/ci/github"
	passphrase = "devcloud" // of Pulumi.dev.yaml
	token      = "0123456789abcdef-token"
)

// forge is a Gitea with the repository me/clusters, and a runner.
type forge struct {
	t       *testing.T
	gitea   *gitea
	folder  string
	exports string // output of `make env`
	path    string // folder of programs that the jobs find before all others
	results map[string]runnerv1.Result
	ids     int64
}

// newForge creates the repositories and registers the runner.
func newForge(t *testing.T) *forge {
	t.Helper()
	env := exec.Command("go", "run", "./hack/toolchain", "env")
	env.Dir = root
	exports, err := env.Output()
	require.NoError(t, err)
	f := &forge{t: t, folder: t.TempDir(), exports: string(exports), results: map[string]runnerv1.Result{}}
	repositories := filepath.Join(f.folder, "repositories")
	f.gitea = startGitea(t, repositories, token)
	f.createActions(repositories)
	f.createClusters(filepath.Join(repositories, "me/clusters"))

	registration, err := json.Marshal(map[string]any{"id": 1, "uuid": "1", "name": "runner", "token": "of the runner",
		"address": f.gitea.url, "labels": []string{"ubuntu-24.04:host"}})
	require.NoError(t, err)
	f.write(".runner", string(registration))
	config, err := yaml.Marshal(map[string]any{
		"runner":    map[string]any{"file": filepath.Join(f.folder, ".runner")},
		"cache":     map[string]any{"enabled": false},
		"host":      map[string]any{"workdir_parent": filepath.Join(f.folder, "actions")},
		"container": map[string]any{"workdir_parent": filepath.Join(f.folder, "workspace")},
	})
	require.NoError(t, err)
	f.write("config.yaml", string(config))
	return f
}

func (f *forge) write(file, text string) {
	f.t.Helper()
	file = filepath.Join(f.folder, file)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(f.t, os.WriteFile(file, []byte(text), 0o755))
}

// shell runs a script with the environment of `make env`.
func (f *forge) shell(script string, args ...string) string {
	f.t.Helper()
	script = f.exports + `PATH="$FIRST$PATH"; ` + script
	cmd := exec.CommandContext(f.t.Context(), "bash", append([]string{"-euc", script, "bash"}, args...)...)
	cmd.Env = append(os.Environ(), "FIRST="+f.path, "ARTIFACTS="+filepath.Join(f.folder, "artifacts"),
		"GIT_AUTHOR_NAME=me", "GIT_AUTHOR_EMAIL=me@example.com", "GIT_COMMITTER_NAME=me",
		"GIT_COMMITTER_EMAIL=me@example.com")
	out, err := cmd.CombinedOutput()
	require.NoError(f.t, err, "%s\n%s\n%s", script, out, f.gitea.log.String())
	return strings.TrimSpace(string(out))
}

// createActions creates a repository for each action of the workflows, from testdata. GitHub cannot be reached, so a
// tag has the name of the commit that the workflows require.
func (f *forge) createActions(repositories string) {
	f.t.Helper()
	require.NoError(f.t, os.CopyFS(repositories, os.DirFS("testdata")))
	uses := regexp.MustCompile(`uses: (\S+)@([0-9a-f]{40})`)
	for _, file := range []string{"clusters.yml", "stack.yml"} {
		text, err := os.ReadFile(filepath.Join(workflows, file))
		require.NoError(f.t, err)
		for _, match := range uses.FindAllStringSubmatch(string(text), -1) {
			f.shell(`cd "$1"; [ -d .git ] || { git init -q -b main; git add .; git commit -qm action; }
				git update-ref "refs/tags/$2" HEAD`, filepath.Join(repositories, match[1]), match[2])
		}
	}
}

// createClusters creates the repository of an organisation: this one with the workflows, and with the stacks staging
// and prod. Pull request 7 has two commits: the first changes staging, and the second only a document.
func (f *forge) createClusters(repository string) {
	f.t.Helper()
	f.shell(`git init -q -b main "$1"; git init -q --bare -b main "$2"
		git --git-dir "$1/.git" --work-tree `+root+` add --all
		cd "$1"; git checkout-index --all
		mkdir -p .github/workflows; cp examples/ci/github/*.yml .github/workflows
		for stack in staging prod; do cp Pulumi.dev.yaml Pulumi.$stack.yaml; done
		git add .; git commit -qm base
		sed -i 's/name: worker/name: general/' Pulumi.staging.yaml; git commit -qam staging
		echo >>README.md; git commit -qam document
		git push -q "$2" HEAD~2:refs/heads/main HEAD:refs/pull/7/head
		export PULUMI_BACKEND_URL="file://$3"; mkdir "$3"
		for stack in staging prod; do pulumi stack init --no-select --stack $stack; done`,
		filepath.Join(f.folder, "clone"), repository, filepath.Join(f.folder, "backend"))
}

// commit returns the ID of a commit of me/clusters.
func (f *forge) commit(name string) string {
	f.t.Helper()
	return f.shell(`git -C "$1" rev-parse "$2"`, filepath.Join(f.folder, "repositories/me/clusters"), name)
}

// run executes a job of clusters.yml for an event, and returns the job's result and its log. Like a Gitea server, it
// gives the runner a workflow with this job only, and the results of the jobs that it needs.
func (f *forge) run(job, event, ref string, payload map[string]any) (runnerv1.Result, string) {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(workflows, "clusters.yml"))
	require.NoError(f.t, err)
	var workflow map[string]any
	require.NoError(f.t, yaml.Unmarshal(text, &workflow))
	definition := workflow["jobs"].(map[string]any)[job].(map[string]any)
	workflow["jobs"] = map[string]any{job: definition}
	text, err = yaml.Marshal(workflow)
	require.NoError(f.t, err)
	needs := map[string]*runnerv1.TaskNeed{}
	if need, ok := definition["needs"].(string); ok {
		needs[need] = &runnerv1.TaskNeed{Result: f.results[need]}
	}
	context, err := structpb.NewStruct(map[string]any{
		"event": payload, "event_name": event, "job": job, "ref": ref, "sha": f.commit(ref), "repository": "me/clusters",
		"repository_owner": "me", "actor": "me", "run_id": "1", "run_number": "1", "run_attempt": "1", "token": token,
		"gitea_default_actions_url": f.gitea.url,
	})
	require.NoError(f.t, err)

	f.ids++
	f.gitea.log.Reset()
	f.gitea.result = runnerv1.Result_RESULT_UNSPECIFIED
	f.gitea.next = &runnerv1.Task{Id: f.ids, WorkflowPayload: text, Context: context, Needs: needs,
		Secrets: map[string]string{"GITHUB_TOKEN": token, "PULUMI_CONFIG_PASSPHRASE": passphrase, "OS_PASSWORD": "hunter2"},
		Vars: map[string]string{"PULUMI_BACKEND_URL": "file://" + filepath.Join(f.folder, "backend"),
			"OS_AUTH_URL": "http://127.0.0.1:1/v3"}} // a preview does not connect to it
	f.shell(`exec "$(go tool -n runner)" --config "$1" daemon --once`, filepath.Join(f.folder, "config.yaml"))
	f.results[job] = f.gitea.result
	log := f.gitea.log.String()
	f.t.Logf("%s: %s", job, f.gitea.result)
	for _, secret := range []string{token, passphrase, "hunter2"} {
		assert.NotContains(f.t, log, secret)
	}
	return f.gitea.result, log
}

// pullRequest returns the event of pull request 7, whose commits are in a repository.
func (f *forge) pullRequest(repository string) map[string]any {
	return map[string]any{"number": 7, "pull_request": map[string]any{
		"base": map[string]any{"sha": f.commit("main")},
		"head": map[string]any{"repo": map[string]any{"full_name": repository}},
	}}
}

// TestPullRequest checks that a pull request gets a preview of the stack that it changes as one comment. The previews
// are those of the real program and engine. A pull request of a fork gets none.
func TestPullRequest(t *testing.T) {
	f := newForge(t)
	const ref = "refs/pull/7/head"
	for _, job := range []string{"preview", "comment", "comment"} {
		result, log := f.run(job, "pull_request", ref, f.pullRequest("me/clusters"))
		require.Equal(t, runnerv1.Result_RESULT_SUCCESS, result, log)
	}
	require.Len(t, f.gitea.comments, 1, "the second run updates the comment of the first")
	assert.Contains(t, f.gitea.comments[0], "\n### staging\n")
	assert.Contains(t, f.gitea.comments[0], "`staging-general-0`: create")
	assert.NotContains(t, f.gitea.comments[0], "prod")

	for _, job := range []string{"preview", "comment"} {
		result, log := f.run(job, "pull_request", ref, f.pullRequest("eve/clusters"))
		assert.Equal(t, runnerv1.Result_RESULT_SKIPPED, result, log)
	}
}

// recording replaces make and pulumi. It writes its arguments to the file CALLS, and fails for the call FAIL.
const recording = `#!/bin/sh
call="${0##*/} $*"
echo "$call: password${OS_PASSWORD:+ set}" >>"$CALLS"
[ "$call" != "$FAIL" ]
`

// TestCommands checks the jobs that need a cloud: the commands that each event calls, in their order, and which of them
// get the password of OpenStack. The commands only record their calls.
func TestCommands(t *testing.T) {
	f := newForge(t)
	f.write("commands/make", recording)
	f.write("commands/pulumi", recording)
	f.path = filepath.Join(f.folder, "commands") + ":"
	calls := filepath.Join(f.folder, "calls")
	t.Setenv("CALLS", calls)
	const (
		success = runnerv1.Result_RESULT_SUCCESS
		failure = runnerv1.Result_RESULT_FAILURE
		skipped = runnerv1.Result_RESULT_SKIPPED
	)
	dispatch := func(stack string) map[string]any { return map[string]any{"inputs": map[string]any{"destroy": stack}} }
	for _, row := range []struct {
		name, event, job string
		payload          map[string]any
		fail             string // the call that fails
		want             runnerv1.Result
		calls            []string // besides those of the actions
	}{
		{"a merge", "push", "staging", nil, "", success,
			[]string{"make resume STACK=staging", "pulumi up --yes --stack staging"}},
		{"prod after staging", "push", "prod", nil, "", success,
			[]string{"make resume STACK=prod", "pulumi up --yes --stack prod"}},
		{"a failure", "push", "staging", nil, "make resume STACK=staging", failure, []string{"make resume STACK=staging"}},
		{"no prod after a failure", "push", "prod", nil, "", skipped, nil},
		{"no preview of a merge", "push", "preview", nil, "", skipped, nil},
		{"no drift of a merge", "push", "drift", nil, "", skipped, nil},
		{"every night", "schedule", "drift", nil, "", success, []string{
			"pulumi preview --refresh --expect-no-changes --diff --stack staging", "make drift STACK=staging",
			"pulumi preview --refresh --expect-no-changes --diff --stack prod", "make drift STACK=prod"}},
		{"no update at night", "schedule", "staging", nil, "", skipped, nil},
		{"no prod at night", "schedule", "prod", nil, "", skipped, nil},
		{"by hand", "workflow_dispatch", "destroy", dispatch("prod"), "", success,
			[]string{"make resume STACK=prod", "pulumi destroy --yes --stack prod"}},
		{"by hand with another name", "workflow_dispatch", "destroy", dispatch("dev"), "", skipped, nil},
	} {
		t.Setenv("FAIL", row.fail)
		require.NoError(t, os.WriteFile(calls, nil, 0o600))
		result, log := f.run(row.job, row.event, "refs/heads/main", row.payload)
		assert.Equal(t, row.want, result, "%s:\n%s", row.name, log)
		text, err := os.ReadFile(calls)
		require.NoError(t, err)
		var got []string
		for line := range strings.Lines(string(text)) {
			call, password, _ := strings.Cut(strings.TrimSpace(line), ": password")
			if call == "pulumi version" { // an action
				assert.Empty(t, password, row.name)
				continue
			}
			assert.Equal(t, " set", password, "%s: %s", row.name, call)
			got = append(got, call)
		}
		assert.ElementsMatch(t, row.calls, got, row.name)
	}
}
