package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

func TestEgress(t *testing.T) {
	ca, sign, err := newCA()
	if err != nil {
		t.Fatal(err)
	}
	paths := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
	proxy := httptest.NewServer(egress(paths, sign))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	get := func(trusted *x509.CertPool, target string) (string, error) {
		client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(address), DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: trusted}}}
		response, err := client.Get(target)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		return string(content), err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca)
	for target, want := range map[string]string{
		"https://github.com/etcd-io/etcd":                 "/github.com/etcd-io/etcd",
		"https://registry.test:443/v2/":                   "/registry.test/v2/",
		"http://debian.example.com/debian/dists/bookworm": "/debian.example.com/debian/dists/bookworm",
	} {
		if got, err := get(trusted, target); err != nil || got != want {
			t.Errorf("%s: got %q, want %q: %v", target, got, want, err)
		}
	}
	if _, err := get(x509.NewCertPool(), "https://github.com/"); err == nil {
		t.Error("a client without the company's CA must refuse the certificate")
	}
}
