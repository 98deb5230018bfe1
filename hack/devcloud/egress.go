package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"time"
)

// In the variant proxy, instances reach the mirror only through a forward proxy.
const (
	egressVariant = "proxy"
	egressAddress = externalGateway + ":3128"
)

// companyCA is the certificate of the CA that signs the certificates of all hosts behind the proxy.
const companyCA = "company-ca.pem"

// egress is a forward proxy that decrypts TLS, as in companies. Behind it, the URL https://HOST/PATH has the file
// HOST/PATH of the mirror. The certificates are those of certificate.
func egress(mirror http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) http.Handler {
	byHost := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := url.URL{Host: r.Host}
		r.URL.Path = "/" + host.Hostname() + r.URL.Path
		mirror.ServeHTTP(w, r)
	})
	tunnels := make(tunnels)
	server := http.Server{Handler: byHost, TLSConfig: &tls.Config{GetCertificate: certificate}}
	go server.ServeTLS(tunnels, "", "")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			byHost.ServeHTTP(w, r)
			return
		}
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			client.Close()
			return
		}
		tunnels <- client // a client sends nothing before the response
	})
}

// tunnels is a listener whose clients are those of a proxy.
type tunnels chan net.Conn

func (t tunnels) Accept() (net.Conn, error) { return <-t, nil }
func (t tunnels) Close() error              { return nil }
func (t tunnels) Addr() net.Addr            { return &net.TCPAddr{} }

// newCA creates a CA. It returns its certificate in PEM form, and a function that signs a certificate for the host that
// a client requests.
func newCA() (ca []byte, sign func(*tls.ClientHelloInfo) (*tls.Certificate, error), err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "company CA of devcloud"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	sign = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
		if err != nil {
			return nil, err
		}
		host := &x509.Certificate{SerialNumber: serial, DNSNames: []string{hello.ServerName},
			NotBefore: authority.NotBefore, NotAfter: time.Now().AddDate(1, 0, 0),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		der, err := x509.CreateCertificate(rand.Reader, host, authority, &key.PublicKey, key)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), sign, nil
}
