// Package ci tests the examples for CI.
package ci

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// TestActionlint lints the workflows in a repository as GitHub sees it, because one calls the other.
func TestActionlint(t *testing.T) {
	find := exec.Command("go", "tool", "-modfile=hack/toolchain/lint/go.mod", "-n", "actionlint")
	find.Dir = "../.."
	program, err := find.Output()
	require.NoError(t, err, "build actionlint")
	repository := t.TempDir()
	folder := filepath.Join(repository, ".github", "workflows")
	require.NoError(t, os.CopyFS(folder, os.DirFS("github")))
	require.NoError(t, os.Mkdir(filepath.Join(repository, ".git"), 0o755)) // the root of the repository
	lint := func() (string, error) {
		cmd := exec.Command(strings.TrimSpace(string(program)))
		cmd.Dir = repository
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := lint()
	require.NoError(t, err, out)

	wrong := strings.Replace(read(t, "github/clusters.yml"), "command: destroy --yes", "order: destroy --yes", 1)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "clusters.yml"), []byte(wrong), 0o644))
	out, err = lint()
	assert.Error(t, err)
	assert.Contains(t, out, `input "order" is not defined`)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

func parse(t *testing.T, file string, to any) {
	t.Helper()
	require.NoError(t, yaml.UnmarshalStrict([]byte(read(t, file)), to), file)
}

// steps returns all steps of a workflow.
func steps(t *testing.T, file string) []step {
	t.Helper()
	var workflow struct {
		Jobs map[string]struct{ Steps []step }
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, file)), &workflow))
	var all []step
	for _, job := range workflow.Jobs {
		all = append(all, job.Steps...)
	}
	require.NotEmpty(t, all)
	return all
}

type step struct {
	Uses, Run string
	Env       map[string]any
}

// scripts returns all commands of the examples.
func scripts(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, file := range []string{"github/clusters.yml", "github/stack.yml"} {
		for _, s := range steps(t, file) {
			if s.Run != "" {
				all = append(all, s.Run)
			}
		}
	}
	var pipeline map[string]any
	parse(t, "gitlab-ci.yml", &pipeline)
	for name, job := range pipeline {
		job, isJob := job.(map[string]any)
		if !isJob {
			continue
		}
		for key := range job {
			assert.NotContains(t, []string{"before_script", "after_script", "hooks"}, key, name)
		}
		lines, _ := job["script"].([]any)
		for _, line := range lines {
			all = append(all, line.(string))
		}
	}
	require.Len(t, all, 13)
	return all
}

// TestScriptsCallOnlyMakeAndPulumi checks that a script has one command, with no other command in it.
func TestScriptsCallOnlyMakeAndPulumi(t *testing.T) {
	targets := read(t, "../../Makefile")
	var commands []string
	for _, script := range scripts(t) {
		assert.NotRegexp(t, "[\n;&|`<>]|\\$\\(", script)
		assert.NotRegexp(t, `\$\{?[A-Z_]*(PASS|SECRET|TOKEN)|secrets\.|github\.`, script, "a script with a secret")
		if strings.HasPrefix(script, "pulumi ${{ inputs.command }} ") {
			continue // the commands below
		}
		words := strings.Fields(script)
		switch words[0] {
		case "make":
			assert.Contains(t, targets, "\n"+words[1]+": ", script)
		case "pulumi":
			commands = append(commands, strings.Join(words[1:], " "))
		default:
			t.Errorf("%s: calls %s", script, words[0])
		}
	}
	command := regexp.MustCompile(`command: ([^}\n]+)`)
	for _, match := range command.FindAllStringSubmatch(read(t, "github/clusters.yml"), -1) {
		commands = append(commands, match[1]+` --stack "$STACK"`)
	}
	assert.Len(t, commands, 7)
	for _, command := range commands {
		assert.Regexp(t,
			`^(up --yes|preview --refresh --expect-no-changes --diff|destroy --yes) --stack "\$(STACK|DESTROY)"$`, command)
	}
}

// TestSecretsAreOnlyInTheEnvironment checks that secrets are only in variables of the steps that need them, and that
// GitLab's file has none.
func TestSecretsAreOnlyInTheEnvironment(t *testing.T) {
	secret := regexp.MustCompile(`secrets\.|github\.token`)
	for _, file := range []string{"github/clusters.yml", "github/stack.yml"} {
		inSteps := 0
		for _, s := range steps(t, file) {
			for name, value := range s.Env {
				if text, _ := value.(string); secret.MatchString(text) {
					inSteps++
					assert.NotEmpty(t, s.Run, "an action of others gets %s", name)
					assert.Regexp(t, `^\$\{\{ (secrets\.`+name+`|github\.token) \}\}$`, text)
				}
			}
		}
		assert.NotZero(t, inSteps)
		assert.Len(t, secret.FindAllString(read(t, file), -1), inSteps, "%s: a secret outside of a step's env", file)
	}
	assert.NotRegexp(t, `(?m)^[^#\n]*(PASS|SECRET|TOKEN)`, read(t, "gitlab-ci.yml"))
}

// TestJobsEnd checks that each job has a time limit. A backend or a cloud that does not respond must not hold the group
// of a stack for the default of 6 hours.
func TestJobsEnd(t *testing.T) {
	jobs := 0
	for _, file := range []string{"github/clusters.yml", "github/stack.yml"} {
		var workflow struct {
			Jobs map[string]struct {
				Uses           string
				TimeoutMinutes int `json:"timeout-minutes"`
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(read(t, file)), &workflow))
		for name, job := range workflow.Jobs {
			if job.Uses == "" { // otherwise the jobs of stack.yml have the limit
				assert.NotZero(t, job.TimeoutMinutes, "%s: %s", file, name)
				jobs++
			}
		}
	}
	var pipeline map[string]any
	parse(t, "gitlab-ci.yml", &pipeline)
	for name, job := range pipeline {
		if job, isJob := job.(map[string]any); isJob && job["script"] != nil {
			assert.NotEmpty(t, job["timeout"], "gitlab-ci.yml: %s", name)
			jobs++
		}
	}
	assert.Equal(t, 8, jobs)
}

// TestOnlyChangesOfAStackTakeTurns checks that a check of a stack cancels no waiting update. GitHub keeps only one
// waiting job of a group.
func TestOnlyChangesOfAStackTakeTurns(t *testing.T) {
	type inputs struct{ Stack, Environment, Command string }
	var called struct {
		Jobs map[string]struct {
			Concurrency struct {
				Group  string
				Cancel bool `json:"cancel-in-progress"`
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "github/stack.yml")), &called))
	concurrency := called.Jobs["pulumi"].Concurrency
	assert.False(t, concurrency.Cancel)
	var workflow struct {
		Jobs map[string]struct{ With inputs }
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "github/clusters.yml")), &workflow))
	groups := map[string]bool{} // whether the jobs of the group change a stack
	for name, job := range workflow.Jobs {
		if job.With.Stack == "" {
			continue
		}
		group := strings.NewReplacer("${{ inputs.stack }}", job.With.Stack, "${{ inputs.environment }}",
			job.With.Environment).Replace(concurrency.Group)
		group = strings.NewReplacer("${{ matrix.stack }}", "prod", "${{ inputs.destroy }}", "prod").Replace(group)
		changes := !strings.HasPrefix(job.With.Command, "preview")
		if other, known := groups[group]; known {
			assert.Equal(t, other, changes, "%s: other jobs of the group %s", name, group)
		}
		groups[group] = changes
	}
	assert.Equal(t, map[string]bool{"stack-staging": true, "stack-prod": true, "stack-prod-drift": false}, groups)
}

// TestActionsArePinned checks that nobody can change an action after the review of its version.
func TestActionsArePinned(t *testing.T) {
	for _, file := range []string{"github/clusters.yml", "github/stack.yml"} {
		for _, s := range steps(t, file) {
			if s.Uses != "" {
				assert.Regexp(t, `^[\w-]+/[\w-]+@[0-9a-f]{40}$`, s.Uses, file)
			}
		}
	}
}
