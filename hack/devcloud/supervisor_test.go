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

func TestAnswers(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.Listener.Addr().String()
	for _, answering := range []string{"", "tcp://" + address, "http://" + address + "/v3",
		"unix://" + listener.Addr().String()} {
		select {
		case <-answers(t.Context(), answering):
		case <-time.After(5 * time.Second):
			t.Errorf("%s does not answer", answering)
		}
	}
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	select {
	case <-answers(ctx, "tcp://"+address):
		t.Error("a closed port answers")
	case <-ctx.Done():
	}
}
