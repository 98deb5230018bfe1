package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

// requests is an API server and a client that may list certificate requests.
type requests struct{ server, caFile, client string }

// grace is the time before a pending request counts. node-approver approves most requests within it.
const grace = time.Minute

// pendingRequests counts the certificate requests that are neither approved nor denied.
func (m *machine) pendingRequests(ctx context.Context, p *page) error {
	if m.requests.server == "" {
		return nil
	}
	ca, err := os.ReadFile(m.requests.caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(m.requests.client+".crt", m.requests.client+".key")
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
	}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		m.requests.server+"/apis/certificates.k8s.io/v1/certificatesigningrequests?resourceVersion=0", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("list certificate requests: %s", response.Status)
	}
	var list struct {
		Items []struct {
			Metadata struct{ CreationTimestamp time.Time }
			Status   struct{ Conditions []struct{ Type string } }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return err
	}
	pending := 0.0
	for _, item := range list.Items {
		if len(item.Status.Conditions) == 0 && time.Since(item.Metadata.CreationTimestamp) >= grace {
			pending++
		}
	}
	p.add("machine_pending_certificate_requests", gauge,
		"Number of requests in the API that are neither approved nor denied after a minute.", pending)
	return nil
}
