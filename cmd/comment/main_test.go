package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// forge is an API of GitHub, or of GitLab, with the comments of pull request 7.
type forge struct {
	gitLab   bool
	noUser   int // status of the answer about the user, or 0
	own      string
	comments []comment // only Body and User
	requests []string
	perPage  int
}

func (f *forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	list, one, header, update := "/repos/me/clusters/issues/7/comments", "/repos/me/clusters/issues/comments/",
		"Authorization: Bearer hunter2", http.MethodPatch
	if f.gitLab {
		list, header, update = "/projects/5/merge_requests/7/notes", "Private-Token: hunter2", http.MethodPut
		one = list + "/"
	}
	name, value, _ := strings.Cut(header, ": ")
	if r.Header.Get(name) != value {
		http.Error(w, "hunter2 is wrong", http.StatusUnauthorized)
		return
	}
	var in struct{ Body string }
	if r.Method != http.MethodGet {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	id, isOne := strings.CutPrefix(r.URL.Path, one)
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/user":
		if f.noUser != 0 {
			http.Error(w, "", f.noUser)
			return
		}
		key := map[bool]string{false: "login", true: "username"}[f.gitLab]
		fmt.Fprintf(w, `{"id": 1, %q: %q}`, key, f.own)
	case r.Method == http.MethodGet && r.URL.Path == list:
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		first, last := page*f.perPage, min((page+1)*f.perPage, len(f.comments))
		if last < len(f.comments) {
			w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?page=0>; rel="first", <http://%s%s?page=%d>; rel="next"`,
				r.Host, list, r.Host, list, page+1))
		}
		var out []map[string]any
		for i := first; i < last; i++ {
			user, name := "user", "login"
			if f.gitLab {
				user, name = "author", "username"
			}
			out = append(out, map[string]any{"id": 1000 + i, "body": f.comments[i].Body,
				user: map[string]string{name: f.comments[i].User.Login}})
		}
		_ = json.NewEncoder(w).Encode(out)
	case r.Method == http.MethodPost && r.URL.Path == list:
		f.comments = append(f.comments, comment{Body: in.Body, User: user{Login: f.own}})
	case r.Method == update && isOne:
		i, _ := strconv.Atoi(id)
		f.comments[i-1000].Body = in.Body
	default:
		http.NotFound(w, r)
	}
}

// start returns a function that writes a comment as a job does.
func (f *forge) start(t *testing.T) func(text string) error {
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	env := map[string]string{"GITHUB_API_URL": server.URL, "GITHUB_REPOSITORY": "me/clusters", "GITHUB_TOKEN": "hunter2",
		"PULL_REQUEST": "7"}
	if f.gitLab {
		env = map[string]string{"GITLAB_CI": "true", "CI_API_V4_URL": server.URL, "CI_PROJECT_ID": "5",
			"CI_MERGE_REQUEST_IID": "7", "REVIEW_TOKEN": "hunter2"}
	}
	return func(text string) error {
		file := filepath.Join(t.TempDir(), "comment.md")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return run([]string{file}, func(name string) string { return env[name] })
	}
}

const marker = "<!-- kubernetes-openstack: review -->\n"

// TestCommentIsUpdated checks that a pull request gets one comment, also behind a page of others, and that a comment
// of another user stays.
func TestCommentIsUpdated(t *testing.T) {
	for name, f := range map[string]*forge{
		"GitHub": {noUser: http.StatusForbidden, own: "github-actions[bot]"},
		"Gitea":  {own: "gitea-actions"},
		"GitLab": {own: "project_5_bot", gitLab: true},
	} {
		t.Run(name, func(t *testing.T) {
			f.perPage = 2
			others := []comment{{Body: marker + "forged", User: user{Login: "eve"}}, {Body: "hello", User: user{Login: f.own}},
				{Body: "a", User: user{Login: "bob"}}}
			f.comments = slices.Clone(others)
			write := f.start(t)
			require.NoError(t, write(marker+"first"))
			require.NoError(t, write(marker+"second"))
			require.Len(t, f.comments, 4)
			assert.Equal(t, others, f.comments[:3])
			assert.Equal(t, comment{Body: marker + "second", User: user{Login: f.own}}, f.comments[3])
		})
	}
}

func TestErrors(t *testing.T) {
	for _, row := range []struct {
		name string
		f    forge
		want string
	}{
		{"the user is unknown", forge{noUser: http.StatusInternalServerError}, "/user: HTTP status 500"},
		{"GitLab refuses the token", forge{gitLab: true, noUser: http.StatusForbidden}, "/user: HTTP status 403"},
		{"no name", forge{}, "/user has no name of a user"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.f.start(t)(marker)
			assert.ErrorContains(t, err, row.want)
			assert.NotContains(t, err.Error(), "hunter2")
			assert.Empty(t, row.f.comments)
		})
	}
	none := func(string) string { return "" }
	assert.ErrorContains(t, run(nil, none), "must have one argument")
	assert.ErrorContains(t, run([]string{"main.go"}, none), "main.go: must begin with a comment in HTML")
	file := filepath.Join(t.TempDir(), "comment.md")
	require.NoError(t, os.WriteFile(file, []byte(marker), 0o600))
	assert.ErrorContains(t, run([]string{file}, none),
		"must have these variables in the environment: GITHUB_API_URL, GITHUB_REPOSITORY, PULL_REQUEST, GITHUB_TOKEN")
}

func TestNextPageIsOnTheSameHost(t *testing.T) {
	for link, want := range map[string]string{
		`<https://a.example/x?page=2>; rel="next"`:                                      "https://a.example/x?page=2",
		`<https://a.example/x?page=1>; rel="prev", <https://a.example/x?3>; rel="next"`: "https://a.example/x?3",
		`<https://b.example/x?page=2>; rel="next"`:                                      "",
		`<http://a.example/x?page=2>; rel="next"`:                                       "",
		`<https://a.example/x?page=2>; rel="last"`:                                      "",
		"": "",
	} {
		assert.Equal(t, want, nextPage("https://a.example/x?per_page=100", http.Header{"Link": {link}}), link)
	}
}
