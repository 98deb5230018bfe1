// Command comment writes a file as the comment of a pull request: docs/operations.md#pull-requests-and-ci.
//
//	comment dist/review/comment.md
//
// If the pull request has a comment of the same user that begins with the same line, comment updates it. A comment of
// another user with this line stays, because that user could change it later. All parameters are variables of the
// environment, which GitHub, Gitea and GitLab set in a job. Only PULL_REQUEST and the tokens are set by the workflow.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "comment:", err)
		os.Exit(1)
	}
}

func run(args []string, getenv func(string) string) error {
	if len(args) != 1 {
		return errors.New("must have one argument, the file with the comment")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(text), "<!-- ") {
		return fmt.Errorf("%s: must begin with a comment in HTML, by which the next run finds the comment", args[0])
	}
	s, err := newServer(getenv)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.write(ctx, string(text))
}

// server is the API with the comments of one pull request.
type server struct {
	api, comments string // URLs
	update        string // method
	header, token string
	// updated returns the URL of a comment for its update
	updated func(id int64) string
}

// newServer returns the server of the job. It returns an error if a variable is missing.
func newServer(getenv func(string) string) (server, error) {
	var missing []string
	env := func(name string) string {
		value := getenv(name)
		if value == "" {
			missing = append(missing, name)
		}
		return value
	}
	var s server
	if getenv("GITLAB_CI") != "" {
		s.api = env("CI_API_V4_URL")
		s.comments = s.api + "/projects/" + env("CI_PROJECT_ID") + "/merge_requests/" + env("CI_MERGE_REQUEST_IID") + "/notes"
		s.updated = func(id int64) string { return s.comments + "/" + strconv.FormatInt(id, 10) }
		s.update, s.header, s.token = http.MethodPut, "PRIVATE-TOKEN", env("REVIEW_TOKEN")
	} else {
		s.api = env("GITHUB_API_URL")
		issues := s.api + "/repos/" + env("GITHUB_REPOSITORY") + "/issues/"
		s.comments = issues + env("PULL_REQUEST") + "/comments"
		s.updated = func(id int64) string { return issues + "comments/" + strconv.FormatInt(id, 10) }
		s.update, s.header, s.token = http.MethodPatch, "Authorization", "Bearer "+env("GITHUB_TOKEN")
	}
	if len(missing) > 0 {
		return s, fmt.Errorf("must have these variables in the environment: %s", strings.Join(missing, ", "))
	}
	return s, nil
}

// comment has the fields that GitHub, Gitea and GitLab use.
type comment struct {
	ID           int64
	Body         string
	User, Author user
}

type user struct{ Login, Username string }

func (u user) name() string { return cmp.Or(u.Login, u.Username) }

// write creates or updates the comment.
func (s server) write(ctx context.Context, text string) error {
	own, err := s.ownName(ctx)
	if err != nil {
		return err
	}
	marker, _, _ := strings.Cut(text, "\n")
	for page := s.comments + "?per_page=100"; page != ""; {
		var comments []comment
		header, err := s.call(ctx, http.MethodGet, page, nil, &comments)
		if err != nil {
			return err
		}
		for _, c := range comments {
			if cmp.Or(c.User, c.Author).name() == own && strings.HasPrefix(c.Body, marker) {
				_, err := s.call(ctx, s.update, s.updated(c.ID), map[string]string{"body": text}, nil)
				return err
			}
		}
		page = nextPage(page, header)
	}
	_, err = s.call(ctx, http.MethodPost, s.comments, map[string]string{"body": text}, nil)
	return err
}

// ownName returns the name of the token's user. GitHub refuses this request for the token of a job. The user of these
// tokens is always the same.
func (s server) ownName(ctx context.Context) (string, error) {
	var u user
	_, err := s.call(ctx, http.MethodGet, s.api+"/user", nil, &u)
	var refused statusError
	if errors.As(err, &refused) && refused.code == http.StatusForbidden && s.header == "Authorization" {
		return "github-actions[bot]", nil
	}
	if err == nil && u.name() == "" {
		err = errors.New("the answer of " + s.api + "/user has no name of a user")
	}
	return u.name(), err
}

var nextLink = regexp.MustCompile(`<([^>]+)>; *rel="next"`)

// nextPage returns the URL of the next page of a list, or "". It is on the same host, because the request will have the
// token.
func nextPage(page string, header http.Header) string {
	match := nextLink.FindStringSubmatch(header.Get("Link"))
	if match == nil {
		return ""
	}
	this, err := url.Parse(page)
	if err != nil {
		return ""
	}
	next, err := this.Parse(match[1])
	if err != nil || next.Host != this.Host || next.Scheme != this.Scheme {
		return ""
	}
	return next.String()
}

// statusError is an answer other than success. It has no body, because a server can repeat a secret there.
type statusError struct {
	method, url string
	code        int
}

func (e statusError) Error() string {
	return fmt.Sprintf("%s %s: HTTP status %d", e.method, e.url, e.code)
}

// call sends a request and decodes the answer.
func (s server) call(ctx context.Context, method, to string, in, out any) (http.Header, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set(s.header, s.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, statusError{method, to, response.StatusCode}
	}
	if out == nil {
		return response.Header, nil
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, to, err)
	}
	return response.Header, nil
}
