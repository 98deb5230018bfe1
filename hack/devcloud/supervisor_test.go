package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"
)

func TestResponds(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	server := httptest.NewServer(http.NotFoundHandler())
	host := server.Listener.Addr().String()
	for _, address := range []string{"", "tcp://" + host, "http://" + host + "/v3",
		"unix://" + listener.Addr().String()} {
		select {
		case <-responds(t.Context(), address):
		case <-time.After(5 * time.Second):
			t.Errorf("%s does not respond", address)
		}
	}
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	select {
	case <-responds(ctx, "tcp://"+host):
		t.Error("a closed port must not respond")
	case <-ctx.Done():
	}
}
