// Command keystone-webhook runs between kube-apiserver and k8s-keystone-auth on a control plane. It replaces the
// names of users and groups with names that it builds from IDs (package tenancy). A user is named by their Keystone
// ID, and is in one group for each role that the token has on its project.
//
//	POST /webhook   TokenReview of authentication.k8s.io/v1beta1
//	GET  /healthz   200 if k8s-keystone-auth responds
//
// It reads its certificates only at its start, because they change only when the machine is replaced.
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
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log := log.New(os.Stderr, "", 0) // the journal adds the time
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], log); err != nil {
		log.Fatalf("keystone-webhook: %v", err)
	}
}

// run serves until ctx ends. Then it completes the open requests and returns.
func run(ctx context.Context, args []string, log *log.Logger) error {
	flags := flag.NewFlagSet("keystone-webhook", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:8444", "address and port of this server")
	certFile := flags.String("tls-cert-file", "", "certificate of this server (required)")
	keyFile := flags.String("tls-private-key-file", "", "private key of --tls-cert-file (required)")
	upstream := flags.String("upstream", "https://127.0.0.1:8443/webhook", "URL of k8s-keystone-auth")
	caFile := flags.String("upstream-ca-file", "", "CA of k8s-keystone-auth's certificate (required)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: only flags are allowed", flags.Arg(0))
	}
	address, err := url.Parse(*upstream)
	if err != nil || address.Scheme != "https" || address.Host == "" {
		return fmt.Errorf("--upstream: must be an https:// URL, not %q", *upstream)
	}
	certificate, err := tls.LoadX509KeyPair(*certFile, *keyFile)
	if err != nil {
		return fmt.Errorf("--tls-cert-file, --tls-private-key-file: %w", err)
	}
	ca, err := os.ReadFile(*caFile)
	if err != nil {
		return fmt.Errorf("--upstream-ca-file: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(ca) {
		return fmt.Errorf("--upstream-ca-file: %s must contain a certificate in PEM", *caFile)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	hook := newWebhook(address, authorities, log)
	server := &http.Server{
		Handler:           hook.handler(),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10*time.Second + hook.timeout,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          log,
	}
	log.Printf("listening on %s", listener.Addr())
	shutdown := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hook.timeout)
		defer cancel()
		shutdown <- server.Shutdown(ctx)
	}()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-shutdown
}
