package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"
)

// probe sends the same query to a server repeatedly. The handler of its health check returns the last result.
type probe struct {
	label, server, name string
	interval            time.Duration
	kind                uint16

	latencies prometheus.Histogram
	errors    prometheus.Counter

	mutex   sync.Mutex
	latency time.Duration
	err     error
}

// parseProbe parses label,server,name[,seconds[,type]].
func parseProbe(text string) (*probe, error) {
	fields := strings.Split(text, ",")
	if len(fields) < 3 || len(fields) > 5 {
		return nil, errors.New("must be label,server,name[,seconds[,type]]")
	}
	p := &probe{label: fields[0], server: fields[1], name: dns.Fqdn(fields[2]), interval: 5 * time.Second,
		kind: dns.TypeANY, err: errors.New("waiting for the first answer")}
	if !strings.Contains(p.server, ":") {
		p.server += ":53"
	}
	if len(fields) > 3 {
		seconds, err := strconv.Atoi(fields[3])
		if err != nil || seconds < 1 {
			return nil, fmt.Errorf("must have a positive number of seconds, got %q", fields[3])
		}
		p.interval = time.Duration(seconds) * time.Second
	}
	if len(fields) > 4 {
		kind, ok := dns.StringToType[fields[4]]
		if !ok {
			return nil, fmt.Errorf("must have a type of DNS records such as A, got %q", fields[4])
		}
		p.kind = kind
	}
	return p, nil
}

func (p *probe) register(registry prometheus.Registerer, namespace string) {
	p.latencies = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: "probe", Name: p.label + "_latency_ms",
		Help: "Latency of the DNS probe request " + p.label, Buckets: prometheus.ExponentialBuckets(0.25, 2, 14),
	})
	p.errors = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: "probe", Name: p.label + "_errors",
		Help: "Count of errors of the DNS probe request " + p.label,
	})
	registry.MustRegister(p.latencies, p.errors)
}

// run sends queries until ctx ends.
func (p *probe) run(ctx context.Context) error {
	for {
		p.query(ctx)
		select {
		case <-time.After(p.interval):
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *probe) query(ctx context.Context) {
	query := new(dns.Msg).SetQuestion(p.name, p.kind)
	answer, latency, err := new(dns.Client).ExchangeContext(ctx, query, p.server)
	if err == nil && len(answer.Answer) == 0 {
		err = fmt.Errorf("%s has no records: %s", p.name, dns.RcodeToString[answer.Rcode])
	}
	if err != nil {
		klog.V(2).Infof("probe %s: %v", p.label, err)
		p.errors.Inc()
	} else {
		p.latencies.Observe(float64(latency) / float64(time.Millisecond))
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.latency, p.err = latency, err
}

// ServeHTTP returns the last result: 200 for an answer, 503 for none.
func (p *probe) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mutex.Lock()
	result := struct {
		IsOk           bool
		LatencySeconds float64
		Err            string
	}{IsOk: p.err == nil}
	if p.err == nil {
		result.LatencySeconds = p.latency.Seconds()
	} else {
		result.Err = p.err.Error()
	}
	p.mutex.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if !result.IsOk {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(result)
}
