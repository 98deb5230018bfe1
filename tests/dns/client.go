// Package dns has the cases of the Kubernetes DNS specification, which run against either DNS server of a cluster.
package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Dial connects to a DNS server, for example from another network namespace.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Timeout is the time after which a query without an answer is lost. Resolvers repeat a query after 5 s. A busy machine
// may answer later, and a late answer is slow but not lost.
const Timeout = 20 * time.Second

var types = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME, "NS": dnsmessage.TypeNS,
	"PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA, "SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT,
}

// Ask sends a query over a new connection. It returns the sorted records of the answer such as "A 10.96.0.10". Without
// records it returns NODATA or the response code, and TRUNCATED if the answer does not fit. A query that is lost is not
// repeated.
func Ask(ctx context.Context, dial Dial, network, server, name, kind string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	conn, err := dial(ctx, network, server)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return AskOn(conn, network, name, kind)
}

// AskOn sends a query over an open connection, like Ask.
func AskOn(conn net.Conn, network, name, kind string) (string, error) {
	question, err := dnsmessage.NewName(name)
	if err != nil {
		return "", err
	}
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: question, Type: types[kind], Class: dnsmessage.ClassINET}},
	}
	packed, err := query.Pack()
	if err != nil {
		return "", err
	}
	if err := conn.SetDeadline(time.Now().Add(Timeout)); err != nil {
		return "", err
	}
	if err := send(conn, network, packed); err != nil {
		return "", err
	}
	for {
		packed, err := receive(conn, network)
		if err != nil {
			return "", err
		}
		var answer dnsmessage.Message
		if err := answer.Unpack(packed); err != nil {
			return "", err
		}
		if answer.ID == query.ID { // not a late answer to an earlier query
			return text(answer)
		}
	}
}

// send writes a message. Over TCP, its length is before it.
func send(conn io.Writer, network string, packed []byte) error {
	if network == "tcp" {
		packed = append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	}
	_, err := conn.Write(packed)
	return err
}

func receive(conn io.Reader, network string) ([]byte, error) {
	if network == "udp" {
		packed := make([]byte, 1<<16)
		n, err := conn.Read(packed)
		return packed[:n], err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	packed := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, packed)
	return packed, err
}

var codes = map[dnsmessage.RCode]string{
	dnsmessage.RCodeSuccess: "NODATA", dnsmessage.RCodeNameError: "NXDOMAIN", dnsmessage.RCodeRefused: "REFUSED",
	dnsmessage.RCodeServerFailure: "SERVFAIL",
}

// text returns an answer as text.
func text(answer dnsmessage.Message) (string, error) {
	if answer.Truncated {
		return "TRUNCATED", nil
	}
	var records []string
	for _, r := range answer.Answers {
		var data string
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			data = "A " + net.IP(body.A[:]).String()
		case *dnsmessage.AAAAResource:
			data = "AAAA " + net.IP(body.AAAA[:]).String()
		case *dnsmessage.CNAMEResource:
			data = "CNAME " + body.CNAME.String()
		case *dnsmessage.NSResource:
			data = "NS " + body.NS.String()
		case *dnsmessage.PTRResource:
			data = "PTR " + body.PTR.String()
		case *dnsmessage.SOAResource:
			data = "SOA " + body.NS.String()
		case *dnsmessage.SRVResource:
			data = fmt.Sprintf("SRV %d %s", body.Port, body.Target)
		case *dnsmessage.TXTResource:
			data = "TXT " + strings.Join(body.TXT, "")
		default:
			return "", errors.New("unexpected record: " + r.GoString())
		}
		records = append(records, data)
	}
	if len(records) > 0 {
		slices.Sort(records)
		return strings.Join(slices.Compact(records), ", "), nil
	}
	if code, ok := codes[answer.RCode]; ok {
		return code, nil
	}
	return answer.RCode.String(), nil
}
