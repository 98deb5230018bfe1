package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startServer starts a DNS server, which ends with the test, and returns its address.
func startServer(t *testing.T, handler dns.HandlerFunc) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &dns.Server{PacketConn: conn, Handler: handler}
	go server.ActivateAndServe()
	t.Cleanup(func() { server.Shutdown() })
	return conn.LocalAddr().String()
}

func TestParseProbe(t *testing.T) {
	p, err := parseProbe("dnsmasq,127.0.0.1,kubernetes.default.svc.cluster.local,2,SRV")
	require.NoError(t, err)
	assert.Equal(t, "dnsmasq 127.0.0.1:53 kubernetes.default.svc.cluster.local. 2s 33",
		strings.Join([]string{p.label, p.server, p.name, p.interval.String(), "33"}, " "))
	assert.Equal(t, dns.TypeSRV, p.kind)
	for _, wrong := range []string{"a,b", "a,b,c,0", "a,b,c,x", "a,b,c,1,NONE", "a,b,c,1,A,more"} {
		_, err := parseProbe(wrong)
		assert.Error(t, err, wrong)
	}
}

func TestHealthcheckReturnsTheLastResult(t *testing.T) {
	var answers atomic.Bool
	address := startServer(t, func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetReply(query)
		if answers.Load() {
			record, _ := dns.NewRR(query.Question[0].Name + " A 192.0.2.1")
			reply.Answer = []dns.RR{record}
		}
		_ = w.WriteMsg(reply)
	})
	p, err := parseProbe("kubedns," + address + ",name.test,1,A")
	require.NoError(t, err)
	registry := prometheus.NewRegistry()
	p.register(registry, "kubedns")
	result := func() (int, string) {
		recorder := httptest.NewRecorder()
		p.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		return recorder.Code, recorder.Body.String()
	}
	code, body := result()
	assert.Equal(t, http.StatusServiceUnavailable, code)
	assert.Contains(t, body, "waiting for the first answer")

	p.query(t.Context())
	code, body = result()
	assert.Equal(t, http.StatusServiceUnavailable, code)
	assert.Contains(t, body, "name.test. has no records: NOERROR")
	answers.Store(true)
	p.query(t.Context())
	code, body = result()
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, `"IsOk":true`)
	assert.Equal(t, 1.0, testutil.ToFloat64(p.errors))
	count, err := testutil.GatherAndCount(registry, "kubedns_probe_kubedns_latency_ms", "kubedns_probe_kubedns_errors")
	require.NoError(t, err)
	assert.Equal(t, 2, count)
}

func TestCountersAreThoseOfDNSMasq(t *testing.T) {
	address := startServer(t, func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetReply(query)
		if q := query.Question[0]; q.Qclass == dns.ClassCHAOS && q.Name != "misses.bind." {
			reply.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeTXT, Class: q.Qclass},
				Txt: []string{"1000"}}}
		}
		_ = w.WriteMsg(reply)
	})
	c := newCounters(prometheus.NewRegistry(), "kubedns", address)
	number, err := c.read(t.Context(), "cachesize")
	require.NoError(t, err)
	assert.Equal(t, uint64(1000), number)
	_, err = c.read(t.Context(), "misses")
	assert.EqualError(t, err, "no TXT record: NOERROR")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go c.run(ctx, time.Millisecond)
	require.Eventually(t, func() bool {
		return testutil.ToFloat64(c.errors) > 0 && c.values["hits"].Load() == 1000
	}, 10*time.Second, time.Millisecond)
}
