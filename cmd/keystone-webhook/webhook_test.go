package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authentication "k8s.io/api/authentication/v1beta1"
)

const token = "gAAAAAB-secret"

// asked is kube-apiserver's question.
const asked = `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1beta1","metadata":{},"spec":{"token":"` +
	token + `"},"status":{"user":{}}}`

// answered is k8s-keystone-auth's answer to it, the question within.
const answered = `{
  "apiVersion": "authentication.k8s.io/v1beta1",
  "kind": "TokenReview",
  "metadata": {},
  "spec": {"token": "` + token + `"},
  "status": {
    "authenticated": true,
    "user": {
      "username": "alice",
      "uid": "a11ce",
      "groups": ["system:masters", "e4d"],
      "extra": {
        "alpha.kubernetes.io/identity/project/id": ["e4d"],
        "alpha.kubernetes.io/identity/roles": ["member"]
      }
    }
  }
}`

// buffer is a log that requests may write to at the same time.
type buffer struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

// hookTo is a webhook of an upstream that answers so. Nothing of a token may be in its log.
func hookTo(t *testing.T, upstream http.HandlerFunc) (*webhook, *httptest.Server, *buffer) {
	server := httptest.NewUnstartedServer(upstream)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL + "/webhook")
	require.NoError(t, err)
	authorities := x509.NewCertPool()
	authorities.AddCert(server.Certificate())
	said := new(buffer)
	t.Cleanup(func() { require.NotContains(t, said.String(), "secret") })
	return newWebhook(address, authorities, log.New(said, "", 0)), server, said
}

// post asks the webhook as kube-apiserver does.
func post(w *webhook, body string) *httptest.ResponseRecorder {
	response := httptest.NewRecorder()
	w.handler().ServeHTTP(response, httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body)))
	return response
}

// answers is an upstream's way to answer always the same.
func answers(code int, body string) http.HandlerFunc {
	return func(response http.ResponseWriter, _ *http.Request) {
		response.WriteHeader(code)
		io.WriteString(response, body)
	}
}

func TestWebhook(t *testing.T) {
	var got authentication.TokenReview
	hook, _, _ := hookTo(t, func(response http.ResponseWriter, request *http.Request) {
		json.NewDecoder(request.Body).Decode(&got)
		got.Name = request.Method + " " + request.URL.Path
		io.WriteString(response, answered)
	})
	response := post(hook, asked)
	require.Equal(t, "POST /webhook", got.Name)
	require.Equal(t, tokenReview, got.TypeMeta)
	require.Equal(t, token, got.Spec.Token)
	require.Equal(t, http.StatusOK, response.Code)
	require.Equal(t, "application/json", response.Header().Get("Content-Type"))
	require.JSONEq(t, `{
		"apiVersion": "authentication.k8s.io/v1beta1", "kind": "TokenReview", "metadata": {}, "spec": {},
		"status": {"authenticated": true, "user": {
			"username": "keystone:a11ce",
			"groups": ["keystone:e4d:a11ce:member"],
			"extra": {
				"alpha.kubernetes.io/identity/project/id": ["e4d"],
				"alpha.kubernetes.io/identity/roles": ["member"],
				"alpha.kubernetes.io/identity/user/name": ["alice"]
			}
		}}
	}`, response.Body.String())
}

// kube-apiserver keeps a refusal for minutes unless it has an error, and an HTTP error never.
func TestRefusalHasAReason(t *testing.T) {
	const no = "Keystone refuses the token, or does not answer"
	for name, test := range map[string]struct {
		upstream http.HandlerFunc
		want     string
	}{
		"as upstream refuses": {answers(http.StatusUnauthorized, strings.ReplaceAll(answered, "true", "false")), no},
		"as it could refuse":  {answers(http.StatusOK, strings.ReplaceAll(answered, "true", "false")), no},
		"by the name of it":   {answers(http.StatusUnauthorized, answered), no},
		"an odd user": {answers(http.StatusOK, strings.ReplaceAll(answered, "a11ce", "system:admin")),
			`the token's user ID must be set and have no colon, not "system:admin"`},
	} {
		t.Run(name, func(t *testing.T) {
			hook, _, said := hookTo(t, test.upstream)
			response := post(hook, asked)
			require.Equal(t, http.StatusOK, response.Code)
			var review authentication.TokenReview
			require.NoError(t, json.Unmarshal(response.Body.Bytes(), &review))
			require.Equal(t, authentication.TokenReview{TypeMeta: tokenReview,
				Status: authentication.TokenReviewStatus{Error: test.want}}, review)
			require.Equal(t, "refused: "+test.want+"\n", said.String())
		})
	}
}

func TestOddUpstreamIsAnError(t *testing.T) {
	for name, test := range map[string]struct {
		upstream http.HandlerFunc
		want     string
	}{
		"HTTP 500": {answers(http.StatusInternalServerError, "token secret"), "answers HTTP 500"},
		"HTTP 201": {answers(http.StatusCreated, answered), "answers HTTP 201"},
		"a redirect": {http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP,
			"answers HTTP 307"},
		"nothing":       {answers(http.StatusOK, ""), "answers no TokenReview"},
		"no JSON":       {answers(http.StatusOK, "<secret>"), "answers no TokenReview"},
		"JSON and more": {answers(http.StatusOK, answered+answered), "answers no TokenReview"},
		"v1": {answers(http.StatusOK, strings.Replace(answered, "v1beta1", "v1", 1)),
			"answers no TokenReview of authentication.k8s.io/v1beta1"},
		"another kind": {answers(http.StatusOK, strings.Replace(answered, "TokenReview", "SubjectAccessReview", 1)),
			"answers no TokenReview"},
		"a list for a name": {answers(http.StatusOK, strings.Replace(answered, `"alice"`, `["secret"]`, 1)),
			"answers no TokenReview"},
		"more than can be":      {answers(http.StatusOK, answered+strings.Repeat(" ", mostAnswered)), "too large"},
		"a connection that end": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			hook, _, said := hookTo(t, test.upstream)
			response := post(hook, asked)
			require.Equal(t, http.StatusBadGateway, response.Code)
			require.Contains(t, response.Body.String(), test.want)
			require.NotContains(t, response.Body.String(), "secret")
			require.Contains(t, said.String(), test.want)
		})
	}
}

func TestUpstreamThatIsNotThere(t *testing.T) {
	hook, server, _ := hookTo(t, answers(http.StatusOK, answered))
	server.Close()
	require.Equal(t, http.StatusBadGateway, post(hook, asked).Code)
}

// Who listens on upstream's port and has no certificate of ours gets no token.
func TestUpstreamThatIsAnother(t *testing.T) {
	hook, _, _ := hookTo(t, answers(http.StatusOK, answered))
	asks := false
	_, other, _ := hookTo(t, func(http.ResponseWriter, *http.Request) { asks = true })
	hook.upstream.Host = strings.Replace(other.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	response := post(hook, asked)
	require.Equal(t, http.StatusBadGateway, response.Code)
	require.Contains(t, response.Body.String(), "certificate")
	require.False(t, asks)
}

func TestOddQuestion(t *testing.T) {
	hook, _, _ := hookTo(t, func(http.ResponseWriter, *http.Request) { t.Error("upstream is asked") })
	for name, body := range map[string]string{
		"nothing":        "",
		"no JSON":        "secret",
		"v1":             strings.Replace(asked, "v1beta1", "v1", 1),
		"another kind":   strings.Replace(asked, "TokenReview", "SubjectAccessReview", 1),
		"no token":       strings.Replace(asked, token, "", 1),
		"a list for one": strings.Replace(asked, `"`+token+`"`, `["secret"]`, 1),
		"more than most": asked + strings.Repeat(" ", mostAsked),
	} {
		t.Run(name, func(t *testing.T) {
			response := post(hook, body)
			require.Equal(t, http.StatusBadRequest, response.Code)
			require.NotContains(t, response.Body.String(), "secret")
		})
	}
	response := httptest.NewRecorder()
	hook.handler().ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/webhook", nil))
	require.Equal(t, http.StatusMethodNotAllowed, response.Code)
}

// Upstream may refuse a token because of another that came at the same time.
func TestRefusalIsAskedForAgain(t *testing.T) {
	for refusals, want := range map[int]struct {
		authenticated bool
		asked         int
	}{
		0: {true, 1},
		2: {true, 3},
		3: {false, 3},
	} {
		times := 0
		hook, _, _ := hookTo(t, func(response http.ResponseWriter, _ *http.Request) {
			if times++; times <= refusals {
				response.WriteHeader(http.StatusUnauthorized)
			}
			io.WriteString(response, answered)
		})
		var review authentication.TokenReview
		require.NoError(t, json.Unmarshal(post(hook, asked).Body.Bytes(), &review))
		require.Equal(t, want.authenticated, review.Status.Authenticated)
		require.Equal(t, want.asked, times)
	}
}

// A Keystone that never answers keeps upstream from answering. When it is back, so is all else.
func TestUpstreamThatHangs(t *testing.T) {
	var hang atomic.Bool
	hang.Store(true)
	hook, _, said := hookTo(t, func(response http.ResponseWriter, request *http.Request) {
		if hang.Load() {
			io.Copy(io.Discard, request.Body) // else it does not see the end of the connection
			<-request.Context().Done()
		}
		io.WriteString(response, answered)
	})
	hook.patience = 50 * time.Millisecond
	require.Equal(t, http.StatusBadGateway, post(hook, asked).Code)
	require.Contains(t, said.String(), "deadline exceeded")

	hook.patience = 10 * time.Second
	hang.Store(false)
	require.Equal(t, http.StatusOK, post(hook, asked).Code)
}

func TestHealth(t *testing.T) {
	path := ""
	hook, server, _ := hookTo(t, func(response http.ResponseWriter, request *http.Request) {
		path = request.URL.Path
		http.NotFound(response, request)
	})
	health := func() int {
		response := httptest.NewRecorder()
		hook.handler().ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		return response.Code
	}
	require.Equal(t, http.StatusOK, health())
	require.Equal(t, "/", path)
	server.Close()
	require.Equal(t, http.StatusServiceUnavailable, health())
}

// The command answers over TLS what was asked before it is told to end.
func TestRun(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var waits atomic.Bool
	_, upstream, _ := hookTo(t, func(response http.ResponseWriter, _ *http.Request) {
		waits.Store(true)
		end()
		time.Sleep(100 * time.Millisecond)
		waits.Store(false)
		io.WriteString(response, answered)
	})
	key, err := x509.MarshalPKCS8PrivateKey(upstream.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	file := func(kind string, content []byte) string {
		path := filepath.Join(t.TempDir(), "pem")
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
		return path
	}
	certificate := file("CERTIFICATE", upstream.Certificate().Raw)
	said := new(buffer)
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{
			"--listen", "127.0.0.1:0", "--tls-cert-file", certificate, "--tls-private-key-file", file("PRIVATE KEY", key),
			"--upstream", upstream.URL + "/webhook", "--upstream-ca-file", certificate,
		}, log.New(said, "", 0))
		if waits.Load() {
			err = errors.New("it ended while somebody waited")
		}
		ended <- err
	}()
	require.Eventually(t, func() bool { return strings.HasSuffix(said.String(), "\n") }, 10*time.Second, time.Millisecond)
	address := strings.TrimPrefix(strings.TrimSpace(said.String()), "listening on ")
	response, err := upstream.Client().Post("https://"+address+"/webhook", "application/json", strings.NewReader(asked))
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Contains(t, string(text), "keystone:a11ce")
	require.NoError(t, <-ended)
}

func TestWrongFlags(t *testing.T) {
	for want, args := range map[string][]string{
		`--upstream must be an https:// URL, not "http://127.0.0.1:8443"`: {"--upstream", "http://127.0.0.1:8443"},
		`unknown argument "more": there are only flags`:                   {"more"},
		"--tls-cert-file, --tls-private-key-file: open ":                  {"--tls-cert-file", "absent"},
	} {
		require.ErrorContains(t, run(t.Context(), args, log.New(io.Discard, "", 0)), want)
	}
}
