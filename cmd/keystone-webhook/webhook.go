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

// The most bytes of a request and of an answer. A token came to kube-apiserver in a header, a user has at most some
// hundreds of roles on a project.
const (
	mostAsked    = 64 << 10
	mostAnswered = 1 << 20
)

// tries is how often upstream is asked of a token that it refuses. All its requests share one client of Keystone's, and
// put their tokens into it: of two at a time, one may be asked of in the name of the other, and Keystone tells people
// of their own tokens only. Where dozens come at a time, it so refuses one good token of a hundred.
const tries = 3

// webhook answers kube-apiserver by what k8s-keystone-auth, upstream, says.
//
// A token is refused with a reason in status.error, and what is wrong with upstream is an HTTP error: kube-apiserver
// keeps neither, while it would keep a refusal without a reason for as long as an acceptance.
type webhook struct {
	upstream *url.URL
	client   *http.Client
	patience time.Duration // until upstream has answered
	log      *log.Logger
}

// newWebhook asks upstream, whose certificate must be of these authorities.
func newWebhook(upstream *url.URL, authorities *x509.CertPool, log *log.Logger) *webhook {
	return &webhook{
		upstream: upstream,
		client: &http.Client{
			Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities}}, // through no proxy
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		patience: 10 * time.Second, // kube-apiserver's is 30 s
		log:      log,
	}
}

func (w *webhook) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhook", w.review)
	mux.HandleFunc("GET /healthz", w.health)
	return mux
}

// review answers a TokenReview.
func (w *webhook) review(response http.ResponseWriter, request *http.Request) {
	token, err := tokenOf(http.MaxBytesReader(response, request.Body, mostAsked))
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(request.Context(), w.patience)
	defer cancel()
	status, err := w.ask(ctx, token)
	for try := 1; err == nil && !status.Authenticated && try < tries; try++ {
		status, err = w.ask(ctx, token)
	}
	if err != nil {
		w.log.Printf("failed: %v", err)
		http.Error(response, err.Error(), http.StatusBadGateway)
		return
	}
	answer := authentication.TokenReview{TypeMeta: tokenReview}
	if answer.Status.User, err = user(status); err != nil {
		w.log.Printf("refused: %v", err)
		answer.Status.Error = err.Error()
	} else {
		answer.Status.Authenticated = true
	}
	response.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(response).Encode(answer); err != nil {
		w.log.Print(err)
	}
}

// tokenOf is the token of kube-apiserver's request.
func tokenOf(body io.Reader) (string, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	var asked authentication.TokenReview
	switch err := json.Unmarshal(text, &asked); {
	case err != nil || asked.TypeMeta != tokenReview:
		return "", fmt.Errorf("the body must be a TokenReview of %s", tokenReview.APIVersion)
	case asked.Spec.Token == "":
		return "", errors.New("spec.token must be set")
	}
	return asked.Spec.Token, nil
}

// ask is what upstream says of a token. Its errors have nothing of the two bodies, as both have the token.
func (w *webhook) ask(ctx context.Context, token string) (authentication.TokenReviewStatus, error) {
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
	case http.StatusUnauthorized: // as it answers of a token that is not good
		return none, nil
	default:
		return none, fmt.Errorf("%s answers HTTP %d", w.upstream, response.StatusCode)
	}
	text, err := io.ReadAll(http.MaxBytesReader(nil, response.Body, mostAnswered))
	if err != nil {
		return none, err
	}
	var answered authentication.TokenReview
	if err := json.Unmarshal(text, &answered); err != nil || answered.TypeMeta != tokenReview {
		return none, fmt.Errorf("%s answers no TokenReview of %s", w.upstream, tokenReview.APIVersion)
	}
	return answered.Status, nil
}

// health tells whether upstream answers at all: what it says of a token is Keystone's affair.
func (w *webhook) health(response http.ResponseWriter, request *http.Request) {
	ctx, cancel := context.WithTimeout(request.Context(), w.patience)
	defer cancel()
	asked, err := http.NewRequestWithContext(ctx, http.MethodGet,
		w.upstream.ResolveReference(&url.URL{Path: "/"}).String(), nil)
	if err == nil {
		var answer *http.Response
		if answer, err = w.client.Do(asked); err == nil {
			err = answer.Body.Close()
		}
	}
	if err != nil {
		http.Error(response, err.Error(), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(response, "ok\n")
}
