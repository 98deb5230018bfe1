package dns

import (
	"net"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Listen opens a UDP and a TCP socket of the same address, for example in another network namespace.
type Listen func() (net.PacketConn, net.Listener, error)

// OnLoopback listens on a port that is free for UDP and TCP.
func OnLoopback() (net.PacketConn, net.Listener, error) {
	for tries := 1; ; tries++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return packets, listener, nil
		}
		if _ = listener.Close(); tries == 10 {
			return nil, nil, err
		}
	}
}

// Serve starts a DNS server with the address records of names. It refuses other names, as the data centre's resolver
// does. It ends with the test. Serve returns its address.
func Serve(t testing.TB, records map[string][4]byte, listen Listen) (address string) {
	t.Helper()
	packets, listener, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close(); listener.Close() })
	go func() {
		query := make([]byte, 1<<16)
		for {
			n, client, err := packets.ReadFrom(query)
			if err != nil {
				return
			}
			if reply := answer(records, query[:n]); reply != nil {
				_, _ = packets.WriteTo(reply, client)
			}
		}
	}()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					query, err := receive(conn, "tcp")
					if err != nil || send(conn, "tcp", answer(records, query)) != nil {
						return
					}
				}
			}()
		}
	}()
	return packets.LocalAddr().String()
}

// answer returns the reply to a query, or nil if the query is invalid.
func answer(records map[string][4]byte, packed []byte) []byte {
	var query dnsmessage.Message
	if query.Unpack(packed) != nil || len(query.Questions) != 1 {
		return nil
	}
	q := query.Questions[0]
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionDesired: true, RecursionAvailable: true},
		Questions: query.Questions,
	}
	ip, known := records[q.Name.String()]
	switch {
	case !known:
		reply.RCode = dnsmessage.RCodeRefused
	case q.Type == dnsmessage.TypeA:
		reply.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: ip},
		}}
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}
