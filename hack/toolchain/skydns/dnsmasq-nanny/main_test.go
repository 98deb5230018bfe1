package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/hack/toolchain/skydns/config"
)

func servers(texts ...string) (parsed []config.Server) {
	for _, text := range texts {
		parsed = append(parsed, config.Server{AddrPort: netip.MustParseAddrPort(text)})
	}
	return parsed
}

func TestArguments(t *testing.T) {
	assert.Empty(t, arguments(config.Config{}))
	assert.Equal(t, []string{"--server=/a.test/192.0.2.1#53", "--server=/b.test/192.0.2.2#5353",
		"--server=/b.test/2001:db8::1#53", "--server=192.0.2.3#53", "--no-resolv"}, arguments(config.Config{
		StubDomains: map[string][]config.Server{"b.test": servers("192.0.2.2:5353", "[2001:db8::1]:53"),
			"a.test": servers("192.0.2.1:53")},
		UpstreamNameservers: servers("192.0.2.3:53"),
	}))
}

// fakeDNSMasq returns a program that writes its arguments to a file, and ends at SIGTERM.
func fakeDNSMasq(t *testing.T) (program, log string) {
	t.Helper()
	program, log = filepath.Join(t.TempDir(), "dnsmasq"), filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n[ \"$1\" != exit ] || exit $2\n"+
		"trap 'echo ended >>"+log+"; exit' TERM\necho \"$*\" >>"+log+"\nwhile sleep 0.01; do :; done\n"), 0o700))
	return program, log
}

func waitFor(t *testing.T, log, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(log)
		return strings.TrimSpace(string(text)) == want
	}, 10*time.Second, 5*time.Millisecond, want)
}

func TestChangedSettingsRestartDNSMasq(t *testing.T) {
	for _, restart := range []bool{true, false} {
		program, log := fakeDNSMasq(t)
		settings := make(chan config.Config)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- supervise(ctx, program, []string{"-k"}, settings, restart) }()
		settings <- config.Config{}
		waitFor(t, log, "-k")
		settings <- config.Config{UpstreamNameservers: servers("192.0.2.3:53")}
		want := "-k"
		if restart {
			want += "\nended\n-k --server=192.0.2.3#53 --no-resolv"
		}
		waitFor(t, log, want)
		cancel()
		require.NoError(t, <-ended)
		waitFor(t, log, want+"\nended")
	}
}

func TestNannyFailsIfDNSMasqEnds(t *testing.T) {
	program, _ := fakeDNSMasq(t)
	for _, code := range []string{"0", "3"} {
		settings := make(chan config.Config, 1)
		settings <- config.Config{}
		assert.EqualError(t, supervise(t.Context(), program, []string{"exit", code}, settings, true),
			"dnsmasq ended: exit status "+code)
	}
}
