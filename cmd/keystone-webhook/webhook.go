package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"time"

	authentication "k8s.io/api/authentication/v1beta1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var tokenReview = meta.TypeMeta{APIVersion: "authentication.k8s.io/v1beta1", Kind: "TokenReview"}

// The maximum sizes of requests and of upstream's responses, in bytes. kube-apiserver got the token in an HTTP
// header, and a user has at most some hundreds of roles on a project.
const (
	maxRequestSize  = 64 << 10
	maxResponseSize = 1 << 20
)

// maxAttempts is the maximum number of requests to upstream for one token. upstream uses one Keystone client for all
// requests, and sets the client's own token for each request. If two requests run in parallel, the client may check one
// token with the other one as its own. Keystone refuses this, because users may only check their own tokens. With
// dozens of parallel requests, about 1% of the valid tokens are refused.
const maxAttempts = 3

// webhook reviews tokens for kube-apiserver with upstream, which is k8s-keystone-auth.
//
// A refused token has a reason in status.error, and a failure of upstream is an HTTP error. kube-apiserver caches
// neither of them. It would cache a refusal without a reason as long as an accepted token.
type webhook struct {
	upstream *url.URL
	client   *http.Client
	timeout  time.Duration // of a review, including all attempts
	log      *log.Logger
}

// newWebhook returns a webhook that trusts upstream certificates of these authorities.
func newWebhook(upstream *url.URL, authorities *x509.CertPool, log *log.Logger) *webhook {
	return &webhook{
		upstream: upstream,
		client: &http.Client{
			Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities}}, // without a proxy
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: 25 * time.Second, // kube-apiserver's timeout is 30 s
		log:     log,
	}
}

func (w *webhook) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhook", w.review)
	mux.HandleFunc("GET /healthz", w.health)
	return mux
}

// review handles a TokenReview.
func (w *webhook) review(response http.ResponseWriter, request *http.Request) {
	token, err := readToken(http.MaxBytesReader(response, request.Body, maxRequestSize))
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(request.Context(), w.timeout)
	defer cancel()
	status, err := w.upstreamReview(ctx, token)
	for attempt := 1; err == nil && !status.Authenticated && attempt < maxAttempts; attempt++ {
		status, err = w.upstreamReview(ctx, token)
	}
	if err != nil {
		w.log.Printf("review failed: %v", err)
		http.Error(response, err.Error(), http.StatusBadGateway)
		return
	}
	result := authentication.TokenReview{TypeMeta: tokenReview}
	if result.Status.User, err = userInfo(status); err != nil {
		w.log.Printf("token refused: %v", err)
		result.Status.Error = err.Error()
	} else {
		result.Status.Authenticated = true
	}
	response.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(response).Encode(result); err != nil {
		w.log.Print(err)
	}
}

// readToken returns the token in kube-apiserver's request.
func readToken(body io.Reader) (string, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	var review authentication.TokenReview
	switch err := json.Unmarshal(text, &review); {
	case err != nil || review.TypeMeta != tokenReview:
		return "", fmt.Errorf("the body must be a TokenReview of %s", tokenReview.APIVersion)
	case review.Spec.Token == "":
		return "", errors.New("spec.token must be set")
	}
	return review.Spec.Token, nil
}

// upstreamReview returns upstream's status of a token. Its errors do not contain the bodies of the request and the
// response, because both contain the token.
func (w *webhook) upstreamReview(ctx context.Context, token string) (authentication.TokenReviewStatus, error) {
	var none authentication.TokenReviewStatus
	body, err := json.Marshal(authentication.TokenReview{
		TypeMeta: tokenReview,
		Spec:     authentication.TokenReviewSpec{Token: token},
	})
	if err != nil {
		return none, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.upstream.String(), bytes.NewReader(body))
	if err != nil {
		return none, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := w.client.Do(request)
	if err != nil {
		return none, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized: // the status for an invalid token
		return none, nil
	default:
		return none, fmt.Errorf("%s responded with HTTP %d, expected 200 or 401", w.upstream, response.StatusCode)
	}
	text, err := io.ReadAll(http.MaxBytesReader(nil, response.Body, maxResponseSize))
	if err != nil {
		return none, err
	}
	var review authentication.TokenReview
	if err := json.Unmarshal(text, &review); err != nil || review.TypeMeta != tokenReview {
		return none, fmt.Errorf("the response of %s is not a TokenReview of %s", w.upstream, tokenReview.APIVersion)
	}
	return review.Status, nil
}

// health checks that upstream responds. Its status is ignored, because it depends on Keystone.
func (w *webhook) health(response http.ResponseWriter, request *http.Request) {
	ctx, cancel := context.WithTimeout(request.Context(), w.timeout)
	defer cancel()
	upstreamRequest, err := http.NewRequestWithContext(ctx, http.MethodGet,
		w.upstream.ResolveReference(&url.URL{Path: "/"}).String(), nil)
	if err == nil {
		var upstreamResponse *http.Response
		if upstreamResponse, err = w.client.Do(upstreamRequest); err == nil {
			err = upstreamResponse.Body.Close()
		}
	}
	if err != nil {
		http.Error(response, err.Error(), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(response, "ok\n")
}
