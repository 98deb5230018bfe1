package main

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"
)

// counters are dnsmasq's counters, which it returns as TXT records of the class CHAOS.
type counters struct {
	server string
	values map[string]*atomic.Uint64 // by the name before .bind
	errors prometheus.Counter
}

func newCounters(registry prometheus.Registerer, namespace, server string) *counters {
	c := &counters{server: server, values: map[string]*atomic.Uint64{}}
	for name, metric := range map[string]struct{ name, help string }{
		"hits":       {"hits", "Number of DNS cache hits since the start of dnsmasq"},
		"misses":     {"misses", "Number of DNS cache misses since the start of dnsmasq"},
		"evictions":  {"evictions", "Number of DNS cache evictions since the start of dnsmasq"},
		"insertions": {"insertions", "Number of DNS cache insertions since the start of dnsmasq"},
		"cachesize":  {"max_size", "Maximum size of the DNS cache"},
	} {
		value := new(atomic.Uint64)
		c.values[name] = value
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "dnsmasq", Name: metric.name, Help: metric.help,
		}, func() float64 { return float64(value.Load()) }))
	}
	c.errors = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: "dnsmasq", Name: "errors", Help: "Number of errors when dnsmasq was queried",
	})
	registry.MustRegister(c.errors)
	return c
}

// run reads the counters until ctx ends.
func (c *counters) run(ctx context.Context, interval time.Duration) error {
	for {
		for name, value := range c.values {
			number, err := c.read(ctx, name)
			if err != nil {
				klog.V(2).Infof("dnsmasq's counter %s: %v", name, err)
				c.errors.Inc()
				break
			}
			value.Store(number)
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *counters) read(ctx context.Context, name string) (uint64, error) {
	query := new(dns.Msg).SetQuestion(name+".bind.", dns.TypeTXT)
	query.Question[0].Qclass = dns.ClassCHAOS
	answer, _, err := new(dns.Client).ExchangeContext(ctx, query, c.server)
	if err != nil {
		return 0, err
	}
	for _, record := range answer.Answer {
		if txt, ok := record.(*dns.TXT); ok && len(txt.Txt) == 1 {
			return strconv.ParseUint(txt.Txt[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("no TXT record: %s", dns.RcodeToString[answer.Rcode])
}
