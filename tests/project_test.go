package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/tests/openstack"
)

// TestOtherProject checks with the real engine that no command changes the state or the cloud with credentials of
// another project, or with credentials of no project. The ID decides, and not the name of the project.
func TestOtherProject(t *testing.T) {
	t.Parallel()
	cloud := openstack.Start(t, "compute", "block-storage", "network", "load-balancer")
	cloud.Name("renamed", openstack.Project)
	plan := smallPlan(t, cluster.CoreDNS)
	plan.Rules = plan.Rules[:2]
	first := true
	s := newStack(t, func(ctx *pulumi.Context) error {
		security, err := infra.NewSecurity(ctx, plan)
		if err != nil || first {
			return err // the groups alone are the state of a stack that does not have the provider yet
		}
		project, err := infra.NewProject(ctx, plan, security)
		if err != nil {
			return err
		}
		if err := security.Allow(ctx, plan); err != nil {
			return err
		}
		_, err = infra.NewLeftovers(ctx, plan, &infra.Network{}, &infra.Security{}, &infra.PKI{}, &infra.Backup{}, project)
		return err
	}, projectIn(t, ""))
	resume := resumeOf(t, s)
	login := func(project string) {
		env := cloud.Env()
		env["OS_PROJECT_NAME"] = project
		setEnv(t, s, env)
	}
	commands := map[string]func() (string, error){
		"up": func() (string, error) {
			up, err := s.Up(t.Context())
			return up.StdOut + fmt.Sprint(err), err
		},
		"refresh": func() (string, error) {
			refresh, err := s.Refresh(t.Context())
			return refresh.StdOut + fmt.Sprint(err), err
		},
		"destroy": func() (string, error) {
			destroy, err := s.Destroy(t.Context())
			return destroy.StdOut + fmt.Sprint(err), err
		},
		"resume": func() (string, error) {
			interrupt(t, s)
			return resume()
		},
	}
	succeed := func(names ...string) {
		t.Helper()
		for _, name := range names {
			out, err := commands[name]()
			require.NoError(t, err, name+": "+out)
		}
	}
	const other = "the credentials are for OpenStack project theirs (theirs), but the resources of this stack are in " +
		"project ours, so nothing was changed: set OS_CLOUD or the OS_* variables for project ours"
	refuse := func(project, want string, names ...string) {
		t.Helper()
		login(project)
		for _, name := range names {
			before, things, requests := resources(t, s), cloud.IDs(), len(changingRequests(cloud))
			out, err := commands[name]()
			assert.Error(t, err, name)
			assert.Contains(t, out, want, name)
			assert.Equal(t, before, resources(t, s), "the state after %s with project %q", name, project)
			assert.Equal(t, things, cloud.IDs(), name)
			assert.Empty(t, changingRequests(cloud)[requests:], name)
		}
	}

	t.Log("an empty state belongs to any project")
	login(openstack.Project)
	succeed("up")
	t.Log("the state of a stack without the provider has the ID of its project, too")
	first = false
	refuse("theirs", other, "up", "resume")
	login(openstack.Project)
	succeed("up")
	preview, err := s.Preview(t.Context(), optpreview.ExpectNoChanges())
	require.NoError(t, err, preview.StdOut)
	t.Log("a preview needs no cloud")
	cloud.Down(true)
	preview, err = s.Preview(t.Context(), optpreview.ExpectNoChanges())
	require.NoError(t, err, preview.StdOut)
	refuse(openstack.Project, "cannot verify that the credentials are for OpenStack project ours", "refresh", "destroy")
	cloud.Down(false)

	plan.Rules = smallPlan(t, cluster.CoreDNS).Rules[:3]
	refuse("theirs", other, "up", "refresh", "destroy", "resume")
	refuse("", "the credentials must be for a project", "refresh", "destroy", "resume")
	for _, project := range []string{"renamed", openstack.Project} {
		login(project)
		succeed("resume", "refresh", "up")
		assert.Len(t, cloud.Requests("POST /network/v2.0/security-group-rules"), 3, project)
	}
	login("renamed")
	succeed("destroy")
	assert.Empty(t, cloud.IDs())
	assert.Empty(t, resources(t, s))
}

// TestMoveToAnotherProject checks with the real engine the documented commands that create the cluster again in another
// project. They keep the keys, without which a snapshot is useless, and change nothing in the old project.
func TestMoveToAnotherProject(t *testing.T) {
	t.Parallel()
	cloud := openstack.Start(t, "compute", "block-storage", "network", "load-balancer")
	plan := smallPlan(t, cluster.CoreDNS)
	plan.Rules = plan.Rules[:2]
	s := newStack(t, func(ctx *pulumi.Context) error {
		security, err := infra.NewSecurity(ctx, plan)
		if err != nil {
			return err
		}
		project, err := infra.NewProject(ctx, plan, security)
		if err != nil {
			return err
		}
		if err := security.Allow(ctx, plan); err != nil {
			return err
		}
		pki, err := infra.NewPKI(ctx, plan, &infra.Endpoint{})
		if err != nil {
			return err
		}
		_, err = infra.NewLeftovers(ctx, plan, &infra.Network{}, security, pki, &infra.Backup{}, project)
		return err
	}, declaredProject(t, ""))
	login := func(project string) {
		env := cloud.Env()
		env["OS_PROJECT_NAME"] = project
		setEnv(t, s, env)
	}
	ofTLS := func() []string {
		return slices.DeleteFunc(resources(t, s), func(r string) bool { return !strings.Contains(r, "$tls:") })
	}
	login(openstack.Project)
	up, err := s.Up(t.Context())
	require.NoError(t, err, up.StdOut)
	keys, old := ofTLS(), cloud.IDs()
	require.NotEmpty(t, keys)

	provider := "urn:pulumi:test::kubernetes-openstack::pulumi:providers:teardown::" + plan.Name
	out, err := pulumiOf(s, "state", "delete", "--yes", "--force", "--target-dependents", provider).CombinedOutput()
	require.NoError(t, err, string(out))
	login("theirs")
	refresh, err := s.Refresh(t.Context())
	require.NoError(t, err, refresh.StdOut)
	assert.Equal(t, keys, resources(t, s), "only the keys are left")
	up, err = s.Up(t.Context())
	require.NoError(t, err, up.StdOut)
	assert.Equal(t, keys, ofTLS())
	assert.Subset(t, cloud.IDs(), old, "the old project is unchanged")
	assert.Len(t, cloud.IDs(), 2*len(old))
}

// pulumiOf returns a pulumi command for a stack.
func pulumiOf(s auto.Stack, args ...string) *exec.Cmd {
	home := dirs.State("pulumi-home")
	cmd := exec.Command(filepath.Join(home, "bin/pulumi"), append(args, "--stack", s.Name())...)
	cmd.Dir, cmd.Env = s.Workspace().WorkDir(), append(os.Environ(), "PULUMI_HOME="+home)
	for key, value := range s.Workspace().GetEnvVars() {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	return cmd
}

// changingRequests returns all requests that change something, without logins.
func changingRequests(c *openstack.Cloud) []string {
	var out []string
	for _, method := range []string{"POST /n", "PUT", "DELETE"} {
		out = append(out, c.Requests(method)...)
	}
	return out
}

// resources returns the URN and the ID of each custom resource in a stack's state.
func resources(t *testing.T, s auto.Stack) []string {
	t.Helper()
	_, state := stateFile(t, s)
	latest, _ := state["checkpoint"].(map[string]any)["latest"].(map[string]any)
	all, _ := latest["resources"].([]any) // an empty state has none
	var list []string
	for _, r := range all {
		r := r.(map[string]any)
		if id, custom := r["id"].(string); custom && !strings.HasPrefix(r["type"].(string), "pulumi:providers:") {
			list = append(list, fmt.Sprint(r["urn"], " ", id))
		}
	}
	slices.Sort(list)
	return list
}

// stateFile returns the path of a stack's state and its content. Reading the file takes less time than the command
// `pulumi stack export`.
func stateFile(t *testing.T, s auto.Stack) (path string, state map[string]any) {
	t.Helper()
	path = strings.TrimPrefix(s.Workspace().GetEnvVars()["PULUMI_BACKEND_URL"], "file://") +
		"/.pulumi/stacks/kubernetes-openstack/test.json"
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &state))
	return path, state
}

// resumeOf returns a function that runs the command resume on a stack.
func resumeOf(t *testing.T, s auto.Stack) func() (output string, err error) {
	t.Helper()
	program := built(t, "resume")
	return func() (string, error) {
		cmd := exec.Command(program, "-s", "test")
		cmd.Dir, cmd.Env = s.Workspace().WorkDir(), os.Environ()
		for key, value := range s.Workspace().GetEnvVars() {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
		home := dirs.State("pulumi-home")
		cmd.Env = append(cmd.Env, "PULUMI_HOME="+home, "PATH="+filepath.Join(home, "bin")+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

// interrupt adds the create of a security group to the state, as a killed engine leaves it.
func interrupt(t *testing.T, s auto.Stack) {
	t.Helper()
	path, state := stateFile(t, s)
	latest := state["checkpoint"].(map[string]any)["latest"].(map[string]any)
	latest["pending_operations"] = []any{map[string]any{"type": "creating", "resource": map[string]any{
		"urn": "urn:pulumi:test::kubernetes-openstack::openstack:networking/secGroup:SecGroup::other", "custom": true,
		"type": "openstack:networking/secGroup:SecGroup", "inputs": map[string]any{"name": "other"},
	}}}
	text, err := json.Marshal(state)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o600))
}
