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

// Config contains the settings of an administrator. Each server is an address with an optional port.
type Config struct {
	// StubDomains maps domains to their DNS servers.
	StubDomains map[string][]string
	// UpstreamNameservers resolve all other names. Without them, those in /etc/resolv.conf do.
	UpstreamNameservers []string
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
	for domain, servers := range c.StubDomains {
		if err := check(servers); err != nil {
			return Config{}, fmt.Errorf("stubDomains: %s: %w", domain, err)
		}
	}
	if err := check(c.UpstreamNameservers); err != nil {
		return Config{}, fmt.Errorf("upstreamNameservers: %w", err)
	}
	return c, nil
}

func check(servers []string) error {
	for _, s := range servers {
		if _, err := Server(s); err != nil {
			return err
		}
	}
	return nil
}

// Server returns the address and port of a DNS server. The default port is 53.
func Server(text string) (netip.AddrPort, error) {
	if server, err := netip.ParseAddrPort(text); err == nil {
		return server, nil
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("a server must be an IP address with an optional port, got %q", text)
	}
	return netip.AddrPortFrom(address, 53), nil
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
