package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProxy(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	defer server.Close()
	plain := httptest.NewServer(server.Config.Handler)
	defer plain.Close()
	through := func(network string, to string) (string, error) {
		proxyServer := httptest.NewServer(proxy(netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix(network)))
		defer proxyServer.Close()
		address, err := url.Parse(proxyServer.URL)
		require.NoError(t, err)
		client := server.Client()
		client.Transport.(*http.Transport).Proxy = http.ProxyURL(address)
		defer client.CloseIdleConnections()
		response, err := client.Post(to, "text/plain", strings.NewReader("request and response"))
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return response.Status + ": " + string(body), err
	}

	got, err := through("127.0.0.0/24", server.URL)
	require.NoError(t, err)
	require.Equal(t, "200 OK: request and response", got)

	_, err = through("172.31.250.0/24", server.URL)
	require.ErrorContains(t, err, "Forbidden")
	_, err = through("127.0.0.0/24", "https://localhost:1/")
	require.ErrorContains(t, err, "Forbidden", "a name is not an address in the network")
	got, err = through("127.0.0.0/24", plain.URL)
	require.NoError(t, err)
	require.Contains(t, got, "405")
	require.Contains(t, got, "the method must be CONNECT")

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()
	_, err = through("127.0.0.0/24", "https://"+closed.Addr().String())
	require.ErrorContains(t, err, "Bad Gateway")
}
