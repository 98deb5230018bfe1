package disturb

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const host = "127.0.0.2"

// start starts an API that counts its requests, and a proxy. It returns the URL of the API through the proxy.
func start(t *testing.T) (p *Proxy, base string, executed *atomic.Int32) {
	t.Helper()
	executed = new(atomic.Int32)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		executed.Add(1)
		fmt.Fprintf(w, "http://127.0.0.1:8774/v2.1 %s %s", r.Method, r.Host)
	}))
	t.Cleanup(api.Close)
	address, err := url.Parse(api.URL)
	require.NoError(t, err)
	port, err := strconv.Atoi(address.Port())
	require.NoError(t, err)
	return Start(t, host, port), "http://" + net.JoinHostPort(host, address.Port()), executed
}

// send sends a request and returns the status, the header Retry-After and the body.
func send(method, url string) (string, error) {
	request, err := http.NewRequest(method, url, strings.NewReader("{}"))
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s%s", response.StatusCode, response.Header.Get("Retry-After"), body), err
}

// TestFaults checks the answers to requests, and whether OpenStack executes them.
func TestFaults(t *testing.T) {
	const answered = "200 http://127.0.0.1:8774/v2.1 "
	for fault, want := range map[Fault]struct {
		get, post string // the answer, or the error
		executed  int32
	}{
		ServerError: {"500 disturbed\n", "500 disturbed\n", 0},
		TooMany:     {"429 disturbed\n", "429 disturbed\n", 0},
		RetryAfter:  {"429 5disturbed\n", "429 5disturbed\n", 0},
		Silence:     {"EOF", "EOF", 0},
		LostAnswer:  {answered + "GET", "EOF", 2},
	} {
		t.Run(string(fault), func(t *testing.T) {
			p, base, executed := start(t)
			begin := time.Now()
			p.Disturb(fault, time.Second)
			for method, want := range map[string]string{"GET": want.get, "POST": want.post} {
				p.Disturb(fault, time.Second)
				got, err := send(method, base+"/v2.1/servers")
				assert.Contains(t, got+fmt.Sprint(err), want, method)
				if fault == Silence {
					assert.Greater(t, time.Since(begin), time.Second)
				}
			}
			assert.Equal(t, want.executed, executed.Load())
			p.Wait()
			got, err := send("POST", base+"/v2.1/servers")
			require.NoError(t, err)
			assert.Equal(t, answered+"POST "+strings.TrimPrefix(base, "http://"), got, "after the fault")
		})
	}
}

// TestAt checks that an event begins with the request of its number, which it already disturbs.
func TestAt(t *testing.T) {
	p, base, _ := start(t)
	var event string
	p.At(2, func(request string) {
		event = request
		p.Disturb(ServerError, time.Minute)
	})
	for _, want := range []string{"200", "500", "500"} {
		got, err := send("PUT", base+"/v2.0/ports/1")
		require.NoError(t, err)
		assert.Contains(t, got, want)
	}
	assert.Equal(t, "PUT :"+base[strings.LastIndex(base, ":")+1:]+"/v2.0/ports/1", event)
	assert.Equal(t, 3, p.Count())
	p.At(0, nil)
	assert.Zero(t, p.Count())
}

// TestCatalogue checks that clients find the proxy in Keystone's catalogue.
func TestCatalogue(t *testing.T) {
	_, base, _ := start(t)
	got, err := send("POST", base+"/v3/auth/tokens")
	require.NoError(t, err)
	assert.Contains(t, got, "http://127.0.0.2:8774/v2.1")
}
