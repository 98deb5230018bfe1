// Package config reads the ConfigMap kube-dns, which kubelet mounts as a folder.
package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"k8s.io/klog/v2"
)

// Config contains the settings of an administrator.
type Config struct {
	// StubDomains maps domains to their DNS servers.
	StubDomains map[string][]Server
	// UpstreamNameservers resolve all other names. Without them, those in /etc/resolv.conf do.
	UpstreamNameservers []Server
}

// Server is the address and port of a DNS server.
type Server struct{ netip.AddrPort }

// ParseServer parses an address with an optional port. The default port is 53.
func ParseServer(text string) (Server, error) {
	if server, err := netip.ParseAddrPort(text); err == nil && server.Port() > 0 {
		return Server{server}, nil
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return Server{}, fmt.Errorf("a server must be an IP address with an optional port, got %q", text)
	}
	return Server{netip.AddrPortFrom(address, 53)}, nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Server) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	server, err := ParseServer(text)
	*s = server
	return err
}

// Read reads the files of a folder. A missing file or folder means that nothing is set.
func Read(folder string) (Config, error) {
	var c Config
	for key, target := range map[string]any{
		"stubDomains": &c.StubDomains, "upstreamNameservers": &c.UpstreamNameservers,
	} {
		text, err := os.ReadFile(filepath.Join(folder, key))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return Config{}, err
		}
		if err := json.Unmarshal(text, target); err != nil {
			return Config{}, fmt.Errorf("%s: %w", key, err)
		}
	}
	return c, nil
}

// Watch sends the current settings, and the new ones after each change, until ctx ends. It reads the folder in each
// period. Invalid settings are logged, and do not replace the previous ones.
func Watch(ctx context.Context, folder string, period time.Duration) <-chan Config {
	settings := make(chan Config)
	go func() {
		var last Config
		for first := true; ; first = false {
			current, err := Read(folder)
			if err != nil {
				klog.Errorf("the settings in %s are ignored: %v", folder, err)
				current = last
			}
			if first || !reflect.DeepEqual(current, last) {
				last = current
				select {
				case settings <- current:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-time.After(period):
			case <-ctx.Done():
				return
			}
		}
	}()
	return settings
}
