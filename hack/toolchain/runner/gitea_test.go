//go:build e2e

package runner

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	runnerv1 "code.gitea.io/actions-proto-go/runner/v1"
	"code.gitea.io/actions-proto-go/runner/v1/runnerv1connect"
	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
)

// gitea is the part of a Gitea server that the runner and the jobs use: the job that is next, the repositories, and the
// comments of a pull request.
type gitea struct {
	runnerv1connect.UnimplementedRunnerServiceHandler
	url      string
	token    string // of the jobs
	mu       sync.Mutex
	next     *runnerv1.Task
	result   runnerv1.Result // of the last job
	log      strings.Builder // of the last job
	comments []string
}

// startGitea starts a server of the repositories in a folder.
func startGitea(t *testing.T, repositories, token string) *gitea {
	t.Helper()
	programs, err := exec.Command("git", "--exec-path").Output()
	require.NoError(t, err)
	g := &gitea{token: token}
	mux := http.NewServeMux()
	path, service := runnerv1connect.NewRunnerServiceHandler(g)
	mux.Handle("/api/actions"+path, http.StripPrefix("/api/actions", service))
	mux.HandleFunc("/api/v1/", g.api)
	mux.Handle("/", &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(programs)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + repositories, "GIT_HTTP_EXPORT_ALL=1"},
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

// Declare accepts the labels of the runner.
func (g *gitea) Declare(_ context.Context, r *connect.Request[runnerv1.DeclareRequest]) (
	*connect.Response[runnerv1.DeclareResponse], error,
) {
	return connect.NewResponse(&runnerv1.DeclareResponse{Runner: &runnerv1.Runner{Labels: r.Msg.Labels}}), nil
}

// FetchTask gives the runner the next job.
func (g *gitea) FetchTask(context.Context, *connect.Request[runnerv1.FetchTaskRequest]) (
	*connect.Response[runnerv1.FetchTaskResponse], error,
) {
	g.mu.Lock()
	defer g.mu.Unlock()
	response := &runnerv1.FetchTaskResponse{Task: g.next}
	g.next = nil
	return connect.NewResponse(response), nil
}

// UpdateTask receives the result of the job.
func (g *gitea) UpdateTask(_ context.Context, r *connect.Request[runnerv1.UpdateTaskRequest]) (
	*connect.Response[runnerv1.UpdateTaskResponse], error,
) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.result = r.Msg.State.Result
	return connect.NewResponse(&runnerv1.UpdateTaskResponse{}), nil
}

// UpdateLog receives lines of the job's log.
func (g *gitea) UpdateLog(_ context.Context, r *connect.Request[runnerv1.UpdateLogRequest]) (
	*connect.Response[runnerv1.UpdateLogResponse], error,
) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, row := range r.Msg.Rows {
		g.log.WriteString(row.Content + "\n")
	}
	return connect.NewResponse(&runnerv1.UpdateLogResponse{AckIndex: r.Msg.Index + int64(len(r.Msg.Rows))}), nil
}

// api has the comments of pull request 7, for the token of a job.
func (g *gitea) api(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+g.token {
		http.Error(w, "wrong token", http.StatusUnauthorized)
		return
	}
	const issues, user = "/api/v1/repos/me/clusters/issues/", "gitea-actions"
	var in struct{ Body string }
	_ = json.NewDecoder(r.Body).Decode(&in) // a GET has no body
	id, isOne := strings.CutPrefix(r.URL.Path, issues+"comments/")
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/user":
		_ = json.NewEncoder(w).Encode(map[string]string{"login": user})
	case r.Method == http.MethodGet && r.URL.Path == issues+"7/comments":
		list := []map[string]any{}
		for i, body := range g.comments {
			list = append(list, map[string]any{"id": i, "body": body, "user": map[string]string{"login": user}})
		}
		_ = json.NewEncoder(w).Encode(list)
	case r.Method == http.MethodPost && r.URL.Path == issues+"7/comments":
		g.comments = append(g.comments, in.Body)
	case r.Method == http.MethodPatch && isOne:
		i, _ := strconv.Atoi(id)
		g.comments[i] = in.Body
	default:
		http.NotFound(w, r)
	}
}
