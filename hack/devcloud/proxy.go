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

// proxyPort is the port of the box's HTTP proxy. Only through this proxy can the host connect to the instances'
// floating IPs and to the networks behind the router.
const proxyPort = 3128

// proxy connects clients with addresses in the networks. It supports only the method CONNECT.
func proxy(networks ...netip.Prefix) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "devcloud: the method must be CONNECT, got "+r.Method, http.StatusMethodNotAllowed)
			return
		}
		to, err := netip.ParseAddrPort(r.Host)
		contains := func(network netip.Prefix) bool { return network.Contains(to.Addr()) }
		if err != nil || !slices.ContainsFunc(networks, contains) {
			http.Error(w, fmt.Sprintf("devcloud: the address must be an IP address in one of %s, got %s", networks, r.Host),
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

// splice copies data between client and server until the server closes the connection. request begins with the data
// that was already read from the client.
func splice(client net.Conn, request io.Reader, server net.Conn) {
	defer client.Close()
	defer server.Close()
	go func() {
		io.Copy(server, request)
		server.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(client, server)
}
