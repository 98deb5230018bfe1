package main

import (
	"context"
	"sync/atomic"

	"github.com/miekg/dns"
	skydns "github.com/skynetservices/skydns/server"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"kubernetes-openstack/hack/toolchain/skydns/config"
)

// server answers queries with SkyDNS. Other settings take effect without a restart.
type server struct {
	backend     skydns.Backend
	domain      string
	nameservers []config.Server // of the flag
	current     atomic.Pointer[dns.Handler]
}

// use answers further queries with these settings. SkyDNS itself does not use stub domains, because dnsmasq does.
func (s *server) use(c config.Config) error {
	settings := &skydns.Config{Domain: s.domain}
	servers := s.nameservers
	if len(c.UpstreamNameservers) > 0 {
		servers = c.UpstreamNameservers
	}
	for _, server := range servers {
		settings.Nameservers = append(settings.Nameservers, server.String())
	}
	if err := skydns.SetDefaults(settings); err != nil {
		return err
	}
	klog.Infof("names outside of %s are resolved by %v", settings.Domain, settings.Nameservers)
	var handler dns.Handler = skydns.New(s.backend, settings)
	s.current.Store(&handler)
	return nil
}

// ServeDNS implements dns.Handler.
func (s *server) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	(*s.current.Load()).ServeDNS(w, query)
}

// listen answers queries over UDP and TCP until ctx ends.
func (s *server) listen(ctx context.Context, address string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, network := range []string{"udp", "tcp"} {
		listener := &dns.Server{Addr: address, Net: network, Handler: s}
		started := make(chan struct{})
		listener.NotifyStartedFunc = func() { close(started) }
		group.Go(func() error {
			ended := make(chan error, 1)
			go func() { ended <- listener.ListenAndServe() }()
			select {
			case err := <-ended:
				return err
			case <-started:
			}
			select {
			case err := <-ended:
				return err
			case <-ctx.Done():
				return listener.Shutdown()
			}
		})
	}
	return group.Wait()
}
