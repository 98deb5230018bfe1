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

// requestBody is a request of kube-apiserver.
const requestBody = `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1beta1","metadata":{},` +
	`"spec":{"token":"` + token + `"},"status":{"user":{}}}`

// responseBody is k8s-keystone-auth's response to it, which contains the request.
const responseBody = `{
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

// buffer is a log to which parallel requests can write.
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

// newHook returns a webhook, its upstream with this handler, and its log. The log must not contain the token.
func newHook(t *testing.T, upstream http.HandlerFunc) (*webhook, *httptest.Server, *buffer) {
	server := httptest.NewUnstartedServer(upstream)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL + "/webhook")
	require.NoError(t, err)
	authorities := x509.NewCertPool()
	authorities.AddCert(server.Certificate())
	logged := new(buffer)
	t.Cleanup(func() { require.NotContains(t, logged.String(), "secret") })
	return newWebhook(address, authorities, log.New(logged, "", 0)), server, logged
}

// post sends a request like kube-apiserver.
func post(w *webhook, body string) *httptest.ResponseRecorder {
	response := httptest.NewRecorder()
	w.handler().ServeHTTP(response, httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body)))
	return response
}

// respond returns a handler that always sends the same response.
func respond(code int, body string) http.HandlerFunc {
	return func(response http.ResponseWriter, _ *http.Request) {
		response.WriteHeader(code)
		io.WriteString(response, body)
	}
}

func TestWebhook(t *testing.T) {
	var got authentication.TokenReview
	hook, _, _ := newHook(t, func(response http.ResponseWriter, request *http.Request) {
		json.NewDecoder(request.Body).Decode(&got)
		got.Name = request.Method + " " + request.URL.Path
		io.WriteString(response, responseBody)
	})
	response := post(hook, requestBody)
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

// TestRefusalHasAReason checks that each refusal has an error, because kube-apiserver caches a refusal without one for
// minutes.
func TestRefusalHasAReason(t *testing.T) {
	const rejected = "Keystone rejected the token or did not respond"
	for name, test := range map[string]struct {
		upstream http.HandlerFunc
		want     string
	}{
		"HTTP 401":      {respond(http.StatusUnauthorized, strings.ReplaceAll(responseBody, "true", "false")), rejected},
		"HTTP 200":      {respond(http.StatusOK, strings.ReplaceAll(responseBody, "true", "false")), rejected},
		"only HTTP 401": {respond(http.StatusUnauthorized, responseBody), rejected},
		"invalid user ID": {respond(http.StatusOK, strings.ReplaceAll(responseBody, "a11ce", "system:admin")),
			`the user ID of the token must be set and must not contain a colon, not "system:admin"`},
	} {
		t.Run(name, func(t *testing.T) {
			hook, _, logged := newHook(t, test.upstream)
			response := post(hook, requestBody)
			require.Equal(t, http.StatusOK, response.Code)
			var review authentication.TokenReview
			require.NoError(t, json.Unmarshal(response.Body.Bytes(), &review))
			require.Equal(t, authentication.TokenReview{TypeMeta: tokenReview,
				Status: authentication.TokenReviewStatus{Error: test.want}}, review)
			require.Equal(t, "token refused: "+test.want+"\n", logged.String())
		})
	}
}

func TestInvalidResponse(t *testing.T) {
	for name, test := range map[string]struct {
		upstream http.HandlerFunc
		want     string
	}{
		"HTTP 500": {respond(http.StatusInternalServerError, "token secret"), "responded with HTTP 500"},
		"HTTP 201": {respond(http.StatusCreated, responseBody), "responded with HTTP 201"},
		"a redirect": {http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP,
			"responded with HTTP 307"},
		"empty":         {respond(http.StatusOK, ""), "is not a TokenReview"},
		"no JSON":       {respond(http.StatusOK, "<secret>"), "is not a TokenReview"},
		"JSON and more": {respond(http.StatusOK, responseBody+responseBody), "is not a TokenReview"},
		"v1": {respond(http.StatusOK, strings.Replace(responseBody, "v1beta1", "v1", 1)),
			"is not a TokenReview of authentication.k8s.io/v1beta1"},
		"another kind": {respond(http.StatusOK, strings.Replace(responseBody, "TokenReview", "SubjectAccessReview", 1)),
			"is not a TokenReview"},
		"a list as a name": {respond(http.StatusOK, strings.Replace(responseBody, `"alice"`, `["secret"]`, 1)),
			"is not a TokenReview"},
		"too large":           {respond(http.StatusOK, responseBody+strings.Repeat(" ", maxResponseSize)), "too large"},
		"a closed connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			hook, _, logged := newHook(t, test.upstream)
			response := post(hook, requestBody)
			require.Equal(t, http.StatusBadGateway, response.Code)
			require.Contains(t, response.Body.String(), test.want)
			require.NotContains(t, response.Body.String(), "secret")
			require.Contains(t, logged.String(), test.want)
		})
	}
}

func TestUpstreamIsDown(t *testing.T) {
	hook, server, _ := newHook(t, respond(http.StatusOK, responseBody))
	server.Close()
	require.Equal(t, http.StatusBadGateway, post(hook, requestBody).Code)
}

// TestUpstreamWithAnotherCertificate checks that a server without a trusted certificate gets no token.
func TestUpstreamWithAnotherCertificate(t *testing.T) {
	hook, _, _ := newHook(t, respond(http.StatusOK, responseBody))
	requested := false
	_, other, _ := newHook(t, func(http.ResponseWriter, *http.Request) { requested = true })
	hook.upstream.Host = strings.Replace(other.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	response := post(hook, requestBody)
	require.Equal(t, http.StatusBadGateway, response.Code)
	require.Contains(t, response.Body.String(), "certificate")
	require.False(t, requested)
}

func TestInvalidRequest(t *testing.T) {
	hook, _, _ := newHook(t, func(http.ResponseWriter, *http.Request) { t.Error("upstream got a request") })
	for name, body := range map[string]string{
		"empty":           "",
		"no JSON":         "secret",
		"v1":              strings.Replace(requestBody, "v1beta1", "v1", 1),
		"another kind":    strings.Replace(requestBody, "TokenReview", "SubjectAccessReview", 1),
		"no token":        strings.Replace(requestBody, token, "", 1),
		"a list as token": strings.Replace(requestBody, `"`+token+`"`, `["secret"]`, 1),
		"too large":       requestBody + strings.Repeat(" ", maxRequestSize),
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

// TestRefusalIsRetried checks the retries after a refusal, because upstream may refuse a valid token when requests run
// in parallel.
func TestRefusalIsRetried(t *testing.T) {
	for refusals, want := range map[int]struct {
		authenticated bool
		requests      int
	}{
		0: {true, 1},
		2: {true, 3},
		3: {false, 3},
	} {
		times := 0
		hook, _, _ := newHook(t, func(response http.ResponseWriter, _ *http.Request) {
			if times++; times <= refusals {
				response.WriteHeader(http.StatusUnauthorized)
			}
			io.WriteString(response, responseBody)
		})
		var review authentication.TokenReview
		require.NoError(t, json.Unmarshal(post(hook, requestBody).Body.Bytes(), &review))
		require.Equal(t, want.authenticated, review.Status.Authenticated)
		require.Equal(t, want.requests, times)
	}
}

// TestUpstreamHangs checks that requests fail while Keystone does not respond, and succeed afterwards.
func TestUpstreamHangs(t *testing.T) {
	var hang atomic.Bool
	hang.Store(true)
	hook, _, logged := newHook(t, func(response http.ResponseWriter, request *http.Request) {
		if hang.Load() {
			io.Copy(io.Discard, request.Body) // otherwise the server does not notice the end of the connection
			<-request.Context().Done()
		}
		io.WriteString(response, responseBody)
	})
	hook.timeout = 50 * time.Millisecond
	require.Equal(t, http.StatusBadGateway, post(hook, requestBody).Code)
	require.Contains(t, logged.String(), "deadline exceeded")

	hook.timeout = 10 * time.Second
	hang.Store(false)
	require.Equal(t, http.StatusOK, post(hook, requestBody).Code)
}

func TestHealth(t *testing.T) {
	path := ""
	hook, server, _ := newHook(t, func(response http.ResponseWriter, request *http.Request) {
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

// TestRun checks that the command responds over TLS, and completes open requests before it ends.
func TestRun(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var open atomic.Bool
	_, upstream, _ := newHook(t, func(response http.ResponseWriter, _ *http.Request) {
		open.Store(true)
		end()
		time.Sleep(100 * time.Millisecond)
		open.Store(false)
		io.WriteString(response, responseBody)
	})
	key, err := x509.MarshalPKCS8PrivateKey(upstream.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	file := func(kind string, content []byte) string {
		path := filepath.Join(t.TempDir(), "pem")
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
		return path
	}
	certificate := file("CERTIFICATE", upstream.Certificate().Raw)
	logged := new(buffer)
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{
			"--listen", "127.0.0.1:0", "--tls-cert-file", certificate, "--tls-private-key-file", file("PRIVATE KEY", key),
			"--upstream", upstream.URL + "/webhook", "--upstream-ca-file", certificate,
		}, log.New(logged, "", 0))
		if open.Load() {
			err = errors.New("run returned before the response to an open request")
		}
		ended <- err
	}()
	listening := func() bool { return strings.HasSuffix(logged.String(), "\n") }
	require.Eventually(t, listening, 10*time.Second, time.Millisecond)
	address := strings.TrimPrefix(strings.TrimSpace(logged.String()), "listening on ")
	response, err := upstream.Client().Post("https://"+address+"/webhook", "application/json",
		strings.NewReader(requestBody))
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Contains(t, string(text), "keystone:a11ce")
	require.NoError(t, <-ended)
}

func TestInvalidFlags(t *testing.T) {
	for want, args := range map[string][]string{
		`--upstream: must be an https:// URL, not "http://127.0.0.1:8443"`: {"--upstream", "http://127.0.0.1:8443"},
		`unexpected argument "more": only flags are allowed`:               {"more"},
		"--tls-cert-file, --tls-private-key-file: open ":                   {"--tls-cert-file", "absent"},
	} {
		require.ErrorContains(t, run(t.Context(), args, log.New(io.Discard, "", 0)), want)
	}
}
