package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// proxyPort is where the box's proxy listens, an HTTP proxy into the box's networks: the only way from the host to the
// instances' floating IPs, and to what is behind the router.
const proxyPort = 3128

// proxy connects clients (CONNECT) with addresses of the networks; nothing else is to be had of it.
func proxy(networks ...netip.Prefix) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "devcloud: this proxy knows CONNECT only, "+r.Method+" is something else", http.StatusMethodNotAllowed)
			return
		}
		to, err := netip.ParseAddrPort(r.Host)
		leads := func(network netip.Prefix) bool { return network.Contains(to.Addr()) }
		if err != nil || !slices.ContainsFunc(networks, leads) {
			http.Error(w, fmt.Sprintf("devcloud: this proxy leads to addresses of %s only, %s is none", networks, r.Host),
				http.StatusForbidden)
			return
		}
		server, err := net.DialTimeout("tcp", to.String(), 10*time.Second)
		if err != nil {
			http.Error(w, "devcloud: "+err.Error(), http.StatusBadGateway)
			return
		}
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			server.Close()
			return
		}
		if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			client.Close()
			server.Close()
			return
		}
		splice(client, buffered, server)
	})
}

// splice carries what the client sends, which begins with what was read of it already, to the server, and back, until
// the server ends.
func splice(client net.Conn, sends io.Reader, server net.Conn) {
	defer client.Close()
	defer server.Close()
	go func() {
		io.Copy(server, sends)
		server.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(client, server)
}
