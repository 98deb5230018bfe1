// Command machine-metrics exports the metrics of a machine to Prometheus. It listens with TLS, and accepts only clients
// with a certificate of --client-ca-file.
//
//	GET /metrics   CPU, memory, load, file systems, network and failed units, with the names of node_exporter;
//	               BGP sessions, certificates, checks and the backup of etcd, with names that begin with machine_
//	GET /NAME      the metrics of a program that listens only on the loopback interface (--forward)
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// timeout limits each read and each request of a scrape. Prometheus gives up after 10 s.
const timeout = 8 * time.Second

func main() {
	log := log.New(os.Stderr, "", 0) // the journal adds the time
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], log); err != nil {
		log.Fatalf("machine-metrics: %v", err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, log *log.Logger) error {
	flags := flag.NewFlagSet("machine-metrics", flag.ContinueOnError)
	listen := flags.String("listen", "", "address and port of this server (required)")
	certFile := flags.String("tls-cert-file", "", "certificate of this server, read for each connection (required)")
	keyFile := flags.String("tls-private-key-file", "", "private key of --tls-cert-file (required)")
	caFile := flags.String("client-ca-file", "", "CA of the clients' certificates (required)")
	certificates := flags.String("certificates", "", "patterns of certificate files, separated by commas")
	checks := flags.String("checks", "", "NAMEs of scripts check-NAME, separated by commas")
	units := flags.String("timers", "", "NAMEs of services that timers start, separated by commas")
	forward := flags.String("forward", "", "NAME=URL of metrics on the loopback interface, separated by commas")
	m := machine{proc: "/proc", log: log}
	flags.StringVar(&m.bird, "bird-socket", "", "control socket of BIRD")
	flags.StringVar(&m.requests.server, "requests", "", "URL of the API server whose certificate requests are counted")
	flags.StringVar(&m.requests.caFile, "requests-ca-file", "", "CA of the certificate of --requests")
	flags.StringVar(&m.requests.client, "requests-client", "", "path, without .crt and .key, of the client of --requests")
	flags.StringVar(&m.backup, "etcd-backup", "", "file in which etcd-backup reports the newest backup")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: only flags are allowed", flags.Arg(0))
	}
	m.certificates, m.checks, m.timers = split(*certificates), split(*checks), split(*units)
	ca, err := os.ReadFile(*caFile)
	if err != nil {
		return fmt.Errorf("--client-ca-file: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(ca) {
		return fmt.Errorf("--client-ca-file: %s must contain a certificate in PEM", *caFile)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", &m)
	for _, pair := range split(*forward) {
		name, text, _ := strings.Cut(pair, "=")
		target, err := url.Parse(text)
		if err != nil || name == "" || target.Host == "" {
			return fmt.Errorf("--forward: %q must be NAME=URL", pair)
		}
		mux.Handle("GET /"+name, forwardTo(target, log))
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	server := &http.Server{
		Handler: mux,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
			// kubelet renews its certificate, and has none at the first boot
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				pair, err := tls.LoadX509KeyPair(*certFile, *keyFile)
				return &pair, err
			},
		},
		ReadHeaderTimeout: timeout, ReadTimeout: timeout, WriteTimeout: 2 * timeout, IdleTimeout: 5 * time.Minute,
		ErrorLog: log,
	}
	log.Printf("listening on %s", listener.Addr())
	context.AfterFunc(ctx, func() { _ = server.Close() }) // a scrape can be repeated
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// forwardTo returns a handler that requests target without the headers of the client, except for the formats that it
// accepts.
func forwardTo(target *url.URL, log *log.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL, r.Out.Host = target, ""
			r.Out.Header = http.Header{}
			for _, name := range []string{"Accept", "Accept-Encoding"} {
				r.Out.Header[name] = r.In.Header[name]
			}
		},
		Transport: &http.Transport{
			ResponseHeaderTimeout: timeout,
			// Kubernetes' programs create a self-signed certificate at each start. Only this machine can listen on its
			// loopback interface.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		ErrorLog: log,
	}
}

// split returns the elements of a comma-separated list, which may be empty.
func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
