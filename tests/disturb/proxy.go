// Package disturb is a reverse proxy in front of OpenStack's APIs that disturbs its clients.
package disturb

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fault is the way in which the proxy disturbs requests.
type Fault string

const (
	// ServerError answers 500 and executes nothing.
	ServerError Fault = "500"
	// TooMany answers 429 and executes nothing.
	TooMany Fault = "429"
	// RetryAfter is TooMany with the header Retry-After.
	RetryAfter Fault = "429, Retry-After"
	// Silence accepts requests and executes nothing. The connections break when the fault ends.
	Silence Fault = "no answer"
	// LostAnswer executes all requests, and breaks the connection instead of answering those that change something.
	LostAnswer Fault = "lost answers"
)

// Faults are all faults.
var Faults = []Fault{ServerError, TooMany, RetryAfter, Silence, LostAnswer}

// Proxy listens at the ports of OpenStack's APIs, but at another address of the loopback interface. It forwards each
// request to the same port of 127.0.0.1. Clients find the other APIs in Keystone's catalogue, in which the proxy
// replaces the address.
type Proxy struct {
	host string

	mu    sync.Mutex
	count int
	at    int
	event func(request string)
	fault Fault
	end   time.Time // of the fault
}

// Start starts a proxy at an address such as 127.0.0.2.
func Start(t testing.TB, host string, ports ...int) *Proxy {
	t.Helper()
	p := &Proxy{host: host}
	server := &http.Server{Handler: p}
	for _, port := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		go server.Serve(listener)
	}
	t.Cleanup(func() { server.Close() })
	return p
}

// Count returns the number of requests since the last call of At.
func (p *Proxy) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// At starts to count requests, and calls event when the request with this number arrives. If number is 0, it only
// counts. The request waits until event returns. It is named like POST :9696/v2.0/ports.
func (p *Proxy) At(number int, event func(request string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count, p.at, p.event = 0, number, event
}

// Disturb disturbs all requests that arrive from now on, for this duration. A new fault ends the last one.
func (p *Proxy) Disturb(fault Fault, duration time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.end = fault, time.Now().Add(duration)
}

// Wait waits until the fault has ended.
func (p *Proxy) Wait() {
	_, rest := p.current()
	time.Sleep(rest)
}

// current returns the fault that disturbs requests and its remaining time, or "" if there is none.
func (p *Proxy) current() (fault Fault, rest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rest = time.Until(p.end); rest <= 0 {
		return "", 0
	}
	return p.fault, rest
}

// arrive counts a request, and returns the event that it starts.
func (p *Proxy) arrive() func(request string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	if p.count == p.at {
		return p.event
	}
	return func(string) {}
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, port, _ := net.SplitHostPort(r.Host)
	p.arrive()(fmt.Sprintf("%s :%s%s", r.Method, port, r.URL.Path))
	fault, rest := p.current()
	switch fault {
	case ServerError:
		http.Error(w, "disturbed", http.StatusInternalServerError)
	case RetryAfter:
		w.Header().Set("Retry-After", "5")
		fallthrough
	case TooMany:
		http.Error(w, "disturbed", http.StatusTooManyRequests)
	case Silence:
		select {
		case <-time.After(rest):
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler) // breaks the connection
	case LostAnswer:
		if r.Method != http.MethodGet {
			p.forward(port).ServeHTTP(discard{}, r)
			panic(http.ErrAbortHandler)
		}
		fallthrough
	default:
		p.forward(port).ServeHTTP(w, r)
	}
}

// discard is a response writer that nobody reads.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// forward returns a handler that forwards requests to a port of 127.0.0.1. Requests keep their Host, so links in the
// answers point to the proxy.
func (p *Proxy) forward(port string) http.Handler {
	const address = "127.0.0.1"
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: net.JoinHostPort(address, port)})
			r.Out.Host = r.In.Host
			// OpenStack executes a request that its client has abandoned
			r.Out = r.Out.WithContext(context.WithoutCancel(r.In.Context()))
		},
		ModifyResponse: func(response *http.Response) error {
			if !strings.HasSuffix(response.Request.URL.Path, "/auth/tokens") {
				return nil
			}
			text, err := io.ReadAll(response.Body)
			if err != nil {
				return err
			}
			text = bytes.ReplaceAll(text, []byte("://"+address+":"), []byte("://"+p.host+":"))
			response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
			response.Header.Set("Content-Length", strconv.Itoa(len(text)))
			return nil
		},
	}
}
